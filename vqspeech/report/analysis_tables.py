"""A study as tables for people and as values for programs: Markdown, CSV and JSON from one source.

Every score stands beside its baseline in the same cell, and systems stand beside one another in
rows. nan is an empty cell in CSV, null in JSON and a dash for people.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import isnan
from typing import Any

from vqspeech.analysis.material import Material
from vqspeech.analysis.study import SystemStudy, complaints
from vqspeech.labels.phones import PHONES
from vqspeech.metrics.bootstrap import Interval95
from vqspeech.metrics.rate import MODELS
from vqspeech.report.document import (
    Cell,
    Table,
    counted,
    markdown_table,
    percent,
    percent_range,
    plain,
)


def tables(studies: Sequence[SystemStudy]) -> list[Table]:
    """Lay out what was found of several systems.

    Parameters
    ----------
    studies : sequence of SystemStudy
        At least one, with different names.

    Returns
    -------
    list of Table
        Phones without and with silence, ABX, boundaries, speakers and pitch, the codes, and what they cost.
    """
    return [
        _phones(studies, "without_silence"),
        _phones(studies, "with_silence"),
        _abx(studies),
        _boundaries(studies),
        _besides(studies),
        _codes(studies),
        _cost(studies),
    ]


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
    lines = ["# Codes against phones", "", describe(material), ""]
    for study in studies:
        lines += [f"> **{text}**\n" for text in complaints(study)]
    for table in tables(studies):
        lines += markdown_table(table)
    lines += [f"- {remark}" for remark in remarks(studies)]
    return "\n".join(lines).rstrip() + "\n"


def describe(material: Material) -> str:
    """Say in words what was measured on."""
    return (
        f"Corpus: {material.corpus}, {material.sample_rate} Hz. Codes were mapped to phones on "
        f"{counted(len(material.fitted), 'utterance')} of the train split "
        f"({material.fitted_minutes:.1f} min, {counted(len(material.fitted_speakers), 'speaker')}) "
        f"and scored on {counted(len(material.scored), 'utterance')} of the test split "
        f"({material.scored_minutes:.1f} min, {counted(len(material.scored_speakers), 'speaker')}). "
        "Phones: 39 ARPAbet phones without stress, and silence; a frame has the phone at its "
        "centre. Ranges are 95 % bootstrap intervals over utterances."
    )


def remarks(studies: Sequence[SystemStudy]) -> list[str]:
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
        ``mapping`` names a phone per code, ``complaints`` says what cannot be meant. nan is null.
    """
    found = {study.system.name: plain(_fields(study)) for study in studies}
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


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
        {"system": study.system.name, "kind": study.system.kind, "silence": policy}
        | _flat(_facts(study))
        | _flat(asdict(scores))
        | _flat(_apart(study))
        for study in studies
        for policy, scores in (
            ("with", study.phonemes.with_silence),
            ("without", study.phonemes.without_silence),
        )
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _phones(studies: Sequence[SystemStudy], policy: str) -> Table:
    silence = policy.replace("_", " ")

    def cells(study: SystemStudy) -> Iterator[Cell]:
        of = study.policies[policy]
        control = f"{percent(of.shuffled)}{percent_range(of.shuffled_interval)}"
        yield Cell(
            of.map_accuracy,
            f"{percent(of.map_accuracy)}{percent_range(of.map_accuracy_interval)}",
            f"chance {percent(of.chance)}, shuffled {control}",
        )
        for score in ("pnmi", "v_measure", "phone_purity", "cluster_purity"):
            value, shuffled = getattr(of, score), getattr(of, f"{score}_shuffled")
            yield Cell(value, percent(value), f"shuffled {percent(shuffled)}")

    return Table(
        f"Phones, {silence}",
        _PHONES_NOTES[policy],
        ("map accuracy", "PNMI", "V-measure", "phone purity", "cluster purity"),
        {study.system.name: tuple(cells(study)) for study in studies},
    )


_PHONES_NOTES = {
    "without_silence": "Map accuracy: each code stands for its likeliest phone on the train split, scored on the "
    "test split. Chance: always the most frequent phone. Shuffled: codes shuffled in time "
    "within each utterance, everything fitted anew. Purities and information grow with the "
    "codebook, so compare them with the control first.",
    "with_silence": "The same over all frames, with silence as one more phone.",
}


def _abx(studies: Sequence[SystemStudy]) -> Table:
    def cell(study: SystemStudy, key: str) -> Cell:
        score = study.abx[key]
        text = f"{percent(score.error)}{percent_range(score.interval)}"
        return Cell(score.error, text, "" if isnan(score.error) else "chance 50 %")

    keys = ("within_codes", "across_codes", "within_vectors", "across_vectors")
    return Table(
        "ABX error between phones",
        "How often a phone is nearer to another phone than to its own kind, within a speaker or "
        "across speakers: less is better, 50 % is chance. Codes differ by 0 or 1; vectors are what "
        "codes were chosen for, compared by angle.",
        tuple(f"{key.split('_')[1]}, {key.split('_')[0]} speakers" for key in keys),
        {study.system.name: tuple(cell(study, key) for key in keys) for study in studies},
    )


def _boundaries(studies: Sequence[SystemStudy]) -> Table:
    def cells(study: SystemStudy) -> Iterator[Cell]:
        codes, even = study.boundaries.codes, study.boundaries.even
        for score in ("f1", "r_value", "precision", "recall"):
            value = getattr(codes, score)
            interval = percent_range(study.boundaries.f1_interval) if score == "f1" else ""
            baseline = f"evenly spaced {percent(getattr(even, score))}"
            yield Cell(value, f"{percent(value)}{interval}", baseline)
        yield Cell(codes.over_segmentation, percent(codes.over_segmentation), "0 % is as many")

    return Table(
        "Boundaries of codes and phones",
        "A change of code within 20 ms of a boundary between phones is a hit. Evenly spaced: as "
        "many boundaries without looking. Too many boundaries hit everything; the R-value punishes "
        "them, 100 % is perfect and far too many are below 0.",
        ("F1", "R-value", "precision", "recall", "too many"),
        {study.system.name: tuple(cells(study)) for study in studies},
    )


