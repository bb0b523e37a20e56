"""A study for people and for programs: Markdown, a page, CSV and JSON from one source.

Every score stands beside its baseline in the same cell, and systems stand beside one another in
rows. nan is an empty cell in CSV, null in JSON and a dash for people.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from vqspeech.analysis.examples import Example
from vqspeech.analysis.material import Material
from vqspeech.analysis.study import SystemStudy, sanity_checks
from vqspeech.analysis.systems import MFCC, MODEL, RANDOM
from vqspeech.labels.phones import PHONES
from vqspeech.metrics.bootstrap import Interval95
from vqspeech.metrics.rate import MODELS
from vqspeech.report.document import (
    TEMPLATES,
    Cell,
    Headline,
    Table,
    fixed,
    json_text,
    markdown_table,
    missing,
    paragraph,
    percent,
)
from vqspeech.report.picture import picture
from vqspeech.report.plots import PLOTS

_KINDS = {
    MODEL: "a trained model",
    RANDOM: "baseline: the same architecture before training, its codebook on k-means of its output",
    MFCC: "baseline: nearest of k-means centres of normalised MFCC with differences",
}


def tables(studies: Sequence[SystemStudy]) -> list[Table]:
    """Lay out what was found of several systems.

    Parameters
    ----------
    studies : sequence of SystemStudy
        At least one, with different names.

    Returns
    -------
    list of Table
        Phones without and with silence, ABX, boundaries, speakers and pitch, the codes, and their rate.
    """
    return [
        Table(
            title,
            paragraph("analysis.txt", note),
            {study.system.name: cells(study) for study in studies},
        )
        for note, (title, cells) in _TABLES.items()
    ]


def headlines(studies: Sequence[SystemStudy]) -> dict[str, list[Headline]]:
    """Choose the figures that the page opens with.

    Parameters
    ----------
    studies : sequence of SystemStudy
        What was found.

    Returns
    -------
    dict of str to list of Headline
        Of each trained model: phone accuracy, ABX error and rate, each with its baselines.
    """
    return {
        study.system.name: _headlines(study, studies)
        for study in studies
        if study.system.kind == MODEL
    }


def _headlines(study: SystemStudy, studies: Sequence[SystemStudy]) -> list[Headline]:
    phones, system = study.policies["without_silence"], study.system
    besides = [f"chance {percent(phones.chance)}"]
    for other in studies:
        if (other.system.kind, other.system.codebook_size) == (MFCC, system.codebook_size):
            score = other.policies["without_silence"].map_accuracy
            besides.append(f"{other.system.name} {percent(score)}")
    found = [Headline("phone accuracy", percent(phones.map_accuracy), ", ".join(besides))]
    for key, name in (
        ("across_codes", "ABX error, across speakers"),
        ("within_codes", "ABX error, within speakers"),
    ):
        if not missing(study.abx[key].error):
            found.append(Headline(name, percent(study.abx[key].error), "chance 50 %"))
            break
    rates = study.cost.figures(system.sample_bits)
    for model, name in (("prior", "rate under the prior"), ("unigram", "rate of the codes")):
        bits = rates[model]["bits_per_second"]
        if not missing(bits):
            most = rates["uniform"]["bits_per_second"]
            found.append(Headline(name, f"{bits:.0f} bit/s", f"at most {most:.0f} bit/s"))
            break
    return found


def to_markdown(material: Material, studies: Sequence[SystemStudy]) -> str:
    """Write a study as Markdown.

    Parameters
    ----------
    material : Material
        What was measured on.
    studies : sequence of SystemStudy
        What was found.

    Returns
    -------
    str
        Lines, the last one ended.
    """
    lines = ["# Codes against phones", "", paragraph("analysis.txt", "lead", material), ""]
    lines += [f"> **{text}**\n" for study in studies for text in sanity_checks(study)]
    for table in tables(studies):
        lines += markdown_table(table)
    lines += [f"- {remark}" for remark in _remarks(studies)]
    return "\n".join(lines).rstrip() + "\n"


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
    return TEMPLATES.get_template("analysis.html").render(
        headlines=headlines(studies),
        lead=paragraph("analysis.txt", "lead", material),
        remarks=_remarks(studies),
        sanity_checks=[text for study in studies for text in sanity_checks(study)],
        systems=[(study.system, _KINDS[study.system.kind]) for study in studies],
        baselines=[study.system.name for study in studies if study.system.kind != MODEL],
        tables=tables(studies),
        figures=figures,
        plots=PLOTS,
        names=[f"{example.utterance} ({example.speaker})" for example in examples],
        examples=[(example, picture(example, studies)) for example in examples],
    )


def to_json(studies: Sequence[SystemStudy]) -> str:
    """Write a study as JSON.

    Parameters
    ----------
    studies : sequence of SystemStudy
        What was found.

    Returns
    -------
    str
        One object; its keys are the names of the systems, models first. Of each, ``with_silence``
        and ``without_silence`` hold the fields of `PhoneScores`, ``abx`` those of `AbxScore`;
        ``mapping`` names a phone per code, ``sanity_checks`` says what cannot be meant. nan is null.
    """
    return json_text({study.system.name: _fields(study) for study in studies}, indent=2)


def to_csv(studies: Sequence[SystemStudy]) -> str:
    """Write a study as comma-separated values.

    Parameters
    ----------
    studies : sequence of SystemStudy
        What was found.

    Returns
    -------
    str
        A head, and a row for each system under each policy for silence. An interval is two columns,
        ``..._low`` and ``..._high``; what does not depend on silence is repeated.
    """
    rows = [
        {"system": study.system.name, "kind": study.system.kind, "silence": silence}
        | _flat(_facts(study))
        | _flat(asdict(study.policies[f"{silence}_silence"]))
        | _flat(_apart(study))
        for study in studies
        for silence in ("with", "without")
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _remarks(studies: Sequence[SystemStudy]) -> list[str]:
    """Say what was left out of the scores, once for all systems."""
    found = []
    first = studies[0].phonemes
    if first.unmapped:
        names = ", ".join(list(first.unmapped)[:10])
        more = ", ..." if len(first.unmapped) > 10 else ""
        found.append(
            f"Frames left out, for labels outside the phone set: {sum(first.unmapped.values())} "
            f"({names}{more})."
        )
    if first.skipped:
        found.append(f"Label files not read: {len(first.skipped)}; first: {first.skipped[0]}")
    return found


def _phones(study: SystemStudy, policy: str) -> dict[str, Cell]:
    of = study.policies[policy]
    shuffled = Cell.share(of.shuffled, "", of.shuffled_interval).text
    chance = f"chance {percent(of.chance)}, shuffled {shuffled}"
    cells = {"map accuracy": Cell.share(of.map_accuracy, chance, of.map_accuracy_interval)}
    for score in ("pnmi", "v_measure", "phone_purity", "cluster_purity"):
        name = {"pnmi": "PNMI", "v_measure": "V-measure"}.get(score, score.replace("_", " "))
        beside = f"shuffled {percent(getattr(of, f'{score}_shuffled'))}"
        cells[name] = Cell.share(getattr(of, score), beside)
    return cells


def _abx(study: SystemStudy) -> dict[str, Cell]:
    cells = {}
    for key in ("within_codes", "across_codes", "within_vectors", "across_vectors"):
        where, of = key.split("_")
        error = study.abx[key].error
        beside = "" if missing(error) else "chance 50 %"
        cells[f"{of}, {where} speakers"] = Cell.share(error, beside, study.abx[key].interval)
    return cells


def _boundaries(study: SystemStudy) -> dict[str, Cell]:
    codes, even = study.boundaries.codes, study.boundaries.even
    cells = {}
    for score in ("f1", "r_value", "precision", "recall"):
        name = {"f1": "F1", "r_value": "R-value"}.get(score, score)
        interval = study.boundaries.f1_interval if score == "f1" else None
        beside = f"evenly spaced {percent(getattr(even, score))}"
        cells[name] = Cell.share(getattr(codes, score), beside, interval)
    return cells | {"too many": Cell.share(codes.over_segmentation, "0 % is as many")}


def _besides(study: SystemStudy) -> dict[str, Cell]:
    who, leak, pitch = study.speaker, study.leakage, study.pitch
    chance = f"chance {percent(who.chance)}, shuffled {percent(who.shuffled)}"
    mean = f"mean 0 %, shuffled {percent(pitch.shuffled)}"
    return {
        "speaker probe": Cell.share(who.accuracy, chance, who.interval),
        "leakage": Cell.share(leak.share, f"shuffled {percent(leak.shuffled)}"),
        "pitch R²": Cell.share(pitch.r2, mean, pitch.interval),
    }


def _codes(study: SystemStudy) -> dict[str, Cell]:
    of, system = study.phonemes.with_silence, study.system
    size, most = f"of {system.codebook_size}", f"at most {of.bit_rate_fixed:.0f}"
    return {
        "codes/s": Cell(system.frame_rate_hz, f"{system.frame_rate_hz:g}"),
        "used codes": Cell(of.used_codes, str(of.used_codes), size),
        "perplexity": Cell.number(of.perplexity, 1, size),
        "bit/s": Cell.number(of.bit_rate, 1, most),
        "bit/s, runs once": Cell.number(of.bit_rate_collapsed, 1, most),
    }


def _rate(study: SystemStudy) -> dict[str, Cell]:
    found = study.cost.figures(study.system.sample_bits)
    cells = {}
    for model in MODELS:
        bits = found[model]["bits_per_code"]
        beside = "" if missing(bits) else f"{bits:.2f} a code"
        cells[f"bit/s, {model}"] = Cell.number(found[model]["bits_per_second"], 1, beside)
    bounds = {model: of["bound_bits_per_sample"] for model, of in found.items()}
    prior = bounds.pop("prior")
    beside = ", ".join(f"{model} {fixed(of, 4)}" for model, of in bounds.items() if not missing(of))
    return cells | {"negative ELBO, bits a sample": Cell.number(prior, 4, beside)}


_TABLES: dict[str, tuple[str, Callable[[SystemStudy], dict[str, Cell]]]] = {
    "without_silence": ("Phones, without silence", partial(_phones, policy="without_silence")),
    "with_silence": ("Phones, with silence", partial(_phones, policy="with_silence")),
    "abx": ("ABX error between phones", _abx),
    "boundaries": ("Boundaries of codes and phones", _boundaries),
    "besides": ("Speakers and pitch", _besides),
    "codes": ("Codes and bits", _codes),
    "rate": ("Rate of the codes", _rate),
}
"""Titles and rows by the name of the note, a paragraph of ``analysis.txt``."""


def _fields(study: SystemStudy) -> dict[str, Any]:
    phonemes = study.phonemes
    return {
        "kind": study.system.kind,
        **_facts(study),
        "fitted_utterances": phonemes.fitted_utterances,
        "scored_utterances": phonemes.scored_utterances,
        "with_silence": asdict(phonemes.with_silence),
        "without_silence": asdict(phonemes.without_silence),
        **_apart(study),
        "sanity_checks": sanity_checks(study),
        "phone_set": list(PHONES),
        "mapping": [PHONES[phone] for phone in phonemes.mapping],
        "unmapped": phonemes.unmapped,
        "skipped": phonemes.skipped,
    }


def _facts(study: SystemStudy) -> dict[str, Any]:
    keys = ("sample_rate", "hop", "frame_rate_hz", "codebook_size")
    return {key: getattr(study.system, key) for key in keys}


def _apart(study: SystemStudy) -> dict[str, Any]:
    """Return what does not depend on the policy for silence."""
    leakage, bits = study.leakage, study.system.sample_bits
    return {
        "abx": {key: asdict(score) for key, score in study.abx.items()},
        "boundaries": asdict(study.boundaries),
        "code_cost": {"decoder_bits_per_sample": bits, **study.cost.figures(bits)},
        "speaker_probe": asdict(study.speaker),
        "speaker_leakage": {
            key: getattr(leakage, key) for key in ("information_bits", "share", "shuffled")
        },
        "pitch_probe": asdict(study.pitch),
    }


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Interval95):
            value = value._asdict()
        if isinstance(value, Mapping):
            found |= _flat({f"{key}_{inner}": of for inner, of in value.items()})
        else:
            found[key] = "" if missing(value) else value
    return found
