"""A study as one HTML file that needs nothing else: styles, pictures and sound are inside it."""

import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from vqspeech.analysis.examples import Example
from vqspeech.analysis.material import Material
from vqspeech.analysis.study import SystemStudy, complaints
from vqspeech.analysis.systems import MFCC, MODEL, RANDOM
from vqspeech.report.analysis_tables import describe, remarks, tables
from vqspeech.report.document import data_url, html_page, html_table, picker, player
from vqspeech.report.picture import draw, tiers
from vqspeech.report.plots import PLOTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "What the codes know"

_KINDS = {
    MODEL: "a trained model",
    RANDOM: "baseline: the same architecture before training, its codebook on k-means of its output",
    MFCC: "baseline: nearest of k-means centres of normalised MFCC with differences",
}


def to_html(
    material: Material,
    studies: Sequence[SystemStudy],
    figures: Mapping[str, Mapping[str, bytes]],
    examples: Sequence[Example],
) -> str:
    """Write a study as a page.

    Parameters
    ----------
    material : Material
        What was measured on.
    studies : sequence of SystemStudy
        What was found, models first.
    figures : mapping of str to mapping of str to bytes
        Of each model that is drawn, PNG files by their key in `PLOTS`.
    examples : sequence of Example
        Utterances to look at and listen to.

    Returns
    -------
    str
        HTML that makes no request.
    """
    baselines = [study.system.name for study in studies if study.system.kind != MODEL]
    sections = {
        "systems": ("What was compared", _systems(studies)),
        "scores": ("Scores", "".join(html_table(table, baselines) for table in tables(studies))),
        "pictures": ("Pictures", "".join(_pictures(figures))),
        "examples": ("Utterances", _examples(examples, studies)),
    }
    alarms = [f"<p>{escape(text)}</p>" for study in studies for text in complaints(study)]
    notes = "".join(f'<p class="note">{escape(remark)}</p>' for remark in remarks(studies))
    return html_page(
        TITLE,
        escape(describe(material)) + notes,
        sections,
        "The same numbers are in scores.json and scores.csv.",
        "".join(alarms),
    )


def to_png(figure: "Figure") -> bytes:
    """Save a figure as a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _systems(studies: Sequence[SystemStudy]) -> str:
    rows = []
    for study in studies:
        system = study.system
        facts = {
            "": _KINDS[system.kind],
            "sample rate": f"{system.sample_rate} Hz",
            "codes": f"{system.frame_rate_hz:g} a second (one for {system.hop} samples), "
            f"{system.codebook_size} different ones",
            **{key: str(value) for key, value in system.facts.items()},
        }
        text = "<br>".join(
            f"{escape(key)}{': ' if key else ''}{escape(value)}" for key, value in facts.items()
        )
        rows.append(
            f'<tr{_baseline(study)}><th scope="row">{escape(system.name)}</th><td class="text">{text}</td></tr>'
        )
    return (
        '<div class="box" role="region" aria-label="Systems" tabindex="0"><table><thead><tr>'
        '<th scope="col">system</th><th scope="col" style="text-align:left">what it is</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _baseline(study: SystemStudy) -> str:
    return "" if study.system.kind == MODEL else ' class="baseline"'


def _pictures(figures: Mapping[str, Mapping[str, bytes]]) -> Iterator[str]:
    for name, images in figures.items():
        for key, image in images.items():
            title, reading = f"{PLOTS[key].title}: {name}", PLOTS[key].reading
            yield (
                f"<h3>{escape(title)}</h3><figure>"
                f'<div class="box" role="region" aria-label="{escape(title)}" tabindex="0">'
                f'<img src="{data_url("image/png", image)}" alt="{escape(title)}. {escape(reading)}">'
                f"</div><figcaption>{escape(reading)}</figcaption></figure>"
            )


def _examples(examples: Sequence[Example], studies: Sequence[SystemStudy]) -> str:
    if not examples:
        return ""
    options = [f"{example.utterance} ({example.speaker})" for example in examples]
    return (
        '<p class="note">A box has the colour of its phone, and a code that of the phone it stands for: '
        "codes that know phones repeat the colours of the row of phones. Scroll sideways for more; "
        "a box tells its phone when pointed at.</p>"
        + picker(options)
        + "".join(_example(i, example, studies) for i, example in enumerate(examples))
    )


def _example(number: int, example: Example, studies: Sequence[SystemStudy]) -> str:
    names = "".join(
        f'<span style="top:{top + 6}px">{escape(name)}</span>'
        for name, top, _ in tiers(example, studies)
    )
    title = f"{example.utterance}, {example.speaker}"
    text = f"<p>“{escape(example.text)}”</p>" if example.text else ""
    players = [player(sound.title, sound.wav, example.sample_rate) for sound in example.sounds]
    return (
        f'<article class="utterance" id="utterance-{number}"><h3>{escape(title)}, '
        f"{example.duration_s:.1f} s</h3>{text}"
        f'<div class="tiers"><div class="names" aria-hidden="true">{names}</div>'
        f'<div class="scroll" role="region" aria-label="Codes of {escape(title)}" tabindex="0">'
        f"{draw(example, studies)}</div></div>"
        f'<div class="players">{"".join(players)}</div>'
        "</article>"
    )