def _besides(studies: Sequence[SystemStudy]) -> Table:
    def cells(study: SystemStudy) -> Iterator[Cell]:
        who, leak, pitch = study.speaker, study.leakage, study.pitch
        yield Cell(
            who.accuracy,
            f"{percent(who.accuracy)}{percent_range(who.interval)}",
            f"chance {percent(who.chance)}, shuffled {percent(who.shuffled)}",
        )
        yield Cell(leak.share, percent(leak.share), f"shuffled {percent(leak.shuffled)}")
        yield Cell(
            pitch.r2,
            f"{percent(pitch.r2)}{percent_range(pitch.interval)}",
            f"mean 0 %, shuffled {percent(pitch.shuffled)}",
        )

    return Table(
        "Speakers and pitch",
        "What codes say besides phones. Speaker probe: a linear classifier names the speaker of a "
        "test utterance from how often it has each code. Leakage: the share of the speaker's "
        "entropy that a single code takes away. Pitch: R² of log F0 from the code of the frame, 0 "
        "for always the mean. Shuffled: speakers dealt out anew over the utterances, and for pitch "
        "codes shuffled in time. Codes that leave the speaker to the decoder are near the baselines.",
        ("speaker probe", "leakage", "pitch R²"),
        {study.system.name: tuple(cells(study)) for study in studies},
    )


def _codes(studies: Sequence[SystemStudy]) -> Table:
    def cells(study: SystemStudy) -> Iterator[Cell]:
        of, system = study.phonemes.with_silence, study.system
        yield Cell(system.frame_rate_hz, f"{system.frame_rate_hz:g}")
        for value in (of.used_codes, of.perplexity):
            yield Cell(value, _number(value), f"of {system.codebook_size}")
        most = f"at most {of.bit_rate_fixed:.0f}"
        yield Cell(of.bit_rate, _number(of.bit_rate), most)
        yield Cell(of.bit_rate_collapsed, _number(of.bit_rate_collapsed), most)

    return Table(
        "Codes and bits",
        "On the scored frames, with silence. Perplexity is the number of codes that, used evenly, "
        "would say as much. Bit rates: at the entropy of the codes, and with runs of equal codes "
        "sent once; at most log2 K bits a code.",
        ("codes/s", "used codes", "perplexity", "bit/s", "bit/s, runs once"),
        {study.system.name: tuple(cells(study)) for study in studies},
    )


def _cost(studies: Sequence[SystemStudy]) -> Table:
    def cells(study: SystemStudy) -> Iterator[Cell]:
        cost = study.cost
        for model in MODELS:
            code, second = cost.bits(model), cost.bits_per_second(model)
            yield Cell(second, _number(second), "" if isnan(code) else f"{code:.2f} a code")
        bounds = {
            model: of["bound_bits_per_sample"]
            for model, of in cost.figures(study.system.sample_bits).items()
        }
        prior = bounds.pop("prior")
        beside = ", ".join(f"{model} {of:.4f}" for model, of in bounds.items() if not isnan(of))
        yield Cell(prior, "-" if isnan(prior) else f"{prior:.4f}", beside)

    return Table(
        "What codes cost",
        "Bits a second under models of codes that know more and more: nothing; how often each code comes, counted on "
        "the train split; what follows what, counted there too; a learned prior, where the model has one. Bound: bits "
        "a sample of recording and codes together, under the prior beside the others; the decoder's share is what the "
        "model's file says of held-out recordings.",
        (*(f"bit/s, {model}" for model in MODELS), "bound, bits a sample"),
        {study.system.name: tuple(cells(study)) for study in studies},
    )


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
        "complaints": complaints(study),
        "phone_set": list(PHONES),
        "mapping": [PHONES[phone] for phone in phonemes.mapping],
        "unmapped": phonemes.unmapped,
        "skipped": phonemes.skipped,
    }


def _facts(study: SystemStudy) -> dict[str, Any]:
    system = study.system
    return {
        "sample_rate": system.sample_rate,
        "hop": system.hop,
        "frame_rate_hz": system.frame_rate_hz,
        "codebook_size": system.codebook_size,
    }


def _apart(study: SystemStudy) -> dict[str, Any]:
    """Return what does not depend on the policy for silence."""
    return {
        "abx": {key: asdict(score) for key, score in study.abx.items()},
        "boundaries": asdict(study.boundaries),
        "code_cost": {
            "decoder_bits_per_sample": study.system.sample_bits,
            **study.cost.figures(study.system.sample_bits),
        },
        "speaker_probe": asdict(study.speaker),
        "speaker_leakage": {
            "information_bits": study.leakage.information_bits,
            "share": study.leakage.share,
            "shuffled": study.leakage.shuffled,
        },
        "pitch_probe": asdict(study.pitch),
    }


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Interval95):
            found |= _flat({f"{key}_low": value.low, f"{key}_high": value.high})
        elif isinstance(value, Mapping):
            found |= _flat({f"{key}_{inner}": of for inner, of in value.items()})
        else:
            found[key] = "" if isinstance(value, float) and isnan(value) else value
    return found


def _number(value: float) -> str:
    if isnan(value):
        return "-"
    return f"{value}" if isinstance(value, int) else f"{value:.1f}"
