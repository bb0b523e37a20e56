"""An evaluation as one HTML file to read and to listen to; it needs nothing else and makes no request."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isnan

import numpy as np
from numpy.typing import NDArray

from vqspeech.evaluation.figures import Figures
from vqspeech.evaluation.judging import Judged
from vqspeech.evaluation.study import Evaluation
from vqspeech.report.document import html_page, html_table, percent, picker, player
from vqspeech.report.evaluation_tables import CODE_MODELS, ROW_NAMES, describe, row_name, tables

TITLE = "How the model speaks"

EXCERPT_S = 6.0
"""How much of a recording is on the page: whole ones of long utterances would make it too large to open."""


@dataclass(frozen=True, eq=False)
class Example:
    """One trial to listen to.

    Attributes
    ----------
    judged : Judged
        The trial and its figures.
    wavs : dict of str to ndarray of float32, shape (samples,)
        By row: ``source``, ``real`` where there is one, ``made``.
    """

    judged: Judged
    wavs: dict[str, NDArray[np.float32]]


def choose_examples(trials: Sequence[Judged], count: int) -> list[int]:
    """Choose trials to listen to.

    Parameters
    ----------
    trials : sequence of Judged
        All of them.
    count : int
        How many of each group.

    Returns
    -------
    list of int
        Places of the first of each group: their utterances were drawn at random.
    """
    taken: dict[tuple[str, str], list[int]] = {}
    for place, of in enumerate(trials):
        own = taken.setdefault((of.trial.kind, of.trial.group), [])
        if len(own) < count:
            own.append(place)
    return [place for own in taken.values() for place in own]


def to_html(found: Evaluation, examples: Sequence[Example]) -> str:
    """Write an evaluation as a page.

    Parameters
    ----------
    found : Evaluation
        What was found.
    examples : sequence of Example
        What to listen to.

    Returns
    -------
    str
        HTML that makes no request.
    """
    baselines = [name for row, name in ROW_NAMES.items() if row != "made"]
    baselines += [name for model, name in CODE_MODELS.items() if model != "prior"]
    remarks = "".join(f'<p class="note">{escape(remark)}</p>' for remark in found.remarks)
    return html_page(
        TITLE,
        escape(describe(found)) + remarks,
        {
            "scores": ("Scores", "".join(html_table(table, baselines) for table in tables(found))),
            "listen": ("To listen to", _examples(examples, found.sample_rate)),
        },
        "The same numbers, and those of every utterance, are in evaluation.json.",
    )


def _examples(examples: Sequence[Example], sample_rate: int) -> str:
    if not examples:
        return ""
    note = (
        f'<p class="note">The first {EXCERPT_S:g} s of each recording at most. Below: what a recogniser heard in '
        "all of it, and its figures.</p>"
    )
    return (
        note
        + picker([_title(of.judged) for of in examples])
        + "".join(_example(number, of, sample_rate) for number, of in enumerate(examples))
    )


def _title(of: Judged) -> str:
    trial = of.trial
    who = trial.source if trial.source == trial.target else f"{trial.source} → {trial.target}"
    return f"{trial.kind}: {who}, {of.utterance}"


def _example(number: int, example: Example, sample_rate: int) -> str:
    of, limit = example.judged, round(EXCERPT_S * sample_rate)
    players = [
        player(row_name(row, of.trial.kind), wav[:limit], sample_rate, _below(of, row))
        for row, wav in example.wavs.items()
    ]
    text = f"<p>“{escape(of.text)}”</p>" if of.text else ""
    return (
        f'<article class="utterance" id="utterance-{number}"><h3>{escape(_title(of))}</h3>{text}'
        f'<div class="players">{"".join(players)}</div></article>'
    )


def _below(of: Judged, row: str) -> str:
    figures = of.figures[row]
    heard = f"“{escape(figures.transcript)}”<br>" if figures.transcript else ""
    return f'<p class="note">{heard}{escape(", ".join(_figures(figures)))}</p>'


def _figures(of: Figures) -> list[str]:
    """Name what was measured of one recording."""
    found = []
    if of.words:
        found.append(f"word error {percent(of.edits / of.words)}")
    if of.nearest:
        found.append(f"nearest {of.nearest}")
    for value, text in (
        (of.to_target, "to target {:.2f}"),
        (of.f0_hz, "F0 {:.0f} Hz"),
        (of.strength, "voicing {:.2f}"),
        (of.overall, "DNSMOS {:.1f}"),
        (of.mcd_db, "distortion {:.1f} dB"),
    ):
        if not isnan(value):
            found.append(text.format(value))
    return found
