"""Statistics of code sequences: counts of n-grams, smoothed n-gram models and how far apart two distributions are.

A sequence is an int array (frames,) of codes in [0, size). Before its first code stands a start symbol, `size`
itself, as often as the order asks. Information is in bits, of base 2. Every function is pure.

An n-gram model is interpolated by Dirichlet priors (MacKay and Peto 1995, "A hierarchical Dirichlet language model",
eq. 18): with n(...) the counts of the training sequences and h' the context h without its oldest code,

    p(c | h) = (n(h, c) + a p(c | h')) / (n(h) + a),    p(c) = (n(c) + a) / (N + a size),

with one strength `a` for each order, chosen on other sequences than those that were counted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Codes = Sequence[NDArray[np.int64]]

Table = tuple[NDArray[np.int64], NDArray[np.int64]]
"""N-grams as numbers of base ``size + 1``, ascending, and how often each was seen."""

STRENGTHS = tuple(float(10 ** (k / 4)) for k in range(15))
"""Candidate strengths of `fit_ngrams`: 1 to 3,162, four per decade."""

LARGEST = 2**63 - 1


@dataclass(frozen=True, eq=False)
class NGrams:
    """A smoothed n-gram model.

    Attributes
    ----------
    size : int
        Number of different codes.
    strengths : tuple of float
        The strength `a` of each order, the shortest first; as many as the order of the model.
    tables : tuple of Table
        Counts for each order.
    """

    size: int
    strengths: tuple[float, ...]
    tables: tuple[Table, ...]

    def shorter(self, order: int) -> "NGrams":
        """Return the model of a lower order that this one falls back on."""
        return NGrams(self.size, self.strengths[:order], self.tables[:order])

    def probabilities(self, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probability of the last code of each window of `windows_of`, int64 (n, order): float64 (n,), all above 0."""
        found = np.full(len(windows), 1 / self.size)
        for order, strength in enumerate(self.strengths, 1):
            # without a context the uniform distribution has this strength for each code
            prior = strength * self.size if order == 1 else strength
            near = windows[:, windows.shape[1] - order :]
            seen = _look_up(*self.tables[order - 1], _keys(near, self.size))
            total = _look_up(*self._contexts[order - 1], _keys(near[:, :-1], self.size))
            found = (seen + prior * found) / (total + prior)
        return found

    @cached_property
    def _contexts(self) -> list[Table]:
        """For each order, the contexts that were seen, and how often."""
        found = []
        for keys, counts in self.tables:
            contexts, which = np.unique(keys // (self.size + 1), return_inverse=True)
            found.append((contexts, np.bincount(which, counts).astype(np.int64)))
        return found

    def bits(self, sequences: Codes) -> float:
        """Mean bits per code of sequences, ``-log2 p``; nan without codes."""
        windows = windows_of(sequences, self.size, len(self.tables))
        if not len(windows):
            return math.nan
        return float(-np.log2(self.probabilities(windows)).mean())

    def following(self, context: Sequence[int]) -> NDArray[np.float64]:
        """Distribution (size,) of the code after a context of ``order - 1`` codes."""
        windows = np.empty((self.size, len(self.tables)), np.int64)
        windows[:, :-1] = context
        windows[:, -1] = np.arange(self.size)
        return self.probabilities(windows)

    def sample(self, frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw a sequence (frames,) from its start on."""
        order = len(self.tables)
        known: dict[tuple[int, ...], NDArray[np.float64]] = {}
        codes = [self.size] * (order - 1)
        for uniform in rng.random(frames):
            context = tuple(codes[len(codes) - order + 1 :])
            if context not in known:
                known[context] = np.cumsum(self.following(context))
            cumulative = known[context]
            codes.append(int(np.searchsorted(cumulative[:-1], uniform * cumulative[-1], "right")))
        return np.array(codes[order - 1 :], np.int64)


def fit_ngrams(counted: Codes, chosen_on: Codes, size: int, order: int) -> NGrams:
    """Count n-grams and choose their smoothing.

    Parameters
    ----------
    counted : sequence of ndarray of int64
        Training sequences.
    chosen_on : sequence of ndarray of int64
        Other recordings, on which the best of `STRENGTHS` is chosen for one order after the other.
    size : int
        Number of different codes.
    order : int
        1 for unigrams, 2 for bigrams, and so on.

    Returns
    -------
    NGrams
        The model.

    Raises
    ------
    ValueError
        When codes are out of range, or too many to number all n-grams with 63 bits.
    """
    model = NGrams(size, (), ())
    for length in range(1, order + 1):
        table = count_ngrams(counted, size, length)
        choices = [
            NGrams(size, (*model.strengths, strength), (*model.tables, table))
            for strength in STRENGTHS
        ]
        model = min(choices, key=lambda choice: choice.bits(chosen_on))
    return model


def windows_of(sequences: Codes, size: int, order: int) -> NDArray[np.int64]:
    """Every code of sequences with the ``order - 1`` before it, int64 (codes of all sequences, order).

    `size` is the number of codes, and the start symbol. Raises `ValueError` when a code is out of range.
    """
    parts = [np.empty((0, order), np.int64)]
    for sequence in sequences:
        if not len(sequence):
            continue
        if not 0 <= sequence.min() <= sequence.max() < size:
            raise ValueError(f"codes from {sequence.min()} to {sequence.max()}, not in [0, {size})")
        led = np.concatenate([np.full(order - 1, size), sequence])
        parts.append(np.lib.stride_tricks.sliding_window_view(led, order))
    return np.concatenate(parts)


def count_ngrams(sequences: Codes, size: int, order: int) -> Table:
    """Which n-grams occur, see `windows_of`, and how often."""
    if (size + 1) ** order > LARGEST:
        raise ValueError(f"{order}-grams of {size} codes have no numbers of 63 bits")
    keys, counts = np.unique(_keys(windows_of(sequences, size, order), size), return_counts=True)
    return keys, counts.astype(np.int64)


def jensen_shannon(one: Codes, other: Codes, size: int, order: int) -> float:
    """Jensen-Shannon divergence of the n-grams of two sets of sequences (Lin 1991, eq. 4.1).

    It is biased upwards for small samples: compare equal amounts, and beside the divergence of two samples of one
    source.

    Parameters
    ----------
    one, other : sequence of ndarray of int64
        Codes in [0, size).
    size : int
        Number of different codes.
    order : int
        Length of the n-grams.

    Returns
    -------
    float
        Bits, from 0, equal distributions, to 1, disjoint ones; nan when either is empty.
    """
    from scipy.special import rel_entr

    tables = [count_ngrams(sequences, size, order) for sequences in (one, other)]
    if not all(len(keys) for keys, _ in tables):
        return math.nan
    every = np.unique(np.concatenate([keys for keys, _ in tables]))
    first, second = (_look_up(*table, every) / table[1].sum() for table in tables)
    middle = (first + second) / 2
    nats = (rel_entr(first, middle).sum() + rel_entr(second, middle).sum()) / 2
    return max(0.0, float(nats / np.log(2)))


def coarse(sequences: Codes, classes: ArrayLike) -> list[NDArray[np.int64]]:
    """Replace each code by its class, (size,): coarse n-grams are seen often enough to be compared."""
    table = np.asarray(classes, np.int64)
    return [table[sequence] for sequence in sequences]


def spaced(sequences: Codes, frames: int) -> list[NDArray[np.int64]]:
    """Take every `frames`-th code, from each of the first `frames` on: n-grams over longer spans."""
    return [sequence[first::frames] for sequence in sequences for first in range(frames)]


def _keys(windows: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    keys = np.zeros(len(windows), np.int64)
    for column in windows.T:
        keys = keys * (size + 1) + column
    return keys


def _look_up(
    keys: NDArray[np.int64], counts: NDArray[np.int64], wanted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Counts of wanted keys; 0 for those that are not there."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    places = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[places] == wanted, counts[places], 0)
