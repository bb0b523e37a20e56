"""A study as one HTML file that needs nothing else: styles, pictures and sound are inside it.

The files of the folder ``page`` are its frame. Without JavaScript everything can be read and heard;
with it tables are sorted by a click and utterances are shown one at a time.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from vqspeech import __version__
from vqspeech.analysis.examples import Example, Sound
from vqspeech.analysis.picture import draw, tiers
from vqspeech.analysis.plots import PLOTS
from vqspeech.analysis.study import Material, SystemStudy, complaints
from vqspeech.analysis.systems import MFCC, MODEL, RANDOM
from vqspeech.analysis.tables import Table, describe, remarks, tables
from vqspeech.audio import write_stream

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
    sections = {
        "systems": ("What was compared", _systems(studies)),
        "scores": ("Scores", "".join(map(_table, tables(studies), [studies] * 9))),
        "pictures": ("Pictures", "".join(_pictures(figures))),
        "examples": ("Utterances", _examples(examples, studies)),
    }
    sections = {key: section for key, section in sections.items() if section[1]}
    alarms = [f"<p>{escape(text)}</p>" for study in studies for text in complaints(study)]
    main = [f'<div class="alarm" role="alert">{"".join(alarms)}</div>'] if alarms else []
    main += [
        f'<section id="{key}"><h2>{title}</h2>{content}</section>'
        for key, (title, content) in sections.items()
    ]
    notes = "".join(f'<p class="note">{escape(remark)}</p>' for remark in remarks(studies))
    return Template(_part("page.html")).substitute(
        title=TITLE,
        style=_part("style.css"),
        script=_part("script.js"),
        lead=escape(describe(material)) + notes,
        contents="".join(f'<a href="#{key}">{title}</a>' for key, (title, _) in sections.items()),
        main="\n".join(main),
        footer=f"Written by vqspeech {escape(__version__)}. The same numbers are in scores.json and scores.csv.",
    )


def to_png(figure: "Figure") -> bytes:
    """Save a figure as a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _part(name: str) -> str:
    return (files("vqspeech.analysis") / "page" / name).read_text(encoding="utf-8")


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


def _table(table: Table, studies: Sequence[SystemStudy]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in ("system", *table.columns))
    rows = []
    for study in studies:
        cells = [
            f'<td data-value="{"" if cell.value != cell.value else cell.value}">{escape(cell.text)}'
            f"{f'<small>{escape(cell.beside)}</small>' if cell.beside else ''}</td>"
            for cell in table.rows[study.system.name]
        ]
        name = escape(study.system.name)
        rows.append(f'<tr{_baseline(study)}><th scope="row">{name}</th>{"".join(cells)}</tr>')
    return (
        f'<h3>{escape(table.title)}</h3><p class="note">{escape(table.note)}</p>'
        f'<div class="box" role="region" aria-label="{escape(table.title)}" tabindex="0">'
        f'<table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
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
                f'<img src="{_data_url("image/png", image)}" alt="{escape(title)}. {escape(reading)}">'
                f"</div><figcaption>{escape(reading)}</figcaption></figure>"
            )


def _examples(examples: Sequence[Example], studies: Sequence[SystemStudy]) -> str:
    if not examples:
        return ""
    options = "".join(
        f'<option value="utterance-{i}">{escape(example.utterance)} ({escape(example.speaker)})</option>'
        for i, example in enumerate(examples)
    )
    return (
        '<p class="note">A box has the colour of its phone, and a code that of the phone it stands for: '
        "codes that know phones repeat the colours of the row of phones. Scroll sideways for more; "
        "a box tells its phone when pointed at.</p>"
        '<p hidden><label for="picker">Utterance </label>'
        f'<select id="picker">{options}</select></p>'
        + "".join(_example(i, example, studies) for i, example in enumerate(examples))
    )


def _example(number: int, example: Example, studies: Sequence[SystemStudy]) -> str:
    names = "".join(
        f'<span style="top:{top + 6}px">{escape(name)}</span>'
        for name, top, _ in tiers(example, studies)
    )
    title = f"{example.utterance}, {example.speaker}"
    text = f"<p>“{escape(example.text)}”</p>" if example.text else ""
    return (
        f'<article class="utterance" id="utterance-{number}"><h3>{escape(title)}, '
        f"{example.duration_s:.1f} s</h3>{text}"
        f'<div class="tiers"><div class="names" aria-hidden="true">{names}</div>'
        f'<div class="scroll" role="region" aria-label="Codes of {escape(title)}" tabindex="0">'
        f"{draw(example, studies)}</div></div>"
        f'<div class="players">{"".join(_player(sound, example) for sound in example.sounds)}</div>'
        "</article>"
    )


def _player(sound: Sound, example: Example) -> str:
    file = io.BytesIO()
    write_stream(file, [sound.wav], len(sound.wav), example.sample_rate)
    title = escape(sound.title)
    return (
        f"<figure><figcaption>{title}</figcaption>"
        f'<audio controls preload="metadata" aria-label="{title}" src="{_data_url("audio/wav", file.getvalue())}">'
        "</audio></figure>"
    )


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
