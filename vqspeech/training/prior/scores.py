"""Scores of a prior on a held-out split: bits per code, beside those of n-gram models of the same codes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vqspeech.errors import CorpusError
from vqspeech.metrics.ngrams import NGrams, fit_ngrams
from vqspeech.models.prior import Prior
from vqspeech.training.data.codestore import CodeStore

ORDER = 3
"""Order of the longest n-grams compared with a prior."""

MOST_COUNTED = 1 << 24
"""Codes of the training split that n-grams are counted on at most: some 47 h at 100 a second."""


@dataclass(frozen=True)
class HeldOutCodes:
    """Scores on a held-out split, in bits per code.

    Attributes
    ----------
    split : str
        Name of the split.
    sequences, codes : int
        Numbers scored.
    prior : float
        -log2 p of a code given those before it and the speaker.
    nobody : float
        The same, unconditional.
    unigram, bigram, trigram : float
        The same for smoothed n-gram models, see `vqspeech.metrics.ngrams`; counted on the training split with its
        shifted sequences, with the smoothing chosen on the validation split.
    uniform : float
        log2 of the number of codes.
    codes_a_second : float
        Converts bits per code to bits per second.
    """

    split: str
    sequences: int
    codes: int
    prior: float
    nobody: float
    unigram: float
    bigram: float
    trigram: float
    uniform: float
    codes_a_second: float


def count_training(store: CodeStore) -> list[NGrams]:
    """Fit the n-gram models compared with a prior, of order 1 to `ORDER`, on at most `MOST_COUNTED` codes."""
    places = [i for i, of in enumerate(store.sequences) if of.split == "train"]
    if sum(store.sequences[i].frames for i in places) > MOST_COUNTED:
        places = np.random.default_rng(0).permutation(places).tolist()
        ends = np.cumsum([store.sequences[i].frames for i in places])
        places = sorted(places[: int(np.searchsorted(ends, MOST_COUNTED, side="right"))])
    training = [store.sequence(i) for i in places]
    longest = fit_ngrams(training, store.split("valid"), store.codebook_size, ORDER)
    return [longest.shorter(order) for order in range(1, ORDER + 1)]


def bits_per_code(
    prior: Prior, store: CodeStore, places: Sequence[int], *, conditional: bool = True
) -> float:
    """Mean bits per code of sequences under a prior, conditioned on the speaker or unconditional."""
    nats, codes = 0.0, 0
    for i in places:
        speaker = store.sequences[i].speaker if conditional else None
        losses = prior.nll(store.sequence(i), speaker)
        nats += float(losses.double().sum())
        codes += len(losses)
    return nats / codes / math.log(2)


def chosen(store: CodeStore, split: str, limit_s: float = math.inf) -> list[int]:
    """Indices of a split's sequences in a fixed random order, up to `limit_s` seconds; `CorpusError` if it is empty."""
    order = np.random.default_rng(0).permutation(store.indices(split)).tolist()
    if not order:
        raise CorpusError(f"{store.path}: no codes in split {split!r}, by which a prior is judged")
    seconds = np.cumsum([store.sequences[i].frames for i in order]) * store.hop / store.sample_rate
    return order[: 1 + int(np.searchsorted(seconds, limit_s))]


def held_out_codes(
    prior: Prior, store: CodeStore, split: str, simpler: Sequence[NGrams]
) -> HeldOutCodes:
    """Score a prior on a whole split, beside the models of `count_training`."""
    places = chosen(store, split)
    sequences = [store.sequence(i) for i in places]
    unigram, bigram, trigram = (model.bits(sequences) for model in simpler)
    return HeldOutCodes(
        split=split,
        sequences=len(places),
        codes=sum(map(len, sequences)),
        prior=bits_per_code(prior, store, places),
        nobody=bits_per_code(prior, store, places, conditional=False),
        unigram=unigram,
        bigram=bigram,
        trigram=trigram,
        uniform=math.log2(store.codebook_size),
        codes_a_second=store.sample_rate / store.hop,
    )
