"""Praat TextGrids, written in the long text format: interval tiers that cover a recording.

Times are seconds; tiers and intervals come in the order given. An empty label is silence.
"""

from collections.abc import Mapping, Sequence

SUFFIX = ".TextGrid"


def to_textgrid(tiers: Mapping[str, Sequence[tuple[float, float, str]]], end_s: float) -> str:
    """Return the text of a TextGrid.

    Parameters
    ----------
    tiers : mapping of str to sequence of (float, float, str)
        Name of each tier, and its intervals: start and end in seconds, label. They follow one
        another without gaps from 0 to `end_s`, as Praat wants them.
    end_s : float
        Length of the recording, seconds.

    Returns
    -------
    str
        Ends with a line break.
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
