"""Phone times from label files, in seconds; an interval includes its start and not its end.

`read_labels` chooses a reader by the file's suffix. A new format is one function from a path to a list of `Interval`
and one entry in ``READERS``. In every format intervals are in order and do not overlap; time outside all of them is
silence. An interval that ends up to `ROUNDING_S` after the next starts, as rounded times do, is shortened to end
there, with a warning. Files are UTF-8 or UTF-16.

==============  ====================================================================================
``.lab``        HTK: one interval a line, ``start end phone``, the times whole numbers of 100 ns, or,
                with decimal points, seconds. Blank lines and further columns (HTK's scores and word
                labels) are ignored. HTS: of a full-context label the phone between ``-`` and ``+`` is
                taken, and the states of a phone, ``phone[2]`` to ``phone[6]``, are joined. Festival:
                after a header that ends with ``#``, ``end colour phone``, seconds.
``.TextGrid``   Praat, the Montreal Forced Aligner, WebMAUS: the tier of phones, an empty text is
                silence (`vqspeech.labels.textgrid`).
``.eaf``        ELAN: the tier of phones, under the names it has in a TextGrid.
``.phn``        TIMIT: ``start end phone``, the times samples at 16 kHz.
``.ctm``        NIST and Kaldi: ``utterance channel start duration phone [confidence]``, seconds; lines
                that start with ``;;`` are comments.
==============  ====================================================================================

A reader raises `CorpusError`, with file and line, for a file that cannot be read, a line that does not parse, or an
interval that runs backwards or overlaps the one before.
"""

import codecs
import logging
import math
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vqspeech.errors import CorpusError
from vqspeech.labels.phones import Sampa
from vqspeech.labels.textgrid import Labelled, Tier, parse_textgrid, phone_tier

UNITS_PER_S = 10_000_000

_FULL_CONTEXT = re.compile(r"[^-+]*-([^-+]+)\+")
_STATE = re.compile(r"(.+)\[(\d+)\]")

ROUNDING_S = 0.01
"""Largest overlap, in seconds, of intervals whose starts and durations have two decimals."""

TIMIT_RATE = 16_000

_log = logging.getLogger("vqspeech")
_said: set[str] = set()


@dataclass(frozen=True, slots=True)
class Interval:
    """One labelled stretch of a recording.

    Parameters
    ----------
    start_s, end_s : float
        Seconds from the beginning of the recording, ``0 <= start_s <= end_s``.
    label : str
        As the file spells it; a `Sampa` where that is SAMPA.
    """

    start_s: float
    end_s: float
    label: str


class _Intervals:
    """A list of intervals; each is checked against the one before when it is added."""

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, list[Interval]()

    def add(self, where: str, label: str, start_s: float, end_s: float) -> None:
        """Add an interval, shortening the one before by a rounding error."""
        start_s, end_s = round(start_s, 7), round(end_s, 7)
        last = self.found[-1] if self.found else Interval(0.0, 0.0, "")
        if last.start_s <= start_s < last.end_s <= start_s + ROUNDING_S + 1e-7:
            overlap = last.end_s - start_s
            last = self.found[-1] = replace(last, end_s=start_s)
            _say_once(
                "rounding",
                f"{where}: overlaps the interval above it by {1000 * overlap:.4g} ms, which is shortened"
                " (reported once for all such files)",
            )
        _check(where, label, start_s, end_s, last.end_s)
        self.found.append(Interval(start_s, end_s, label))


def read_lab(path: Path) -> list[Interval]:
    """Read a ``.lab`` file of HTK, HTS or Festival; see the table above."""
    lines = [
        (f"{path}, line {number}", line.split())
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if line.strip()
    ]
    header = next((place for place, (_, fields) in enumerate(lines) if fields == ["#"]), None)
    if header is not None:
        return _read_ends(path, lines[header + 1 :])
    intervals = _Intervals(path)
    last_end, last_name, last_state = 0.0, "", 0
    seconds = bool(lines) and all("." in field for field in lines[0][1][:2])
    for where, fields in lines:
        try:
            start, end = (
                float(field) if seconds else int(field) / UNITS_PER_S for field in fields[:2]
            )
            label = fields[2]
        except (ValueError, IndexError):
            raise CorpusError(
                f"{where}: found {' '.join(fields)[:60]!r}, expected 'start end phone' with the times "
                "as whole numbers of 100 ns"
            ) from None
        name, state = label, 0
        if stated := _STATE.fullmatch(label):
            name, state = stated[1], int(stated[2])
        if name == last_name and state > last_state > 0 and start == last_end <= end:
            intervals.found[-1] = replace(intervals.found[-1], end_s=end)
        else:
            context = _FULL_CONTEXT.match(name)
            intervals.add(where, context[1] if context else name, start, end)
        last_end, last_name, last_state = end, name, state
    return intervals.found


def _read_ends(path: Path, lines: Sequence[tuple[str, list[str]]]) -> list[Interval]:
    """Read the lines of an xlabel file: each interval begins where the one before ends."""
    intervals = _Intervals(path)
    last_s = 0.0
    for where, fields in lines:
        try:
            end_s, label = float(fields[0]), fields[2]
        except (ValueError, IndexError):
            raise CorpusError(
                f"{where}: found {' '.join(fields)[:60]!r}, expected 'end colour phone' with the end in seconds"
            ) from None
        intervals.add(where, label, last_s, end_s)
        last_s = end_s
    return intervals.found


