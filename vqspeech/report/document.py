"""What reports have in common: tables as Markdown and HTML, the frame of a page, pictures and sound inside it.

The files of the folder ``page`` are the frame. A page makes no request: styles, pictures and sound
are inside it, and its policy forbids the rest. Without JavaScript everything can be read and heard;
with it tables are sorted by a click and utterances are shown one at a time.
"""

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from math import isnan
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech import __version__
from vqspeech.audio import write_stream
from vqspeech.metrics.bootstrap import Interval95


@dataclass(frozen=True)
class Cell:
    """One entry of a table.

    Attributes
    ----------
    value : float
        What it is sorted by.
    text : str
        The value for people, with its interval.
    beside : str
        Its baselines; may be empty.
    """

    value: float
    text: str
    beside: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a row for each thing that is compared.

    Attributes
    ----------
    title : str
        What it is about.
    note : str
        How to read it.
    columns : tuple of str
        Heads of the columns, without that of the rows' names.
    rows : dict of str to tuple of Cell
        Cells of each row, as many as there are columns.
    head : str
        Head of the rows' names.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[Cell, ...]]
    head: str = "system"


def percent(share: float) -> str:
    """Write a share of 1; a dash for nan."""
    return "-" if isnan(share) else f"{100 * share:.1f} %"


def percent_range(interval: Interval95) -> str:
    """Write an interval of shares, to stand behind a share; nothing for nan."""
    if isnan(interval.low):
        return ""
    return f" [{100 * interval.low:.1f} to {100 * interval.high:.1f}]"


def counted(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def plain(value: Any) -> Any:
    """Turn nested mappings and sequences into what JSON holds: lists, and null for nan."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and isnan(value) else value


def markdown_table(table: Table) -> list[str]:
    """Write a table as lines of Markdown, with its title and its note, an empty line last."""
    lines = [f"## {table.title}", "", table.note, ""] if table.note else [f"## {table.title}", ""]
    lines.append(f"| {table.head} | {' | '.join(table.columns)} |")
    lines.append(f"| --- |{' ---: |' * len(table.columns)}")
    for name, cells in table.rows.items():
        texts = [f"{c.text} ({c.beside})" if c.beside else c.text for c in cells]
        lines.append(f"| {_escaped(name)} | {' | '.join(texts)} |")
    return [*lines, ""]


def html_table(table: Table, baselines: Collection[str] = ()) -> str:
    """Write a table as HTML, with its title and its note.

    Parameters
    ----------
    table : Table
        The table.
    baselines : collection of str
        Names of rows that are there to compare with.

    Returns
    -------
    str
        Markup; all names and texts are escaped.
    """
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in (table.head, *table.columns))
    rows = []
    for name, row in table.rows.items():
        cells = [
            f'<td data-value="{"" if cell.value != cell.value else cell.value}">{escape(cell.text)}'
            f"{f'<small>{escape(cell.beside)}</small>' if cell.beside else ''}</td>"
            for cell in row
        ]
        kind = ' class="baseline"' if name in baselines else ""
        rows.append(f'<tr{kind}><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f"<h3>{escape(table.title)}</h3>{note}"
        f'<div class="box" role="region" aria-label="{escape(table.title)}" tabindex="0">'
        f'<table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def html_page(
    title: str, lead: str, sections: Mapping[str, tuple[str, str]], footer: str, alarm: str = ""
) -> str:
    """Put sections into the frame.

    Parameters
    ----------
    title : str
        Text.
    lead : str
        Markup below the title.
    sections : mapping of str to (str, str)
        Title (text) and content (markup) by an identifier; those without content are left out.
    footer : str
        Text, after the version of this program.
    alarm : str
        Markup that must not be passed over; may be empty.

    Returns
    -------
    str
        HTML that makes no request.
    """
    shown = {key: section for key, section in sections.items() if section[1]}
    main = [f'<div class="alarm" role="alert">{alarm}</div>'] if alarm else []
    main += [
        f'<section id="{key}"><h2>{escape(name)}</h2>{content}</section>'
        for key, (name, content) in shown.items()
    ]
    return Template(_part("page.html")).substitute(
        title=escape(title),
        style=_part("style.css"),
        script=_part("script.js"),
        lead=lead,
        contents="".join(
            f'<a href="#{key}">{escape(name)}</a>' for key, (name, _) in shown.items()
        ),
        main="\n".join(main),
        footer=f"Written by vqspeech {escape(__version__)}. {escape(footer)}",
    )


def picker(options: Sequence[str]) -> str:
    """Make the choice of which ``article`` of class ``utterance`` and id ``utterance-N`` is shown; N counts from 0."""
    entries = "".join(
        f'<option value="utterance-{number}">{escape(text)}</option>'
        for number, text in enumerate(options)
    )
    return (
        '<p hidden><label for="picker">Utterance </label>'
        f'<select id="picker">{entries}</select></p>'
    )


def player(title: str, wav: NDArray[np.float32], sample_rate: int, below: str = "") -> str:
    """Make a player with the sound inside.

    Parameters
    ----------
    title : str
        What it is; text.
    wav : ndarray of float32, shape (samples,)
        The sound.
    sample_rate : int
        Hz.
    below : str
        Markup under the player.

    Returns
    -------
    str
        Markup.
    """
    file = io.BytesIO()
    write_stream(file, [wav], len(wav), sample_rate)
    name = escape(title)
    return (
        f"<figure><figcaption>{name}</figcaption>"
        f'<audio controls preload="metadata" aria-label="{name}" '
        f'src="{data_url("audio/wav", file.getvalue())}">'
        f"</audio>{below}</figure>"
    )


def data_url(kind: str, content: bytes) -> str:
    """Write a file of a media type as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _part(name: str) -> str:
    return (files("vqspeech.report") / "page" / name).read_text(encoding="utf-8")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
