"""The card of a model: figures from the header of its file, and words about it from ``NAME.md.in``.

The words fill the blocks of ``card.md``; ``licences.md`` and ``misuse.md`` lie beside them. Of the scores in a header
``held_out`` is what training writes at its end and ``evaluation`` is ``evaluation.json`` without single recordings;
anything else is laid out as it comes.
"""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, TemplateError, TemplateNotFound

from vqspeech.errors import VqspeechError
from vqspeech.jobs.atomic import write_file
from vqspeech.models import pretrained
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import (
    load_model,
    read_header,
    read_prior_header,
    samples_learned,
)
from vqspeech.report.document import LOADER, TEMPLATES, markdown, missing, percent

CURVE_ROWS = 12
"""Validations that a card shows, the last one among them."""

_ROWS = {
    "source": "source untouched",
    "real": "real target",
    "mulaw": "µ-law round trip",
    "made": "made by the model",
}
_COLUMNS = {
    "recordings": "recordings",
    "to_target": "to target",
    "to_source": "to source",
    "nearest_is_target": "nearest is target",
    "word_error": "word error rate",
    "semitones": "F0 from target, semitones",
    "strength": "voicing",
    "overall": "DNSMOS",
    "mcd_db": "distortion, dB",
}
_INTERVALS = {
    "nearest_is_target": "nearest_interval",
    "word_error": "word_error_interval",
    "map_accuracy": "map_accuracy_interval",
}


def write_card(file: Path, words: Path) -> Path:
    """Write the card of a model beside its file.

    Parameters
    ----------
    file : Path
        ``NAME.safetensors``; the prior over its codes is beside it, if it has one.
    words : Path
        Folder of ``NAME.md.in``, ``licences.md`` and ``misuse.md``.

    Returns
    -------
    Path
        ``NAME.md``.

    Raises
    ------
    VqspeechError
        The model or its words are not there, or the words lack a block or name a part that does not exist.
    """
    source = words / f"{file.stem}.md.in"
    parts = _parts(file)
    environment = TEMPLATES.overlay(loader=ChoiceLoader([FileSystemLoader(words), LOADER]))
    try:
        text = environment.get_template(source.name).render(parts)
    except TemplateNotFound as error:
        raise VqspeechError(f"{words / str(error)}: no such file") from None
    except TemplateError as error:
        raise VqspeechError(f"{source}: {error}") from None
    text = re.sub("\n{3,}", "\n\n", text).strip() + "\n"
    out = file.with_suffix(".md")
    write_file(out, text)
    return out


def prior_tables(figures: Mapping[str, Any]) -> str:
    """Lay out as Markdown what a prior reaches on held-out codes, and what is known of the codes it draws."""
    tables: Any = TEMPLATES.get_template("scores.md").module
    return str(tables.prior(figures)).strip()


