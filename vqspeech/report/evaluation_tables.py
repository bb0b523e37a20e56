"""An evaluation as tables for people and as values for programs: Markdown and JSON from one source."""

import json
from dataclasses import asdict
from math import isnan, log, log2, nan
from typing import Any

from vqspeech.evaluation.judges import DISTORTION, JUDGES, PITCH, QUALITY, SPEAKERS, WORDS
from vqspeech.evaluation.judging import ROWS, TOGETHER, Group
from vqspeech.evaluation.study import Evaluation
from vqspeech.evaluation.trials import CONVERSION, LEAST_CENTROID_S, PARALLEL, RECONSTRUCTION
from vqspeech.metrics.contour_rate import SYMBOLS, SYMBOLS_PER_S, ContourCost
from vqspeech.metrics.rate import CodeCost
from vqspeech.report.document import (
    Cell,
    Table,
    counted,
    markdown_table,
    percent,
    percent_range,
    plain,
)

ROW_NAMES = {
    "source": "source untouched",
    "real": "real target",
    "mulaw": "µ-law round trip of the source",
    "made": "converted",
}

CODE_MODELS = {
    "uniform": "uniform",
    "unigram": "unigram",
    "bigram": "bigram",
    "prior": "learned prior",
}

CONTOUR_MODELS = ("uniform", "unigram", "bigram")
"""Models of the symbols of a contour."""

_MADE = {RECONSTRUCTION: "reconstruction"}
_NOTES = {
    RECONSTRUCTION: "Codes of an utterance decoded with its own speaker. Real target: another recording of "
    "that speaker. Distortion is to the source.",
    PARALLEL: "Codes of an utterance decoded with another speaker who read the same sentence. Real target: "
    "that reading, which distortion is to.",
    CONVERSION: "Codes of anyone's utterance, speakers that the model does not know among them, decoded with the "
    "target. Real target: another sentence by the target.",
}
_READING = {
    SPEAKERS: "To target, to source: cosine of d-vectors to the speaker's centroid. Nearest: how often the target "
    "has the nearest centroid of all speakers.",
    WORDS: "Word error: edits over words of the texts, case, punctuation, contractions and numerals made alike; "
    "above 100 % more is heard than was said.",
    PITCH: "F0: median over recordings. From target: median distance to the target's median, in semitones. "
    "Unvoiced: share of the audible frames. Spread from target: distance of the deviation of F0 to the target's, in "
    "semitones. Voicing: mean over audible frames of the autocorrelation one period on, 0 where there is none. Jitter: "
    "mean difference of consecutive periods over the mean period. F0 with source: correlation of the logarithms.",
    QUALITY: "DNSMOS: 1 (bad) to 5.",
    DISTORTION: "Mel-cepstral distortion: 24 cepstra of log mel spectra without c0, after warping, frames within "
    "40 dB of the loudest.",
}


def row_name(row: str, kind: str) -> str:
    """Name one of `ROWS` for people."""
    return _MADE.get(kind, ROW_NAMES[row]) if row == "made" else ROW_NAMES[row]


def describe(found: Evaluation) -> str:
    """Say in words what was measured, on what and how."""
    model, plan = found.model, found.plan
    drawn = ", ".join(f"{key} {value}" for key, value in found.sampling.items())
    told = (
        f"{model['frame_rate_hz']:g} codes/s, {model['codebook_size']} different codes"
        if model["codebook_size"]
        else f"{model['frame_rate_hz']:g} latents/s without codes"
    )
    text = (
        f"Model {model['name']}: {model['parameters']:,} parameters, {told}, "
        f"{counted(len(model['speakers']), 'speaker')}. "  # type: ignore[arg-type]
        f"Corpus: {found.corpus}, {found.sample_rate} Hz, {plan.split} split. Sampling: {drawn}. "
    )
    if found.took_s:
        text += (
            f"{found.sound_s:.0f} s of sound were made in {found.took_s:.0f} s: "
            f"{found.sound_s / found.took_s:.2f} times real time, "
            f"{counted(len(plan.trials), 'recording')} together. "
        )
    if SPEAKERS in found.measured:
        text += f"Voices are held against those of {counted(len(plan.references), 'speaker')}"
        if plan.short:
            text += f"; {len(plan.short)} more with less than {LEAST_CENTROID_S:g} s of train recordings are left out"
        text += ". "
    named = [f"{judge} by {name}" for judge, name in found.measured.items() if name]
    if named:
        text += f"Judged: {', '.join(named)}. "
    return text + "Ranges are 95 % bootstrap intervals over utterances."


