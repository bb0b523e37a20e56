"""What reports have in common: figures for people and for programs, tables, and the templates that pages are made from.

What the folder ``templates`` makes of names and texts is text, never markup. A page makes no request: styles, pictures
and sound are inside it, and its policy forbids the rest. Without JavaScript everything can be read and heard; with it
tables are sorted by a click and utterances are shown one at a time.
"""

import base64
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from numpy.typing import NDArray

from vqspeech import __version__
from vqspeech.audio import write_stream
from vqspeech.metrics.bootstrap import Interval95


def missing(value: object) -> bool:
    """Tell whether nothing was measured: None or nan."""
    return value is None or value != value


def percent(share: float | None) -> str:
    """Write a share of 1; a dash where there is none."""
    return "-" if share is None or missing(share) else f"{100 * share:.1f} %"


def percent_range(interval: Interval95) -> str:
    """Write an interval of shares, to stand behind a share; nothing for nan."""
    if missing(interval.low):
        return ""
    return f" [{100 * interval.low:.1f} to {100 * interval.high:.1f}]"


def fixed(value: float | None, digits: int) -> str:
    """Write a number with so many decimals; a dash where there is none."""
    return "-" if missing(value) else f"{value:.{digits}f}"


def counted(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Cell:
    """One entry of a table: what it is sorted by, the value for people, and its baselines, which may be empty."""

    value: float
    text: str
    beside: str = ""

    @classmethod
    def share(cls, value: float, beside: str = "", interval: Interval95 | None = None) -> "Cell":
        """Show a share in percent, with its interval where there is one."""
        return cls(value, percent(value) + (percent_range(interval) if interval else ""), beside)

    @classmethod
    def number(cls, value: float, digits: int, beside: str = "") -> "Cell":
        """Show a number with so many decimals."""
        return cls(value, fixed(value, digits), beside)


NOTHING = Cell(nan, "-")
"""An entry without a value."""


@dataclass(frozen=True)
class Table:
    """A table with a row for each thing that is compared.

    Attributes
    ----------
    title : str
        What it is about.
    note : str
        How to read it; may be empty.
    rows : mapping of str to mapping of str to Cell
        Cells by column of each row; all rows have the same columns.
    head : str
        Head of the rows' names.
    """

    title: str
    note: str
    rows: Mapping[str, Mapping[str, Cell]]
    head: str = "system"

    @property
    def columns(self) -> tuple[str, ...]:
        """Heads of the columns, without that of the rows' names."""
        return tuple(next(iter(self.rows.values()), ()))


class Headline(NamedTuple):
    """A figure that a page opens with: its name, the value for people, and what it is to be compared with."""

    name: str
    text: str
    beside: str


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lay out lines of a Markdown table; all columns but the first are to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def markdown_table(table: Table) -> list[str]:
    """Write a table as lines of Markdown, with its title and its note, an empty line last."""
    rows = [
        (name.replace("|", "\\|"), *(f"{c.text} ({c.beside})" if c.beside else c.text for c in row))
        for name, row in ((name, cells.values()) for name, cells in table.rows.items())
    ]
    note = [table.note, ""] if table.note else []
    return [f"## {table.title}", "", *note, *markdown((table.head, *table.columns), rows), ""]


def plain(value: Any) -> Any:
    """Turn nested mappings and sequences into what JSON holds: lists, and null for nan."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and missing(value) else value


def json_text(value: object, indent: int) -> str:
    """Write JSON; nan is null."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def data_url(content: bytes, kind: str) -> Markup:
    """Write a file of a media type as an address that holds it."""
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")


def png(figure: Any) -> bytes:
    """Save a matplotlib figure as a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _sound(wav: NDArray[np.float32], sample_rate: int) -> Markup:
    """Write a recording (samples,) as an address that holds it."""
    file = io.BytesIO()
    write_stream(file, [wav], len(wav), sample_rate)
    return data_url(file.getvalue(), "audio/wav")


LOADER = PackageLoader("vqspeech.report")

TEMPLATES = Environment(
    loader=LOADER,
    autoescape=select_autoescape(("html", "svg")),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {"counted": counted, "data_url": data_url, "sound": _sound}
TEMPLATES.globals |= {"version": __version__, "missing": missing}


def paragraph(template: str, name: str, *values: object) -> str:
    """Return one of the paragraphs in a template of sentences, a macro that takes `values`, on one line."""
    macro: Any = getattr(TEMPLATES.get_template(template).module, name)
    return re.sub(r"[ \n]+", " ", str(macro(*values))).strip(" ")
