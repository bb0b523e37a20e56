"""An evaluation for people and for programs: Markdown, a page to read and to listen to, and JSON from one source."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log, log2, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqspeech.evaluation.figures import Figures
from vqspeech.evaluation.judges import DISTORTION, JUDGES, PITCH, QUALITY, SPEAKERS, WORDS
from vqspeech.evaluation.judging import ROWS, TOGETHER, Group, Judged
from vqspeech.evaluation.study import Evaluation
from vqspeech.evaluation.trials import CONVERSION, LEAST_CENTROID_S, RECONSTRUCTION
from vqspeech.metrics.contour_rate import SYMBOLS, SYMBOLS_PER_S
from vqspeech.report.document import (
    NOTHING,
    TEMPLATES,
    Cell,
    Headline,
    Table,
    counted,
    fixed,
    json_text,
    markdown_table,
    missing,
    paragraph,
    percent,
)
from vqspeech.training.validate import HeldOut

EXCERPT_S = 6.0
"""How much of a recording is on the page: whole ones of long utterances would make it too large to open."""

CODE_MODELS = {
    "uniform": "uniform",
    "unigram": "unigram",
    "bigram": "bigram",
    "prior": "learned prior",
}

CONTOUR_MODELS = ("uniform", "unigram", "bigram")
"""Models of the symbols of a contour."""

_ROW_NAMES = {
    "source": "source untouched",
    "real": "real target",
    "mulaw": "µ-law round trip of the source",
    "made": "converted",
}


class Recording(NamedTuple):
    """One player of an example, with its figures below."""

    name: str
    wav: NDArray[np.float32]
    figures: Figures


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

    @property
    def title(self) -> str:
        """What was made, of whom and of which utterance."""
        of = self.judged.trial
        who = of.source if of.source == of.target else f"{of.source} → {of.target}"
        return f"{of.kind}: {who}, {self.judged.utterance}"

    def recordings(self) -> Iterator[Recording]:
        """Name the recordings for people."""
        for row, wav in self.wavs.items():
            name = _row_name(row, self.judged.trial.kind)
            yield Recording(name, wav, self.judged.figures[row])


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
    laid = [likelihood_table(found.likelihood)] if found.likelihood is not None else []
    if found.codes is not None:
        laid.append(_rate(found))
    if found.contour is not None:
        laid.append(_contour_rate(found))
    laid += [_group(found, group) for group in found.groups]
    return [*laid, _phones(found)] if found.phones else laid


def headlines(found: Evaluation) -> list[Headline]:
    """Choose the figures that the page opens with.

    Parameters
    ----------
    found : Evaluation
        What was found.

    Returns
    -------
    list of Headline
        Words, voice and quality of all conversions, of reconstructions where there are none, each beside the
        untouched source, and the rate of the codes; what was not measured is left out.
    """
    groups = sorted(found.groups, key=lambda of: (of.kind != CONVERSION, of.name != TOGETHER))
    laid = []
    for group in groups[:1]:
        made, source = group.rows["made"], group.rows["source"]
        what = "conversions" if group.kind == CONVERSION else f"{group.kind}s"
        if not missing(made.word_error):
            beside = f"recordings {percent(source.word_error)}"
            laid.append(Headline(f"word error rate, {what}", percent(made.word_error), beside))
        if not missing(made.nearest_is_target):
            chance = 1 / len(found.plan.references) if found.plan.references else nan
            text = percent(made.nearest_is_target)
            laid.append(Headline("target is the nearest voice", text, f"chance {percent(chance)}"))
        if not missing(made.overall):
            beside = f"recordings {fixed(source.overall, 2)}, best 5"
            laid.append(Headline(f"DNSMOS, {what}", fixed(made.overall, 2), beside))
    if found.codes is not None:
        model = "unigram" if missing(found.codes.prior) else "prior"
        bits, most = (found.codes.bits_per_second(of) for of in (model, "uniform"))
        name = "rate of the codes" if model == "unigram" else "rate under the prior"
        laid.append(Headline(name, f"{bits:.0f} bit/s", f"at most {most:.0f} bit/s"))
    return laid


def to_markdown(found: Evaluation) -> str:
    """Write an evaluation as Markdown: what was measured, all tables, remarks."""
    lines = ["# Evaluation of the model", "", _lead(found), ""]
    for table in tables(found):
        lines += markdown_table(table)
    lines += [f"- {remark}" for remark in found.remarks]
    return "\n".join(lines).rstrip() + "\n"


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
    return TEMPLATES.get_template("evaluation.html").render(
        headlines={found.model["name"]: headlines(found)},
        lead=_lead(found),
        remarks=found.remarks,
        tables=tables(found),
        baselines={*_ROW_NAMES.values(), *CODE_MODELS.values()}
        - {_ROW_NAMES["made"], CODE_MODELS["prior"]},
        examples=examples,
        in_words=in_words,
        sample_rate=found.sample_rate,
        excerpt_s=EXCERPT_S,
    )


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
    plan, bits = found.plan, _decoder_bits(found)
    content = {
        "model": found.model,
        "corpus": found.corpus,
        "sample_rate": found.sample_rate,
        "split": plan.split,
        "sampling": found.sampling,
        "judges": found.measured,
        "centroids": {"speakers": sorted(plan.references), "left_out": plan.short},
        "likelihood": found.likelihood and asdict(found.likelihood),
        "codes": found.codes
        and {
            "codes": found.codes.codes,
            "hop": found.codes.hop,
            "decoder_bits_per_sample": bits,
            **found.codes.figures(bits),
        },
        "contour": found.contour
        and {
            "symbols": found.contour.symbols,
            **{
                model: {
                    "bits_per_symbol": getattr(found.contour, model),
                    "bits_per_second": found.contour.bits_per_second(model),
                }
                for model in CONTOUR_MODELS
            },
        },
        "groups": [
            {"kind": of.kind, "group": of.name, "rows": _fields(of.rows)} for of in found.groups
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
                "rows": _fields(of.figures),
            }
            for of in found.trials
        ],
        "remarks": found.remarks,
    }
    return json_text(content, indent=1)


def likelihood_table(of: HeldOut) -> Table:
    """Lay out the likelihood of a held-out split and the use of the codebook, each beside its baselines."""
    rows = {}
    given = {}
    if of.contour_nats is not None:
        given["model, given the contour"] = of.contour_nats / log(2)
        if of.contour_cost_nats is not None:
            both = of.contour_nats + of.contour_cost_nats
            given["model, contour and samples"] = both / log(2)
    for name, bits in {
        "model": of.bits_per_sample,
        **given,
        "codes shuffled in time": of.shuffled_bits,
        "unigram of the levels": of.unigram_bits,
        "uniform": of.uniform_bits,
    }.items():
        lost = (bits - of.bits_per_sample) * log(2)
        used = perplexity = NOTHING
        if name == "model" and of.used_codes is not None and of.perplexity is not None:
            used = Cell(of.used_codes, str(of.used_codes), f"of {of.codebook_size}")
            perplexity = Cell.number(of.perplexity, 1, f"at most {of.codebook_size}")
        rows[name] = {
            "nats a sample": Cell.number(bits * log(2), 3),
            "bits a sample": Cell.number(bits, 3),
            "nats above the model": Cell(lost, "-" if name == "model" else f"{lost:+.3f}"),
            "codes used": used,
            "perplexity": perplexity,
        }
    return Table(
        "Likelihood and codes",
        paragraph("evaluation.txt", "likelihood", of),
        rows,
        head="predicted by",
    )


def _lead(found: Evaluation) -> str:
    """Say in words what was measured, on what and how."""
    return paragraph("evaluation.txt", "lead", found, LEAST_CENTROID_S)


def _row_name(row: str, kind: str) -> str:
    """Name one of `ROWS` for people."""
    return "reconstruction" if (row, kind) == ("made", RECONSTRUCTION) else _ROW_NAMES[row]


def in_words(of: Figures) -> str:
    """Name what was measured of one recording."""
    found = [f"word error rate {percent(of.edits / of.words)}"] if of.words else []
    if of.nearest:
        found.append(f"nearest {of.nearest}")
    for value, text in (
        (of.to_target, "to target {:.2f}"),
        (of.f0_hz, "F0 {:.0f} Hz"),
        (of.strength, "voicing {:.2f}"),
        (of.overall, "DNSMOS {:.1f}"),
        (of.mcd_db, "distortion {:.1f} dB"),
    ):
        if not missing(value):
            found.append(text.format(value))
    return ", ".join(found)


def _fields(rows: Mapping[str, Any]) -> dict[str, Any]:
    return {row: asdict(of) for row, of in rows.items()}


def _decoder_bits(found: Evaluation) -> float:
    return nan if found.likelihood is None else found.likelihood.bits_per_sample


def _rate(found: Evaluation) -> Table:
    of = found.codes
    assert of is not None
    figures = of.figures(_decoder_bits(found))
    if missing(of.prior):
        del figures["prior"]
    return Table(
        "Rate of the codes, and negative ELBO",
        paragraph("evaluation.txt", "rate", of.codes),
        {
            CODE_MODELS[model]: {
                "bits a code": Cell.number(row["bits_per_code"], 3),
                "bit/s": Cell.number(row["bits_per_second"], 1),
                "bits a sample, codes": Cell.number(row["bits_per_sample"], 4),
                "bits a sample, negative ELBO": Cell.number(row["bound_bits_per_sample"], 4),
            }
            for model, row in figures.items()
        },
        head="model of codes",
    )


def _contour_rate(found: Evaluation) -> Table:
    assert found.contour is not None
    rows = {}
    for model in CONTOUR_MODELS:
        contour = found.contour.bits_per_second(model)
        codes = nan if found.codes is None else found.codes.bits_per_second(model)
        rows[CODE_MODELS[model]] = {
            "codes alone, bit/s": Cell.number(codes, 1),
            "contour, bit/s": Cell.number(contour, 1),
            "codes with contour, bit/s": Cell.number(codes + contour, 1),
        }
    return Table(
        "Rate of codes, and of the contour of a source",
        paragraph("evaluation.txt", "contour", SYMBOLS_PER_S, SYMBOLS),
        rows,
        head="model of both",
    )


def _group(found: Evaluation, group: Group) -> Table:
    leads = next(of for of in found.groups if of.kind == group.kind) is group
    notes = [group.kind.replace(" ", "_")] if leads else []
    if group is found.groups[0]:
        notes += [judge for judge in JUDGES if judge in found.measured]
    note = " ".join(paragraph("evaluation.txt", name) for name in notes)
    title = group.kind.capitalize()
    if group.name != TOGETHER or not leads:
        title += f": {group.name}"
    there = [row for row in ROWS if group.rows[row].recordings]
    rows = {_row_name(row, group.kind): _cells(found, group, row) for row in there}
    return Table(title, note, rows, head="recording")


def _cells(found: Evaluation, group: Group, row: str) -> dict[str, Cell]:
    of = group.rows[row]
    cells = {"number": Cell(of.recordings, str(of.recordings))}
    if SPEAKERS in found.measured:
        cells["to target"] = Cell.number(of.to_target, 3)
        if group.kind != RECONSTRUCTION:
            # Beside many sources stands one real recording, and none of them is its own.
            own = not (group.kind == CONVERSION and row == "real")
            cells["to source"] = Cell.number(of.to_source, 3) if own else NOTHING
        chance = 1 / len(found.plan.references) if found.plan.references else nan
        beside = f"chance {percent(chance)}" if row == "made" else ""
        nearest = Cell.share(of.nearest_is_target, beside, of.nearest_interval)
        cells["nearest is target"] = nearest
    if WORDS in found.measured:
        words = f"of {counted(of.words, 'word')}" if of.words else ""
        cells["word error rate"] = Cell.share(of.word_error, words, of.word_error_interval)
    if PITCH in found.measured:
        silent = of.recordings - of.pitched
        beside = f"none in {silent} of {of.recordings}" if silent else ""
        f0 = "-" if missing(of.f0_hz) else f"{of.f0_hz:.0f} Hz"
        cells |= {
            "F0": Cell(of.f0_hz, f0, beside),
            "F0 from target, semitones": Cell.number(of.semitones, 1),
            "unvoiced": Cell.share(of.unvoiced),
            "spread from target, semitones": Cell.number(of.spread, 1),
            "voicing": Cell.number(of.strength, 2),
            "jitter": Cell.share(of.jitter),
            "harmonics to noise, dB": Cell.number(of.hnr_db, 1),
            "F0 with source": Cell.number(of.f0_correlation, 2),
        }
    if QUALITY in found.measured:
        cells["DNSMOS"] = Cell.number(of.overall, 2)
        cells["signal"] = Cell.number(of.signal, 2)
        cells["background"] = Cell.number(of.background, 2)
    if DISTORTION in found.measured and group.kind != CONVERSION:
        cells["distortion, dB"] = Cell.number(of.mcd_db, 2)
    return cells


def _phones(found: Evaluation) -> Table:
    def accuracy(of: Any) -> Cell:
        chance = f"chance {percent(of.chance)}, shuffled {percent(of.shuffled)}"
        return Cell.share(of.map_accuracy, chance, of.map_accuracy_interval)

    return Table(
        "Phones",
        paragraph("evaluation.txt", "phones"),
        {
            name: {
                "codes/s": Cell(study.frame_rate_hz, f"{study.frame_rate_hz:g}"),
                "codes": Cell(log2(study.codebook_size), str(study.codebook_size)),
                "without silence": accuracy(study.without_silence),
                "with silence": accuracy(study.with_silence),
            }
            for name, study in found.phones.items()
        },
    )