def tables(found: Evaluation) -> list[Table]:
    """Lay out what was found.

    Parameters
    ----------
    found : Evaluation
        What was found.

    Returns
    -------
    list of Table
        Likelihood, codes, each group of reconstructions and conversions, phones; what was not measured has none.
    """
    laid = [_likelihood(found)] if found.likelihood is not None else []
    if found.codes is not None:
        laid.append(_code_cost(found, found.codes))
    if found.contour is not None:
        laid.append(_contour_cost(found, found.contour))
    first = True
    for group in found.groups:
        laid.append(_group(found, group, with_reading=first))
        first = False
    if found.phones:
        laid.append(_phones(found))
    return laid


def to_markdown(found: Evaluation) -> str:
    """Write an evaluation as Markdown: what was measured, all tables, remarks."""
    lines = ["# How the model speaks", "", describe(found), ""]
    for table in tables(found):
        lines += markdown_table(table)
    lines += [f"- {remark}" for remark in found.remarks]
    return "\n".join(lines).rstrip() + "\n"


def to_json(found: Evaluation) -> str:
    """Write an evaluation as JSON.

    Parameters
    ----------
    found : Evaluation
        What was found.

    Returns
    -------
    str
        One object. ``groups`` holds the fields of `Summary` by row, ``utterances`` the fields of
        `Figures` by row with text and speakers; rows are ``source``, ``real``, ``mulaw`` and
        ``made``. nan is null.
    """
    plan = found.plan
    content = {
        "model": dict(found.model),
        "corpus": found.corpus,
        "sample_rate": found.sample_rate,
        "split": plan.split,
        "sampling": dict(found.sampling),
        "judges": dict(found.measured),
        "centroids": {"speakers": sorted(plan.references), "left_out": list(plan.short)},
        "likelihood": asdict(found.likelihood) if found.likelihood is not None else None,
        "codes": _codes(found),
        "contour": _contour(found),
        "groups": [
            {
                "kind": of.kind,
                "group": of.name,
                "rows": {row: asdict(summary) for row, summary in of.rows.items()},
            }
            for of in found.groups
        ],
        "phones": {
            name: {
                "codebook_size": study.codebook_size,
                "frame_rate_hz": study.frame_rate_hz,
                "with_silence": asdict(study.with_silence),
                "without_silence": asdict(study.without_silence),
            }
            for name, study in found.phones.items()
        },
        "speed": {"sound_s": found.sound_s, "took_s": found.took_s},
        "utterances": [
            {
                "kind": of.trial.kind,
                "group": of.trial.group,
                "utterance": of.utterance,
                "source": of.trial.source,
                "target": of.trial.target,
                "text": of.text,
                "real_text": of.real_text,
                "rows": {row: asdict(figures) for row, figures in of.figures.items()},
            }
            for of in found.trials
        ],
        "remarks": list(found.remarks),
    }
    return json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _likelihood(found: Evaluation) -> Table:
    of = found.likelihood
    assert of is not None
    bits = {
        "model": of.bits_per_sample,
        "codes shuffled in time": of.shuffled_bits,
        "unigram of the levels": of.unigram_bits,
        "uniform": of.uniform_bits,
    }
    rows = {}
    for name, value in bits.items():
        lost = (value - of.bits_per_sample) * log(2)
        cells = [
            Cell(value * log(2), f"{value * log(2):.3f}"),
            Cell(value, f"{value:.3f}"),
            Cell(lost, "-" if name == "model" else f"{lost:+.3f}"),
        ]
        if name == "model" and of.used_codes is not None and of.perplexity is not None:
            cells += [
                Cell(of.used_codes, str(of.used_codes), f"of {of.codebook_size}"),
                Cell(of.perplexity, f"{of.perplexity:.1f}", f"at most {of.codebook_size}"),
            ]
        else:
            cells += [Cell(nan, "-")] * 2
        rows[name] = tuple(cells)
    return Table(
        "Likelihood and codes",
        f"Minus the log-likelihood of a sample given codes, speaker and the samples before it, on "
        f"{counted(of.utterances, 'utterance')} ({of.seconds:.0f} s) of known speakers. What is lost when the codes "
        f"are shuffled in time is what the decoder takes from them. Perplexity: as many codes, used evenly, would "
        f"say as much.",
        ("nats a sample", "bits a sample", "nats above the model", "codes used", "perplexity"),
        rows,
        head="predicted by",
    )


