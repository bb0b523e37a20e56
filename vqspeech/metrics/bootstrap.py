"""How far a score would move with other utterances: percentile bootstrap, 95 %."""

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

    Utterances are drawn, not frames: neighbouring frames are not independent. It serves accuracies.
    Purity and information grow when the same utterance is drawn twice, so their bootstrap would
    miss their own value; a shuffled control stands beside them instead.

    Parameters
    ----------
    numerators, denominators : array_like, shape (utterances,)
        Of each utterance, for instance frames that are right and frames in all.
    rng : numpy.random.Generator
        Where the draws come from.
    resamples : int
        How many times as many utterances as there are get drawn with replacement.

    Returns
    -------
    ndarray of float64, shape (resamples,)
        Empty for fewer than two utterances with frames: one tells nothing of how they differ.
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
    """Tell where the middle 95 % of bootstrapped values lie.

    Parameters
    ----------
    values : array_like of float, shape (resamples,)
        From `resampled_ratios`; several such may be joined.

    Returns
    -------
    Interval95
        The 2.5th and the 97.5th percentile; nan and nan for no values.
    """
    samples = np.asarray(values, dtype=np.float64)
    if not samples.size:
        return Interval95(float("nan"), float("nan"))
    return Interval95(*(float(bound) for bound in np.percentile(samples, (2.5, 97.5))))
