"""Praat TextGrid files: read in the long and short text formats, written in the long one. Times are seconds.

As in Praat, only quoted strings, numbers and flags that stand alone count; all else, from ``xmin =`` to ``intervals
[1]:``, is comment, and so is what follows ``!`` on a line.
"""

import re
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from vqspeech.errors import CorpusError

SUFFIX = ".TextGrid"

PHONE_TIERS = ("phones", "phone", "phonemes", "phoneme", "segments", "mau")
"""Names of the tier with phones, in lower case, the first that is there; before ``phone`` comes any
``<speaker> - phones``."""

_TOKEN = re.compile(
    r'"(?P<string>(?:[^"]|"")*)"(?!\S)'
    r"|(?P<flag><[^<>\s]*>)(?!\S)"
    r"|(?P<comment>!.*)"
    r"|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)"
    r"|\S+"
)


class Labelled(NamedTuple):
    """An interval of a tier and the line it starts on."""

    line: int
    start_s: float
    end_s: float
    text: str


class Tier(NamedTuple):
    """An interval tier."""

    name: str
    intervals: list[Labelled]


def parse_textgrid(text: str, file: str) -> list[Tier]:
    """Read the interval tiers of a TextGrid; point tiers are ignored.

    `file` is its name in a `CorpusError`, raised with file and line for text that is no TextGrid or ends early.
    """
    tokens = _Tokens(text, file)
    kind = tokens.string('the file type "ooTextFile"')
    if not kind.startswith("ooTextFile"):
        raise tokens.error(f'found {kind!r}, expected the file type "ooTextFile"')
    content = tokens.string('the object class "TextGrid"')
    if content != "TextGrid":
        raise tokens.error(f'found {content!r}, expected the object class "TextGrid"')
    tokens.number("the start of the file"), tokens.number("the end of the file")
    if tokens.flag("<exists>") != "<exists>":
        return []
    return [tier for _ in range(tokens.count("tiers")) if (tier := _tier(tokens)) is not None]


def phone_tier(tiers: list[Tier], file: str) -> Tier:
    """Choose the tier of phones, by its name in any case.

    The first of ``phones``, ``<speaker> - phones``, ``phone``, ``phonemes``, ``phoneme``, ``segments``, ``MAU`` is
    taken; `CorpusError` where there is none, or several of the same rank. `file` is its name there.
    """
    named = [(tier.name.strip().lower(), tier) for tier in tiers]
    first, *others = PHONE_TIERS
    ranks = [
        [tier for name, tier in named if name == first],
        [tier for name, tier in named if re.search(r"-\s*phones$", name)],
        *([tier for name, tier in named if name == other] for other in others),
    ]
    found = next((rank for rank in ranks if rank), [])
    if not found:
        names = ", ".join(repr(tier.name) for tier in tiers) or "none"
        raise CorpusError(
            f"{file}: no tier of phones among its interval tiers ({names}); expected one named "
            "phones, '<speaker> - phones', phone, segments or MAU"
        )
    if len(found) > 1:
        names = ", ".join(repr(tier.name) for tier in found)
        raise CorpusError(f"{file}: several tiers of phones ({names}); keep one speaker a file")
    return found[0]


def _tier(tokens: "_Tokens") -> Tier | None:
    kind = tokens.string('"IntervalTier" or "TextTier"')
    if kind not in ("IntervalTier", "TextTier"):
        raise tokens.error(f'found {kind!r}, expected "IntervalTier" or "TextTier"')
    name = tokens.string("the name of a tier")
    tokens.number("the start of the tier"), tokens.number("the end of the tier")
    if kind == "TextTier":
        for _ in range(tokens.count("points")):
            tokens.number("the time of a point"), tokens.string("the mark of a point")
        return None
    intervals = []
    for _ in range(tokens.count("intervals")):
        start_s = tokens.number("the start of an interval")
        line = tokens.line
        end_s = tokens.number("the end of an interval")
        intervals.append(Labelled(line, start_s, end_s, tokens.string("the text of an interval")))
    return Tier(name, intervals)


class _Tokens:
    """What stands alone in a Praat text file, one after the other."""

    def __init__(self, text: str, file: str) -> None:
        self.file, self.line = file, 1
        self._breaks = [found.start() for found in re.finditer("\n", text)]
        self._found: Iterator[re.Match[str]] = _TOKEN.finditer(text)

    def string(self, what: str) -> str:
        return self._take("string", what).replace('""', '"')

    def number(self, what: str) -> float:
        return float(self._take("number", what))

    def flag(self, what: str) -> str:
        return self._take("flag", what)

    def count(self, what: str) -> int:
        number = self.number(f"the number of {what}")
        if not number.is_integer() or number < 0:
            raise self.error(f"found {number}, expected the number of {what}")
        return int(number)

    def error(self, problem: str) -> CorpusError:
        return CorpusError(f"{self.file}, line {self.line}: {problem}")

    def _take(self, kind: str, what: str) -> str:
        for found in self._found:
            token = found[0]
            self.line = bisect(self._breaks, found.start()) + 1
            if found.lastgroup == kind:
                return found[kind]
            if found.lastgroup in ("string", "number", "flag") or token.startswith('"'):
                raise self.error(f"found {token[:60]!r}, expected {what}")
        raise self.error(f"the file ends where {what} was expected")


def to_textgrid(tiers: Mapping[str, Sequence[tuple[float, float, str]]], end_s: float) -> str:
    """Return the text of a TextGrid of `end_s` seconds.

    `tiers` has the intervals (start and end in seconds, label) of each tier by name, without gaps from 0 to `end_s`, as
    Praat requires.
    """
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end_s:.9g}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, intervals) in enumerate(tiers.items(), 1):
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f"        name = {_quoted(name)}",
            "        xmin = 0",
            f"        xmax = {end_s:.9g}",
            f"        intervals: size = {len(intervals)}",
        ]
        for index, (start_s, stop_s, label) in enumerate(intervals, 1):
            lines += [
                f"        intervals [{index}]:",
                f"            xmin = {start_s:.9g}",
                f"            xmax = {stop_s:.9g}",
                f"            text = {_quoted(label)}",
            ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