def _codes(found: Evaluation) -> dict[str, Any] | None:
    of = found.codes
    if of is None:
        return None
    bits = nan if found.likelihood is None else found.likelihood.bits_per_sample
    return {"codes": of.codes, "hop": of.hop, "decoder_bits_per_sample": bits, **of.figures(bits)}


def _contour(found: Evaluation) -> dict[str, Any] | None:
    of = found.contour
    if of is None:
        return None
    return {
        "symbols": of.symbols,
        **{
            model: {
                "bits_per_symbol": getattr(of, model),
                "bits_per_second": of.bits_per_second(model),
            }
            for model in CONTOUR_MODELS
        },
    }


def _contour_cost(found: Evaluation, of: ContourCost) -> Table:
    codes, rows = found.codes, {}
    for model in CONTOUR_MODELS:
        contour = of.bits_per_second(model)
        alone = nan if codes is None else codes.bits_per_second(model)
        rows[CODE_MODELS[model]] = tuple(_number(x, 1) for x in (alone, contour, alone + contour))
    return Table(
        "Rate of codes, and of the contour of a source",
        f"Codes alone are decoded with the contour that they suggest. A conversion that follows its source is of more "
        f"than codes: here is what its contour would take, sent {SYMBOLS_PER_S} times a second as unvoiced or F0 in "
        f"half semitones, {SYMBOLS} different symbols, under models fitted on the train split.",
        ("codes alone, bit/s", "contour, bit/s", "codes with contour, bit/s"),
        rows,
        head="model of both",
    )


def _code_cost(found: Evaluation, of: CodeCost) -> Table:
    bits = nan if found.likelihood is None else found.likelihood.bits_per_sample
    figures = of.figures(bits)
    if isnan(of.prior):
        del figures["prior"]
    return Table(
        "What codes cost, and the bound",
        f"Of {counted(of.codes, 'code')} under models that know more and more: nothing; how often each code comes, "
        "counted on the train split; what follows what, counted there too; and, where the model has one, a learned "
        "prior, which knows all codes before. The bound is on the likelihood of recording and codes together: bits a "
        "sample of the decoder and of the codes.",
        ("bits a code", "bit/s", "bits a sample, codes", "bits a sample, bound"),
        {
            CODE_MODELS[model]: tuple(
                Cell(value, "-" if isnan(value) else f"{value:.{digits}f}")
                for value, digits in zip(row.values(), (3, 1, 4, 4), strict=True)
            )
            for model, row in figures.items()
        },
        head="model of codes",
    )


