"""Rate of codes: bits per code under models of increasing order, and the negative ELBO that includes it.

A model of codes is fitted on one split and scored on another: uniform, unigram, bigram, and a learned prior conditioned
on all codes before. Utterances are arrays of int codes (frames,) in [0, n_codes).

A decoder's likelihood alone leaves out the rate of its codes. The bound on the likelihood of a recording (van den Oord
et al. 2017, section 3.2) is ``log p(x) >= log p(x | z) + log p(z)``, so in bits per sample the codes add the bits of
one over the hop (`bound_bits`). Uniform codes, as in the paper, add ``log2 K / hop``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log, log2, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.metrics.ngrams import NGrams, count_ngrams, fit_ngrams

LEFT_OUT = 10
"""One of so many training utterances is used to choose the smoothing."""

Codes = NDArray[np.int64]

CodeNats = Callable[[Codes, str], NDArray[np.float64]]
"""A learned prior: codes (frames,) and a speaker to -log p of each, in nats, (frames,)."""

MODELS = ("uniform", "unigram", "bigram", "prior")
"""Models of codes, by increasing order."""


@dataclass(frozen=True)
class CodeCost:
    """Rate of the codes of a split.

    Attributes
    ----------
    hop : int
        Samples per code.
    sample_rate : int
        Hz.
    codes : int
        Number scored.
    uniform, unigram, bigram, prior : float
        Bits per code under each of `MODELS`; nan where there is no learned prior, or no code.
    """

    hop: int
    sample_rate: int
    codes: int
    uniform: float
    unigram: float
    bigram: float
    prior: float

    def bits(self, model: str) -> float:
        """Bits per code under one of `MODELS`."""
        return float(getattr(self, model))

    def bits_per_second(self, model: str) -> float:
        """Bits per second under one of `MODELS`."""
        return self.bits(model) * self.sample_rate / self.hop

    def bits_per_sample(self, model: str) -> float:
        """Bits per sample under one of `MODELS`: those of a code over the hop."""
        return self.bits(model) / self.hop

    def figures(self, sample_bits: float = nan) -> dict[str, dict[str, float]]:
        """Return all rates by model of codes, and the negative ELBO with a decoder of `sample_bits` bits per sample."""
        return {
            model: {
                "bits_per_code": self.bits(model),
                "bits_per_second": self.bits_per_second(model),
                "bits_per_sample": self.bits_per_sample(model),
                "bound_bits_per_sample": bound_bits(sample_bits, self.bits(model), self.hop),
            }
            for model in MODELS
        }


def code_cost(
    train: Sequence[Codes],
    test: Sequence[Codes],
    n_codes: int,
    *,
    hop: int,
    sample_rate: int,
    prior_nats: Sequence[ArrayLike] | None = None,
) -> CodeCost:
    """Score every model of codes on the same utterances.

    Parameters
    ----------
    train, test : sequence of ndarray of int64, each of shape (frames,)
        Utterances to fit the unigram and the bigram on, and utterances to score.
    n_codes : int
        Size of the codebook.
    hop : int
        Samples per code.
    sample_rate : int
        Hz.
    prior_nats : sequence of array_like of float, each of shape (frames,), optional
        Negative log-likelihood in nats of each code of `test` under a learned prior.

    Returns
    -------
    CodeCost
        Means over all codes of `test`.

    Raises
    ------
    ValueError
        When `prior_nats` are not one per code.
    """
    count = sum(len(codes) for codes in test)
    prior = nan
    if prior_nats is not None:
        nats = [np.asarray(of, dtype=np.float64) for of in prior_nats]
        if [of.shape for of in nats] != [codes.shape for codes in test]:
            raise ValueError("the likelihood under the prior is not one value a code")
        prior = sum(float(of.sum()) for of in nats) / log(2) / count if count else nan
    unigram, bigram = ngram_bits(train, test, n_codes)
    return CodeCost(
        hop=hop,
        sample_rate=sample_rate,
        codes=count,
        uniform=log2(n_codes),
        unigram=unigram,
        bigram=bigram,
        prior=prior,
    )


def ngram_bits(train: Sequence[Codes], test: Sequence[Codes], n_codes: int) -> tuple[float, float]:
    """Mean bits per code of `test` under a unigram and a bigram of `train`; nan without codes.

    See `vqspeech.metrics.ngrams`. The smoothing is chosen on every tenth training utterance, left out of the counts.
    """
    left_out = train[::LEFT_OUT]
    others = [codes for i, codes in enumerate(train) if i % LEFT_OUT] or train
    strengths = fit_ngrams(others, left_out, n_codes, 2).strengths
    bigram = NGrams(
        n_codes, strengths, tuple(count_ngrams(train, n_codes, order) for order in (1, 2))
    )
    return bigram.shorter(1).bits(test), bigram.bits(test)


def bound_bits(sample_bits: float, code_bits: float, hop: int) -> float:
    """Negative ELBO in bits per sample: the decoder's bits plus the rate, ``sample_bits + code_bits / hop``."""
    return sample_bits + code_bits / hop
