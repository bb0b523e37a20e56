"""Phone times against frames: the label at each time, the frames of each interval, labels of another sound.

Times are seconds, an interval holds its start and not its end; `vqspeech.labels.files` reads them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.errors import CorpusError
from vqspeech.labels.files import (
    READERS,
    UNITS_PER_S,
    Interval,
    read_ctm,
    read_lab,
    read_labels,
    read_textgrid,
)
from vqspeech.labels.phones import SILENCE, to_arpabet

__all__ = [
    "READERS",
    "Interval",
    "check_end",
    "frame_centres_s",
    "frames_within",
    "labels_at",
    "read_ctm",
    "read_lab",
    "read_labels",
    "read_textgrid",
]

_END_S, _END_SHARE = 1.0, 0.25
"""Labels that end further from the end of the sound, in seconds and as a share of it, are not of this sound."""


def check_end(path: Path, intervals: Sequence[Interval], start_s: float, end_s: float) -> None:
    """Refuse labels that end far from where the sound does: of another recording, or in another unit.

    Parameters
    ----------
    path : Path
        The file the labels are from.
    intervals : sequence of Interval
        In order of time.
    start_s, end_s : float
        Where the sound begins and ends in the recording, without silence at its edges.

    Raises
    ------
    CorpusError
        When the last interval that is not silence ends more than `_END_S` and `_END_SHARE` of the sound before or
        after its end.
    """
    spoken = [i for i in intervals if to_arpabet(i.label) != SILENCE]
    if not spoken:
        return
    last_s = spoken[-1].end_s
    if abs(last_s - end_s) > max(_END_S, _END_SHARE * (end_s - start_s)):
        raise CorpusError(
            f"{path}: its last phone ends at {last_s:.7g} s and the sound at {end_s:.2f} s; labels of another"
            " recording, or times in another unit?"
        )


def labels_at(intervals: Sequence[Interval], times_s: ArrayLike) -> list[str]:
    """Tell the label at each time.

    Times are compared to the nearest 100 ns, the unit of label files, so that rounding in floating
    point never moves a time off a boundary.

    Parameters
    ----------
    intervals : sequence of Interval
        In order of time, without overlap.
    times_s : array_like, shape (n,)
        Seconds from the beginning of the recording.

    Returns
    -------
    list of str, length n
        The label of the interval that holds the time. A time on a boundary belongs to the later
        interval; a time in no interval is silence, ``"sil"``.
    """
    times = _units(np.asarray(times_s, dtype=np.float64))
    if not intervals:
        return [SILENCE] * len(times)
    starts = _units(np.array([interval.start_s for interval in intervals]))
    ends = _units(np.array([interval.end_s for interval in intervals]))
    candidates = np.searchsorted(starts, times, side="right") - 1
    inside = (candidates >= 0) & (times < ends[candidates])
    return [
        intervals[index].label if held else SILENCE
        for index, held in zip(candidates, inside, strict=True)
    ]


def frames_within(intervals: Sequence[Interval], times_s: ArrayLike) -> NDArray[np.int64]:
    """Tell which frames lie in each interval, as `labels_at` would assign them.

    Parameters
    ----------
    intervals : sequence of Interval
        In order of time, without overlap.
    times_s : array_like of float, shape (frames,)
        Centre of each frame in seconds, increasing, from `frame_centres_s`.

    Returns
    -------
    ndarray of int64, shape (intervals, 2)
        First frame and the one after the last; equal where an interval holds no frame's centre.
    """
    times = _units(np.asarray(times_s, dtype=np.float64))
    bounds_s = [(interval.start_s, interval.end_s) for interval in intervals]
    return np.searchsorted(times, _units(np.array(bounds_s).reshape(-1, 2))).astype(np.int64)


def frame_centres_s(
    frames: int, hop: int, sample_rate: int, start_s: float = 0.0
) -> NDArray[np.float64]:
    """Tell the time of each frame: the centre of its samples ``[i * hop, (i + 1) * hop)``.

    Parameters
    ----------
    frames : int
        Number of frames.
    hop : int
        Samples per frame.
    sample_rate : int
        Samples per second.
    start_s : float
        Time of sample 0 in the recording the labels describe, in seconds: above 0 when silence was
        trimmed off its front.

    Returns
    -------
    ndarray of float64, shape (frames,)
        ``start_s + (i + 0.5) * hop / sample_rate``.
    """
    return start_s + (np.arange(frames) + 0.5) * hop / sample_rate


def _units(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(times_s * UNITS_PER_S).astype(np.int64)