def _group(found: Evaluation, group: Group, *, with_reading: bool) -> Table:
    reading = " ".join(_READING[judge] for judge in JUDGES if judge in found.measured)
    note = _NOTES[group.kind] if _leads(found, group) else ""
    if with_reading:
        note = f"{note} {reading}"
    title = group.kind.capitalize()
    if group.name != TOGETHER or not _leads(found, group):
        title += f": {group.name}"
    columns: dict[str, None] = {}
    rows = {}
    for row in ROWS:
        if not group.rows[row].recordings:
            continue
        cells = _cells(found, group, row)
        columns |= dict.fromkeys(cells)
        rows[row_name(row, group.kind)] = tuple(cells.values())
    return Table(title, note, tuple(columns), rows, head="recording")


def _leads(found: Evaluation, group: Group) -> bool:
    """Tell whether a group is the first of its kind."""
    return next(of for of in found.groups if of.kind == group.kind) is group


def _cells(found: Evaluation, group: Group, row: str) -> dict[str, Cell]:
    of = group.rows[row]
    cells = {"number": Cell(of.recordings, str(of.recordings))}
    if SPEAKERS in found.measured:
        cells["to target"] = _number(of.to_target, 3)
        if group.kind != RECONSTRUCTION:
            # Beside many sources stands one real recording, and none of them is its own.
            own = not (group.kind == CONVERSION and row == "real")
            cells["to source"] = _number(of.to_source if own else nan, 3)
        share = f"{percent(of.nearest_is_target)}{percent_range(of.nearest_interval)}"
        chance = 1 / len(found.plan.references) if found.plan.references else nan
        beside = f"chance {percent(chance)}" if row == "made" else ""
        cells["nearest is target"] = Cell(of.nearest_is_target, share, beside)
    if WORDS in found.measured:
        error = f"{percent(of.word_error)}{percent_range(of.word_error_interval)}"
        words = f"of {counted(of.words, 'word')}" if of.words else ""
        cells["word error"] = Cell(of.word_error, error, words)
    if PITCH in found.measured:
        silent = of.recordings - of.pitched
        beside = f"none in {silent} of {of.recordings}" if silent else ""
        f0 = "-" if isnan(of.f0_hz) else f"{of.f0_hz:.0f} Hz"
        cells["F0"] = Cell(of.f0_hz, f0, beside)
        cells["F0 from target, semitones"] = _number(of.semitones, 1)
        cells["unvoiced"] = Cell(of.unvoiced, percent(of.unvoiced))
        cells["spread from target, semitones"] = _number(of.spread, 1)
        cells["voicing"] = _number(of.strength, 2)
        cells["jitter"] = Cell(of.jitter, percent(of.jitter))
        cells["harmonics to noise, dB"] = _number(of.hnr_db, 1)
        cells["F0 with source"] = _number(of.f0_correlation, 2)
    if QUALITY in found.measured:
        cells["DNSMOS"] = _number(of.overall, 2)
        cells["signal"] = _number(of.signal, 2)
        cells["background"] = _number(of.background, 2)
    if DISTORTION in found.measured and group.kind != CONVERSION:
        cells["distortion, dB"] = _number(of.mcd_db, 2)
    return cells


def _phones(found: Evaluation) -> Table:
    def cell(of: Any) -> Cell:
        return Cell(
            of.map_accuracy,
            f"{percent(of.map_accuracy)}{percent_range(of.map_accuracy_interval)}",
            f"chance {percent(of.chance)}, shuffled {percent(of.shuffled)}",
        )

    return Table(
        "Phones",
        "Map accuracy on the test split: each code stands for its likeliest phone on the train split. Chance: always "
        "the most frequent phone. Shuffled: codes shuffled in time within each utterance, everything fitted anew.",
        ("codes/s", "codes", "without silence", "with silence"),
        {
            name: (
                Cell(study.frame_rate_hz, f"{study.frame_rate_hz:g}"),
                Cell(log2(study.codebook_size), str(study.codebook_size)),
                cell(study.without_silence),
                cell(study.with_silence),
            )
            for name, study in found.phones.items()
        },
    )


def _number(value: float, digits: int) -> Cell:
    return Cell(value, "-" if isnan(value) else f"{value:.{digits}f}")