def read_phn(path: Path) -> list[Interval]:
    """Read a ``.phn`` file of TIMIT, with times in samples at `TIMIT_RATE`."""
    intervals = _Intervals(path)
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not (fields := line.split()):
            continue
        where = f"{path}, line {number}"
        try:
            start, end, label = int(fields[0]), int(fields[1]), fields[2]
        except (ValueError, IndexError):
            raise CorpusError(
                f"{where}: found {line.strip()[:60]!r}, expected 'start end phone' with the times in samples"
            ) from None
        if label == "q":  # another sound in other label sets
            label = "\u0294"
        intervals.add(where, label, start / TIMIT_RATE, end / TIMIT_RATE)
    return intervals.found


def read_textgrid(path: Path) -> list[Interval]:
    """Read the tier of phones of a Praat TextGrid; an empty text is silence, WebMAUS labels in SAMPA are `Sampa`."""
    return _of_tier(path, phone_tier(parse_textgrid(_text(path), str(path)), str(path)))


def _of_tier(path: Path, tier: Tier) -> list[Interval]:
    labels = [text.strip() for _, _, _, text in tier.intervals]
    # WebMAUS writes SAMPA by default, IPA on request; both in a tier of this name.
    if tier.name.strip().lower() == "mau" and all(label.isascii() for label in labels):
        labels = [Sampa(label) for label in labels]
    intervals = _Intervals(path)
    for (line, start_s, end_s, _), label in zip(tier.intervals, labels, strict=True):
        intervals.add(f"{path}, line {line}" if line else str(path), label, start_s, end_s)
    return intervals.found


def read_eaf(path: Path) -> list[Interval]:
    """Read the tier of phones of an ELAN file; annotations without times of their own are ignored."""
    try:
        # Decoded already, so the declared encoding is ignored.
        root = ET.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", _text(path)))
    except ET.ParseError as error:
        raise CorpusError(f"{path}: not an ELAN file ({error})") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise CorpusError(f"{path}: found <{root.tag}>, expected <ANNOTATION_DOCUMENT> of ELAN")
    try:
        # A slot that nobody has put in its place, as ELAN makes them when it divides an annotation, has no value.
        times_s = {
            slot.attrib["TIME_SLOT_ID"]: int(value) / 1000
            if (value := slot.attrib.get("TIME_VALUE"))
            else math.nan
            for slot in root.iter("TIME_SLOT")
        }
        tiers = [
            Tier(
                tier.attrib["TIER_ID"],
                sorted(
                    labelled
                    for annotation in tier.iter("ALIGNABLE_ANNOTATION")
                    if not math.isnan(
                        (labelled := _annotated(annotation, times_s)).start_s + labelled.end_s
                    )
                ),
            )
            for tier in root.iter("TIER")
        ]
    except (KeyError, ValueError) as error:
        raise CorpusError(f"{path}: not an ELAN file that can be read ({error})") from None
    return _of_tier(path, phone_tier([tier for tier in tiers if tier.intervals], str(path)))


def _annotated(annotation: ET.Element, times_s: Mapping[str, float]) -> Labelled:
    start_s, end_s = (times_s[annotation.attrib[f"TIME_SLOT_REF{side}"]] for side in (1, 2))
    return Labelled(0, start_s, end_s, annotation.findtext("ANNOTATION_VALUE") or "")


def read_ctm(path: Path) -> dict[str, list[Interval]]:
    """Read a CTM file of one or more utterances: the intervals of each, by its name."""
    utterances: dict[str, _Intervals] = defaultdict(lambda: _Intervals(path))
    for number, line in enumerate(_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields or line.lstrip().startswith(";;"):
            continue
        where = f"{path}, line {number}"
        try:
            utterance, _, start, duration, label = fields[:5]
            start_s = round(float(start), 7)
            end_s = start_s + float(duration)
        except ValueError:
            raise CorpusError(
                f"{where}: found {line.strip()[:60]!r}, expected 'utterance channel start duration "
                "phone' with the times in seconds"
            ) from None
        utterances[utterance].add(where, label, start_s, end_s)
    return {name: intervals.found for name, intervals in utterances.items()}


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
    ".eaf": read_eaf,
    ".phn": read_phn,
    ".ctm": _read_ctm_of_one,
}


def read_labels(path: Path) -> list[Interval]:
    """Read a label file in the format of its suffix.

    Parameters
    ----------
    path : Path
        A file with one of the suffixes in ``READERS``, in any case. Of a CTM with several utterances, the one named
        like the file is taken.

    Returns
    -------
    list of Interval
        In order of time; empty for a file of blank lines.

    Raises
    ------
    CorpusError
        There is no reader for the suffix, or the reader refuses the file.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise CorpusError(
            f"{path}: no reader for label files ending in {path.suffix!r}; "
            f"known are {', '.join(sorted(READERS))}"
        )
    return reader(path)


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


def _say_once(key: str, text: str) -> None:
    if key not in _said:
        _said.add(key)
        _log.warning("%s", text)


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
