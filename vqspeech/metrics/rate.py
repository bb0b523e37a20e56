"""What codes cost: bits a code under models that know more and more of them, and the bound that includes them.

A model of codes is fitted on one split and scored on another: the uniform one knows nothing, a unigram how often each
code comes, a bigram what follows what, and a learned prior all that came before. Utterances are arrays of int codes
(frames,) in [0, n_codes).

A decoder's likelihood alone counts a recording as if its codes came for nothing. The bound on the likelihood of a
recording (van den Oord et al. 2017, section 3.2) is ``log p(x) >= log p(x | z) + log p(z)``, so in bits a sample the
codes add what one costs over the hop (`bound_bits`). Uniform codes, as in the paper, add ``log2 K / hop``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log, log2, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.metrics.ngrams import NGrams, count_ngrams, fit_ngrams

LEFT_OUT = 10
"""Of so many counted utterances one chooses the smoothing."""

Codes = NDArray[np.int64]

CodeNats = Callable[[Codes, str], NDArray[np.float64]]
"""A learned prior: codes (frames,) and who speaks to -log p of each, in nats, (frames,)."""

MODELS = ("uniform", "unigram", "bigram", "prior")
"""Models of codes, from the one that knows least."""


@dataclass(frozen=True)
class CodeCost:
    """What the codes of a split cost.

    Attributes
    ----------
    hop : int
        Samples a code.
    sample_rate : int
        Hz.
    codes : int
        How many were scored.
    uniform, unigram, bigram, prior : float
        Bits a code under each of `MODELS`; nan where there is no learned prior, or no code.
    """

    hop: int
    sample_rate: int
    codes: int
    uniform: float
    unigram: float
    bigram: float
    prior: float

    def bits(self, model: str) -> float:
        """Bits a code under one of `MODELS`."""
        return float(getattr(self, model))

    def bits_per_second(self, model: str) -> float:
        """Bits a second under one of `MODELS`: those of a code times codes a second."""
        return self.bits(model) * self.sample_rate / self.hop

    def bits_per_sample(self, model: str) -> float:
        """Bits a sample under one of `MODELS`: those of a code over the hop."""
        return self.bits(model) / self.hop

    def figures(self, sample_bits: float = nan) -> dict[str, dict[str, float]]:
        """Return all figures by model of codes, and the bound with a decoder of `sample_bits` bits a sample."""
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
        Utterances that the unigram and the bigram are fitted on, and those that are scored.
    n_codes : int
        Size of the codebook.
    hop : int
        Samples a code.
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
        When `prior_nats` are not one a code.
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
    """Mean bits of a code under a unigram and under a bigram; see `vqspeech.metrics.ngrams`.

    Parameters
    ----------
    train, test : sequence of ndarray of int64, each of shape (frames,)
        Utterances that are counted, and those that are scored. How far counts are smoothed is chosen on every tenth of
        the counted ones, when these are left out.
    n_codes : int
        K.

    Returns
    -------
    unigram, bigram : float
        Bits; nan when there is no code to score.
    """
    left_out = train[::LEFT_OUT]
    others = [codes for i, codes in enumerate(train) if i % LEFT_OUT] or train
    strengths = fit_ngrams(others, left_out, n_codes, 2).strengths
    bigram = NGrams(
        n_codes, strengths, tuple(count_ngrams(train, n_codes, order) for order in (1, 2))
    )
    return bigram.shorter(1).bits(test), bigram.bits(test)


def bound_bits(sample_bits: float, code_bits: float, hop: int) -> float:
    """Bits a sample of recording and codes together: those of the decoder, and ``code_bits / hop``.

    Parameters
    ----------
    sample_bits : float
        Bits a sample of the decoder, given the codes.
    code_bits : float
        Bits a code.
    hop : int
        Samples a code.

    Returns
    -------
    float
        Bits a sample; an upper bound on minus the log-likelihood of a sample.
    """
    return sample_bits + code_bits / hop
