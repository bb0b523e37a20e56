"""Phone times from label files; times are seconds, an interval holds its start and not its end.

`read_labels` chooses a reader by the file's suffix. A new format is one function from a path to a
list of `Interval` and one entry in ``READERS``.

HTK ``.lab``: one interval a line, ``start end phone``, the times whole numbers of 100 ns. Blank
lines are passed over and further columns (HTK's scores and word labels) are ignored. Intervals come
in order and do not overlap; what lies between two of them or outside all of them is silence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.analysis.phones import SILENCE
from vqspeech.errors import CorpusError

UNITS_PER_S = 10_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """One labelled stretch of a recording.

    Parameters
    ----------
    start_s, end_s : float
        Seconds from the beginning of the recording, ``0 <= start_s <= end_s``.
    label : str
        What is said there, as the file spells it.
    """

    start_s: float
    end_s: float
    label: str


def read_lab(path: Path) -> list[Interval]:
    """Read an HTK ``.lab`` file.

    Parameters
    ----------
    path : Path
        Text in UTF-8, lines ``start end phone`` in units of 100 ns.

    Returns
    -------
    list of Interval
        In the order of the file; empty for a file of blank lines.

    Raises
    ------
    CorpusError
        When the file cannot be read, is not text, or has a line that does not parse, ends before
        it starts, or starts before the line above it ends. File and line are named.
    """
    intervals: list[Interval] = []
    last_end = 0
    for number, line in enumerate(_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        where = f"{path}, line {number}"
        try:
            start, end, label = int(fields[0]), int(fields[1]), fields[2]
        except (ValueError, IndexError):
            raise CorpusError(
                f"{where}: found {line.strip()[:60]!r}, expected 'start end phone' with the times "
                "as whole numbers of 100 ns"
            ) from None
        if not 0 <= start <= end:
            raise CorpusError(
                f"{where}: {label!r} runs from {start} to {end}; times must not be negative or run "
                "backwards"
            )
        if start < last_end:
            raise CorpusError(
                f"{where}: {label!r} starts at {start}, before the interval above it ends at "
                f"{last_end}; intervals must not overlap"
            )
        last_end = end
        intervals.append(Interval(start / UNITS_PER_S, end / UNITS_PER_S, label))
    return intervals


READERS: dict[str, Callable[[Path], list[Interval]]] = {".lab": read_lab}


def read_labels(path: Path) -> list[Interval]:
    """Read a label file in the format its suffix names.

    Parameters
    ----------
    path : Path
        A file with one of the suffixes in ``READERS``, in any case.

    Returns
    -------
    list of Interval
        In order of time.

    Raises
    ------
    CorpusError
        When there is no reader for the suffix, or the reader refuses the file.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise CorpusError(
            f"{path}: no reader for label files ending in {path.suffix!r}; "
            f"known are {', '.join(sorted(READERS))}"
        )
    return reader(path)


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


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such label file") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot read the label file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CorpusError(f"{path}: not UTF-8 text, so not a label file; make it again") from None


def _units(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(times_s * UNITS_PER_S).astype(np.int64)
