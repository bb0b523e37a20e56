"""Do codes change where phones do: boundary precision, recall, F1 and R-value; times are seconds.

A found boundary is a hit when it is within a tolerance, 20 ms by convention, of a true one; each boundary counts for at
most one hit. Counts of utterances are summed (`BoundaryCounts`) before scoring. Codes that change at every frame hit
every boundary, so recall alone means nothing, and F1 still rewards too many boundaries; the R-value (Räsänen et al.
2009) does not.

The baseline is `even_boundaries_s`: as many boundaries, evenly spaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.labels.frames import UNITS_PER_S, Interval


@dataclass(frozen=True)
class BoundaryCounts:
    """Numbers of boundaries; counts of utterances add with ``+``.

    Attributes
    ----------
    hits : int
        Pairs of a found and a true boundary, each in one pair at most.
    found, true : int
        Boundaries found, and true boundaries.
    """

    hits: int = 0
    found: int = 0
    true: int = 0

    def __add__(self, other: "BoundaryCounts") -> "BoundaryCounts":
        return BoundaryCounts(
            self.hits + other.hits, self.found + other.found, self.true + other.true
        )


@dataclass(frozen=True)
class BoundaryScores:
    """Scores of found boundaries.

    Attributes
    ----------
    precision, recall, f1 : float
        In [0, 1]; nan where there is nothing to divide by: precision without found boundaries,
        recall without true ones, F1 with neither.
    over_segmentation : float
        ``found / true - 1``: 0 for the right number, 1 for twice as many; nan without true ones.
    r_value : float
        1 for perfect boundaries, at most 1, below 0 for far too many; nan without true ones.
    """

    precision: float
    recall: float
    f1: float
    over_segmentation: float
    r_value: float


def code_boundaries_s(
    codes: ArrayLike, hop: int, sample_rate: int, start_s: float = 0.0
) -> NDArray[np.float64]:
    """Return the times at which the code changes.

    Parameters
    ----------
    codes : array_like of int, shape (frames,)
        Codes of one utterance.
    hop : int
        Samples per frame.
    sample_rate : int
        Samples per second.
    start_s : float
        Time of sample 0 in the recording, in seconds.

    Returns
    -------
    ndarray of float64, shape (changes,)
        ``start_s + i * hop / sample_rate`` for each frame i whose code is not that of frame i - 1.
    """
    values = np.asarray(codes)
    return start_s + (np.flatnonzero(values[1:] != values[:-1]) + 1) * hop / sample_rate


def phone_boundaries_s(
    intervals: Sequence[Interval], start_s: float, end_s: float
) -> NDArray[np.float64]:
    """List the times where a label begins or ends inside a stretch of the recording.

    Parameters
    ----------
    intervals : sequence of Interval
        Labels of the recording.
    start_s, end_s : float
        The stretch with codes, in seconds of the recording. Its own ends are not boundaries.

    Returns
    -------
    ndarray of float64, shape (boundaries,)
        Increasing; where one interval ends and the next begins there is one boundary.
    """
    times = {time for i in intervals for time in (_units(i.start_s), _units(i.end_s))}
    inside = [time for time in sorted(times) if _units(start_s) < time < _units(end_s)]
    return np.array(inside, dtype=np.float64) / UNITS_PER_S


def even_boundaries_s(count: int, start_s: float, end_s: float) -> NDArray[np.float64]:
    """Space boundaries evenly inside a stretch: the baseline, as many as the codes have.

    Parameters
    ----------
    count : int
        Number of boundaries.
    start_s, end_s : float
        The stretch, in seconds.

    Returns
    -------
    ndarray of float64, shape (count,)
        Increasing, none at the ends of the stretch.
    """
    return np.linspace(start_s, end_s, count + 2)[1:-1]


def count_hits(found_s: ArrayLike, true_s: ArrayLike, tolerance_s: float = 0.02) -> BoundaryCounts:
    """Match found and true boundaries, one to one, with the largest number of pairs.

    Parameters
    ----------
    found_s, true_s : array_like of float, shape (boundaries,)
        Times in seconds, of one utterance.
    tolerance_s : float
        Largest distance in a pair, inclusive, to the nearest 100 ns.

    Returns
    -------
    BoundaryCounts
        Of this utterance.
    """
    found, true = (sorted(map(_units, np.asarray(s, np.float64))) for s in (found_s, true_s))
    tolerance = _units(tolerance_s)
    hits = first = second = 0
    # Greedy from the earliest is optimal: it never costs a later pair.
    while first < len(found) and second < len(true):
        if abs(found[first] - true[second]) <= tolerance:
            hits, first, second = hits + 1, first + 1, second + 1
        elif found[first] < true[second]:
            first += 1
        else:
            second += 1
    return BoundaryCounts(hits, len(found), len(true))


def boundary_scores(counts: BoundaryCounts) -> BoundaryScores:
    """Score boundaries by their counts.

    With recall R = hits / true and over-segmentation OS = found / true - 1 the R-value is
    ``1 - (|r1| + |r2|) / 2``, ``r1 = sqrt((1 - R)**2 + OS**2)``, ``r2 = (R - 1 - OS) / sqrt(2)``:
    the distance to the perfect point and to the line of no insertions (Räsänen, Laine and Altosaar
    2009, "An improved speech segmentation quality measure: the R-value", Interspeech).

    Parameters
    ----------
    counts : BoundaryCounts
        Summed over utterances.

    Returns
    -------
    BoundaryScores
        nan where there is nothing to score.
    """
    recall = _ratio(counts.hits, counts.true)
    excess = _ratio(counts.found - counts.true, counts.true)
    to_perfect = np.hypot(1 - recall, excess)
    to_line = abs(recall - 1 - excess) / np.sqrt(2)
    return BoundaryScores(
        precision=_ratio(counts.hits, counts.found),
        recall=recall,
        f1=_ratio(2 * counts.hits, counts.found + counts.true),
        over_segmentation=excess,
        r_value=float(1 - (to_perfect + to_line) / 2),
    )


def _units(time_s: float) -> int:
    return round(time_s * UNITS_PER_S)


def _ratio(above: int, below: int) -> float:
    return above / below if below else float("nan")
