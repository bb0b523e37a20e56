"""Rate of a pitch contour sent beside codes, so that rates with and without it can be compared.

A contour, one value per 5 ms, is sent as 50 symbols per second: unvoiced, or F0 in steps of half a semitone. Symbols
are scored as codes are, under models fitted on another split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.pitch import F0_RANGE_HZ, FRAMES_PER_S
from vqspeech.metrics.rate import ngram_bits

SYMBOLS_PER_S = 50
"""Symbols per second."""

STEPS_PER_OCTAVE = 24
"""Steps of F0 per octave: half a semitone, with errors of at most a quarter."""

SYMBOLS = 2 + ceil(STEPS_PER_OCTAVE * log2(F0_RANGE_HZ[1] / F0_RANGE_HZ[0]))
"""Different symbols: 0 for unvoiced, then F0 from the lowest that is tracked."""


@dataclass(frozen=True)
class ContourCost:
    """Bits per symbol of contours under models of increasing order; nan without symbols.

    Attributes
    ----------
    symbols : int
        Number scored.
    uniform, unigram, bigram : float
        Bits per symbol.
    """

    symbols: int
    uniform: float
    unigram: float
    bigram: float

    def bits_per_second(self, model: str) -> float:
        """Bits per second under ``uniform``, ``unigram`` or ``bigram``."""
        return float(getattr(self, model)) * SYMBOLS_PER_S


def quantise(contour: NDArray[np.float32]) -> NDArray[np.int64]:
    """Quantise a contour (frames,) to symbols in [0, SYMBOLS), int64 (ceil(frames / 4),).

    A symbol is voiced where at least half of its frames are, at the mean of their log-F0.
    """
    each = FRAMES_PER_S // SYMBOLS_PER_S
    padded = np.pad(contour.astype(np.float64), (0, -len(contour) % each)).reshape(-1, each)
    voiced = padded > 0
    octaves = np.log2(np.where(voiced, padded, F0_RANGE_HZ[0]) / F0_RANGE_HZ[0])
    mean = octaves.sum(1) / np.maximum(voiced.sum(1), 1)
    steps = np.clip(np.rint(mean * STEPS_PER_OCTAVE), 0, SYMBOLS - 2).astype(np.int64)
    return np.where(2 * voiced.sum(1) >= each, 1 + steps, 0)


def contour_cost(
    train: Sequence[NDArray[np.float32]], test: Sequence[NDArray[np.float32]]
) -> ContourCost:
    """Score contours under a unigram and a bigram.

    Parameters
    ----------
    train, test : sequence of ndarray of float32, each of shape (frames,)
        Contours in Hz to fit the models on, and contours to score.

    Returns
    -------
    ContourCost
        Means over all symbols of `test`.
    """
    counted, scored = [quantise(of) for of in train], [quantise(of) for of in test]
    unigram, bigram = ngram_bits(counted, scored, SYMBOLS)
    return ContourCost(sum(map(len, scored)), log2(SYMBOLS), unigram, bigram)
