"""Phone times and frames: the label at each time, the frames of each interval, labels that fit a recording.

Times are seconds, an interval includes its start and not its end; `vqspeech.labels.files` reads them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.errors import CorpusError
from vqspeech.labels.files import UNITS_PER_S, Interval
from vqspeech.labels.phones import SILENCE, to_arpabet

_END_S, _END_SHARE = 1.0, 0.25
"""Labels that end further from the end of the sound, in seconds and as a share of it, are not of this sound."""


def check_end(path: Path, intervals: Sequence[Interval], start_s: float, end_s: float) -> None:
    """Refuse the labels of `path` if they are of another recording, or in another unit.

    Raises `CorpusError` where the last interval that is not silence ends more than `_END_S` and `_END_SHARE` of the
    sound, [`start_s`, `end_s`] without silence at its edges, before or after its end.
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
    """Return the label of the interval that contains each time, (n,) seconds; ``"sil"`` outside all of them.

    Times are compared to the nearest 100 ns, the unit of label files, so that rounding moves no time off a boundary. A
    time on a boundary belongs to the later interval.
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
    """Return the first frame of each interval and the one after its last, (intervals, 2), as `labels_at` assigns them.

    `times_s`, (frames,), are increasing frame centres from `frame_centres_s`. The two are equal for an interval with
    none.
    """
    times = _units(np.asarray(times_s, dtype=np.float64))
    bounds_s = [(interval.start_s, interval.end_s) for interval in intervals]
    return np.searchsorted(times, _units(np.array(bounds_s).reshape(-1, 2))).astype(np.int64)


def frame_centres_s(
    frames: int, hop: int, sample_rate: int, start_s: float = 0.0
) -> NDArray[np.float64]:
    """Return the centre of each frame, (frames,), in seconds: ``start_s + (i + 0.5) * hop / sample_rate``.

    `start_s` is the time of sample 0 in the recording that the labels describe: above 0 where silence was trimmed.
    """
    return start_s + (np.arange(frames) + 0.5) * hop / sample_rate


def _units(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(times_s * UNITS_PER_S).astype(np.int64)
