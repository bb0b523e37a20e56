"""Percentile bootstrap over utterances: 95 % intervals of a score."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Interval95(NamedTuple):
    """The 2.5th and 97.5th percentile of a bootstrap."""

    low: float
    high: float


def resampled_ratios(
    numerators: ArrayLike,
    denominators: ArrayLike,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> NDArray[np.float64]:
    """Bootstrap a ratio of sums over utterances.

    Utterances are drawn, not frames: neighbouring frames are not independent. For accuracies only: purity and
    information grow when an utterance is drawn twice, so their bootstrap would miss their own value; compare them with
    a shuffled control instead.

    Parameters
    ----------
    numerators, denominators : array_like, shape (utterances,)
        Of each utterance, for instance correct frames and all frames.
    rng : numpy.random.Generator
        Random generator.
    resamples : int
        Number of draws, each of as many utterances as there are, with replacement.

    Returns
    -------
    ndarray of float64, shape (resamples,)
        Empty for fewer than two utterances with frames.
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    above, below = above[below > 0], below[below > 0]
    if len(below) < 2:
        return np.empty(0)
    ratios = np.empty(resamples)
    for index in range(resamples):
        drawn = rng.integers(len(below), size=len(below))
        ratios[index] = above[drawn].sum() / below[drawn].sum()
    return ratios


def interval_95(values: ArrayLike) -> Interval95:
    """Return the interval with the middle 95 % of bootstrapped values.

    Parameters
    ----------
    values : array_like of float, shape (resamples,)
        From `resampled_ratios`; several may be joined.

    Returns
    -------
    Interval95
        The 2.5th and the 97.5th percentile; nan and nan for no values.
    """
    samples = np.asarray(values, dtype=np.float64)
    if not samples.size:
        return Interval95(float("nan"), float("nan"))
    return Interval95(*(float(bound) for bound in np.percentile(samples, (2.5, 97.5))))
