"""Phone times from label files; times are seconds, an interval holds its start and not its end.

`read_labels` chooses a reader by the file's suffix. A new format is one function from a path to a
list of `Interval` and one entry in ``READERS``. Whatever the format, intervals come in order and do
not overlap; what lies between two of them or outside all of them is silence.

==============  ====================================================================================
``.lab``        HTK: one interval a line, ``start end phone``, the times whole numbers of 100 ns.
                Blank lines are passed over and further columns (HTK's scores and word labels) are
                ignored. HTS: of a full-context label the phone between ``-`` and ``+`` is taken, and
                the states of a phone, ``phone[2]`` to ``phone[6]``, are joined.
``.TextGrid``   Praat, as the Montreal Forced Aligner writes it: the tier of phones, an empty text
                is silence (`vqspeech.analysis.textgrid`).
``.ctm``        NIST and Kaldi: ``utterance channel start duration phone [confidence]``, seconds.
==============  ====================================================================================
"""

import codecs
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.analysis.phones import SILENCE
from vqspeech.analysis.textgrid import parse_textgrid, phone_tier
from vqspeech.errors import CorpusError

UNITS_PER_S = 10_000_000

_FULL_CONTEXT = re.compile(r"[^-+]*-([^-+]+)\+")
_STATE = re.compile(r"(.+)\[(\d+)\]")

_CTM_ROUNDING_S = 0.01
"""A start and a duration with two decimals may end this long after the next start."""


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
    """Read an HTK or HTS ``.lab`` file.

    Parameters
    ----------
    path : Path
        Text in UTF-8 or UTF-16, lines ``start end label`` in units of 100 ns.

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
    last_end, last_name, last_state = 0, "", 0
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
        _check(where, label, start, end, last_end)
        name, state = label, 0
        if stated := _STATE.fullmatch(label):
            name, state = stated[1], int(stated[2])
        start_s, end_s = start / UNITS_PER_S, end / UNITS_PER_S
        if name == last_name and state > last_state > 0 and start == last_end:
            intervals[-1] = replace(intervals[-1], end_s=end_s)
        else:
            context = _FULL_CONTEXT.match(name)
            intervals.append(Interval(start_s, end_s, context[1] if context else name))
        last_end, last_name, last_state = end, name, state
    return intervals


def read_textgrid(path: Path) -> list[Interval]:
    """Read the tier of phones of a Praat TextGrid.

    Parameters
    ----------
    path : Path
        Text in UTF-8 or UTF-16, long or short format; see `vqspeech.analysis.textgrid`.

    Returns
    -------
    list of Interval
        In the order of the file; an empty text stays an empty label, which is silence.

    Raises
    ------
    CorpusError
        When the file cannot be read or is no TextGrid, has no tier of phones or several, or an
        interval of it runs backwards or overlaps the one before. File and line are named.
    """
    intervals: list[Interval] = []
    last_end = 0.0
    for line, start_s, end_s, text in phone_tier(
        parse_textgrid(_text(path), str(path)), str(path)
    ).intervals:
        start_s, end_s = round(start_s, 7), round(end_s, 7)
        _check(f"{path}, line {line}", text, start_s, end_s, last_end)
        intervals.append(Interval(start_s, end_s, text.strip()))
        last_end = end_s
    return intervals


def read_ctm(path: Path) -> dict[str, list[Interval]]:
    """Read a CTM file of one or more utterances.

    Parameters
    ----------
    path : Path
        Text in UTF-8 or UTF-16, lines ``utterance channel start duration phone [confidence]`` in
        seconds; lines that start with ``;;`` are comments.

    Returns
    -------
    dict of str to list of Interval
        Intervals of each utterance, in the order of the file. One that ends up to 10 ms after the
        next starts, which rounding to two decimals does, is shortened to end there.

    Raises
    ------
    CorpusError
        When the file cannot be read, a line does not parse or an interval overlaps the one before
        it. File and line are named.
    """
    utterances: dict[str, list[Interval]] = defaultdict(list)
    for number, line in enumerate(_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields or line.lstrip().startswith(";;"):
            continue
        where = f"{path}, line {number}"
        try:
            utterance, _, start, duration, label = fields[:5]
            start_s = round(float(start), 7)
            end_s = round(start_s + float(duration), 7)
        except ValueError:
            raise CorpusError(
                f"{where}: found {line.strip()[:60]!r}, expected 'utterance channel start duration "
                "phone' with the times in seconds"
            ) from None
        intervals = utterances[utterance]
        last = intervals[-1] if intervals else Interval(0.0, 0.0, "")
        if last.start_s <= start_s < last.end_s <= start_s + _CTM_ROUNDING_S + 1e-7:
            last = intervals[-1] = replace(last, end_s=start_s)
        _check(where, label, start_s, end_s, last.end_s)
        intervals.append(Interval(start_s, end_s, label))
    return dict(utterances)


def _read_ctm_of_one(path: Path) -> list[Interval]:
    utterances = read_ctm(path)
    if path.stem in utterances:
        return utterances[path.stem]
    if len(utterances) > 1:
        names = ", ".join(list(utterances)[:3])
        raise CorpusError(
            f"{path}: {len(utterances)} utterances ({names}, ...) and none is named {path.stem}; "
            "split the file, one for each recording and named like it"
        )
    return next(iter(utterances.values()), [])


READERS: dict[str, Callable[[Path], list[Interval]]] = {
    ".lab": read_lab,
    ".textgrid": read_textgrid,
    ".ctm": _read_ctm_of_one,
}


def read_labels(path: Path) -> list[Interval]:
    """Read a label file in the format its suffix names.

    Parameters
    ----------
    path : Path
        A file with one of the suffixes in ``READERS``, in any case. Of a CTM with several
        utterances the one named like the file, without its suffix, is taken.

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


def _check(where: str, label: str, start: float, end: float, last_end: float) -> None:
    """Refuse an interval that does not follow the one before; times in the file's own unit."""
    # Written so that nan is refused too.
    if not 0 <= start <= end < float("inf"):
        raise CorpusError(
            f"{where}: {label!r} runs from {start} to {end}; times must not be negative or run "
            "backwards"
        )
    if start < last_end:
        raise CorpusError(
            f"{where}: {label!r} starts at {start}, before the interval above it ends at "
            f"{last_end}; intervals must not overlap"
        )


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such label file") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot read the label file: {error.strerror}") from None
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise CorpusError(
            f"{path}: not UTF-8 or UTF-16 text, so not a label file; make it again"
        ) from None


def _units(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(times_s * UNITS_PER_S).astype(np.int64)