def _parts(file: Path) -> dict[str, Any]:
    header, model = read_header(file), load_model(file)
    of, scores = header["training"], dict(header["scores"])
    held_out, evaluation = scores.pop("held_out", None), scores.pop("evaluation", None) or {}
    minutes, speakers = _speakers(model, of.get("minutes", {}))
    points = of.get("curve", [])
    return {
        "name": file.stem,
        "priors": pretrained.PRIORS,
        "model": model,
        "parameters": sum(p.numel() for p in model.parameters()),
        "weights": header.get("weights", "float32"),
        "size": file.stat().st_size,
        "minutes": minutes,
        "speakers": speakers,
        "training": _training(of, model.sample_rate),
        "curve": points[::-1][:: max(1, -(-len(points) // CURVE_ROWS))][::-1],
        # the same figures, of what is shipped instead of what was trained
        "likelihood": evaluation.get("likelihood") or held_out,
        "evaluation": evaluation,
        "others": _flat(scores),
        "prior": _prior(pretrained.prior_beside(file)),
    }


def _speakers(
    model: Autoencoder, minutes: Mapping[str, Mapping[str, float]]
) -> tuple[dict[str, float], list[tuple[str, str, str]]]:
    """Minutes of speech by corpus, and of each voice its corpus and minutes, where they are known."""
    corpora: dict[str, float] = {}
    spoken: dict[str, tuple[str, float]] = {}
    for part, of in minutes.items():
        corpus = part.partition("/")[0]
        for speaker, count in of.items():
            corpora[corpus] = corpora.get(corpus, 0.0) + count
            spoken[speaker] = corpus, spoken.get(speaker, ("", 0.0))[1] + count
    found = [(name, *spoken.get(name, ("-", 0.0))) for name in model.speakers]
    return corpora, [(name, corpus, f"{count:.2f}") for name, corpus, count in found]


def _training(of: Mapping[str, Any], sample_rate: int) -> dict[str, str]:
    """How long it was trained, on what."""
    rows = {}
    if "steps" in of:
        rows["steps"] = f"{of['steps']:,}"
    if "samples_seen" in of:
        # files that say what came before count what the WaveNet learned from, others all that was read
        learned = "samples_seen_before" in of
        samples = samples_learned(of)
        name = "samples the WaveNet has learned from, in all" if learned else "samples seen"
        rows[name] = f"{samples:,} ({samples / sample_rate / 3600:.4g} hours of speech)"
    if "seconds" in of:
        rows["time"] = f"{of['seconds'] / 3600:.4g} hours"
    known = {"steps", "samples_seen", "samples_seen_before", "seconds"}
    rest = {key: of[key] for key in of if key not in known}
    return rows | {
        key.replace("_", " "): _figure(value)
        for key, value in rest.items()
        if not isinstance(value, Mapping | list)
    }


def _prior(path: Path) -> dict[str, Any] | None:
    """What the prior beside a model is and reaches."""
    if not path.is_file():
        return None
    header, size = read_prior_header(path), path.stat().st_size
    of, scores, network = header["training"], header["scores"], header["config"]["network"]
    held_out = {key: scores[key] for key in ("held_out",) if key in scores}
    return {
        "figures": scores.get("evaluation") or held_out,
        "facts": {
            "network": f"dilated causal convolutions, {len(network['dilations'])} layers, {network['width']} channels",
            "weights": f"{header.get('weights', 'float32')}, {size:,} bytes",
            "trained": f"{of.get('steps', 0):,} steps, {of.get('codes_seen', 0):,} codes,"
            f" {of.get('seconds', 0) / 60:.0f} minutes on {of.get('hardware', 'an unknown machine')}",
        },
    }


def _group_rows(
    rows: Mapping[str, Mapping[str, Any]],
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of recordings that stand beside each other; what was measured of none of them has no column."""
    there = {name: row for name, row in rows.items() if row.get("recordings")}
    columns = [key for key in _COLUMNS if not all(missing(row.get(key)) for row in there.values())]
    head = ["", *(_COLUMNS[key] for key in columns)]
    return head, [
        [_ROWS.get(name, name), *(_share(row, key) for key in columns)]
        for name, row in there.items()
    ]


def _share(of: Mapping[str, Any], key: str) -> str:
    """Write a figure; a share in percent, with its interval where there is one."""
    value = of.get(key)
    if key not in _INTERVALS:
        return _figure(value)
    interval = of.get(_INTERVALS[key])
    if missing(value) or not interval or None in interval:
        return percent(value)
    return f"{percent(value)} [{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]"


def _flat(
    of: Mapping[str, Any], leave_out: Collection[str] = (), before: str = ""
) -> dict[str, str]:
    """Write values of any shape under the words that lead to them."""
    found: dict[str, str] = {}
    for key, value in of.items():
        name = f"{before} {key.replace('_', ' ')}".strip()
        if isinstance(value, Mapping):
            found |= _flat(value, before=name) if key not in leave_out else {}
        elif key not in leave_out:
            text = ", ".join(map(_figure, value)) if isinstance(value, list) else _figure(value)
            found[name] = text.replace("|", "\\|").replace("\n", " ")
    return found


def _figure(value: Any) -> str:
    """Write a score with four digits; what is no number as it is, what is not there as a dash."""
    if missing(value):
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _nats(bits: float | None) -> str:
    return _figure(None if bits is None else bits * math.log(2))


TEMPLATES.filters |= {
    "figure": _figure,
    "flat": _flat,
    "group_rows": _group_rows,
    "nats": _nats,
    "percent": percent,
    "share": _share,
}
TEMPLATES.globals |= {"log2": math.log2, "markdown": markdown}
