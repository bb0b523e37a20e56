"""One page, one table and one plot of runs that differ in their bottleneck alone, each figure beside its baseline."""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import FileSystemLoader

from vqspeech.errors import VqspeechError, exit_status
from vqspeech.jobs.atomic import write_file
from vqspeech.models.checkpoint import read_header
from vqspeech.models.config import BOTTLENECKS
from vqspeech.report.document import TEMPLATES, fixed, markdown, percent, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IGNORED_BITS = 0.01
"""Bits a sample below which what shuffled latents cost counts as nothing: the decoder does without them."""

PAGE = TEMPLATES.overlay(loader=FileSystemLoader(Path(__file__).parent)).get_template(
    "bottlenecks.md.in"
)

COLOURS = {kind: f"C{number}" for number, kind in enumerate(BOTTLENECKS)}


@dataclass(frozen=True)
class Row:
    """What was found of a run; bits are of the held-out test split, None is what a kind has not.

    Attributes
    ----------
    name, kind : str
        Of the run and of its bottleneck.
    steps : int
        Steps of training, the warm start among them.
    training_s : float
        Seconds in them.
    bits, shuffled_bits : float
        Bits a sample, in evaluation mode; and with codes or latents shuffled in time.
    bits_with_rate : float or None
        Bits a sample, and beside them what the latents cost: log2 K a code, or the divergence from the prior.
    uniform_rate, entropy_rate : float or None
        Bits a second of codes, at log2 K each and at their entropy.
    kl_rate : float or None
        Bits a second of divergence from the prior.
    used_codes, codebook_size : int or None
        Codes seen in the split, and there are.
    phones, speakers : mapping
        From ``probe_latents.py``; phones None without labels.
    """

    name: str
    kind: str
    steps: int
    training_s: float
    bits: float
    shuffled_bits: float
    bits_with_rate: float | None
    uniform_rate: float | None
    entropy_rate: float | None
    kl_rate: float | None
    used_codes: int | None
    codebook_size: int | None
    phones: Mapping[str, Any] | None
    speakers: Mapping[str, Any]

    @property
    def gap(self) -> float:
        """Bits a sample that the decoder takes from the order of its latents."""
        return self.shuffled_bits - self.bits

    @property
    def ignores_latents(self) -> bool:
        """Whether what shuffled latents cost counts as nothing."""
        return self.gap < IGNORED_BITS


def read_run(folder: Path) -> Row:
    """Read what training and probes left in the folder of a run.

    Raises
    ------
    VqspeechError
        A file is missing or damaged.
    """
    metrics, probed = _load_json(folder / "metrics.json"), _load_json(folder / "probes.json")
    training = read_header(folder / "model.safetensors")["training"]
    rate_hz, size, kl = probed["frame_rate_hz"], metrics["codebook_size"], metrics["kl_bits"]
    bits = metrics["bits_per_sample"]
    return Row(
        name=folder.name,
        kind=probed["kind"],
        steps=metrics["steps"],
        training_s=training["seconds"],
        bits=bits,
        shuffled_bits=metrics["shuffled_bits"],
        bits_with_rate=None if kl is None else bits + kl / probed["hop"],
        uniform_rate=None if size is None else rate_hz * math.log2(size),
        entropy_rate=None if size is None else rate_hz * math.log2(metrics["perplexity"]),
        kl_rate=None if kl is None else rate_hz * kl,
        used_codes=metrics["used_codes"],
        codebook_size=size,
        phones=probed["phones"],
        speakers=probed["speakers"],
    )


def _load_json(path: Path) -> Any:
    """Read a JSON file of a run."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VqspeechError(f"{path}: {error}; remove it and run bottlenecks.sh again") from None


def compose(
    name: str, rows: Sequence[Row], metrics: Mapping[str, Any], mfcc: Mapping[str, Any]
) -> str:
    """Write the page.

    Parameters
    ----------
    name : str
        What the comparison is called.
    rows : sequence of Row
        The runs.
    metrics : mapping
        ``metrics.json`` of one of them, for the split and its baselines, which all share.
    mfcc : mapping
        Probes of MFCC.

    Returns
    -------
    str
        Markdown.
    """
    few, many = min(row.steps for row in rows), max(row.steps for row in rows)
    return PAGE.render(
        name=name,
        rows=rows,
        steps=f"{few:,}" if few == many else f"{few:,} to {many:,}",
        metrics=metrics,
        table=markdown(_HEAD, [*map(_cells, rows), *_baselines(rows[0], metrics, mfcc)]),
    )


_HEAD = (
    *("bottleneck", "bits a sample", "shuffled", "gap", "with the rate"),
    *("log2 K, bit/s", "entropy, bit/s", "KL, bit/s", "codes used"),
    *("phones, map", "phones, probe", "speaker, means", "speaker, codes", "training, s"),
)


def _cells(row: Row) -> tuple[str, ...]:
    phones, speakers = row.phones or {}, row.speakers
    return (
        row.name,
        f"{row.bits:.3f}",
        f"{row.shuffled_bits:.3f}",
        f"{row.gap:+.3f}",
        fixed(row.bits_with_rate, 3),
        *(fixed(rate, 0) for rate in (row.uniform_rate, row.entropy_rate, row.kl_rate)),
        "-" if row.used_codes is None else f"{row.used_codes} of {row.codebook_size}",
        _interval(phones.get("map"), "map_accuracy"),
        _interval(phones.get("probe"), "accuracy"),
        percent(speakers["means"]["accuracy"]),
        percent(speakers.get("histograms", {}).get("accuracy")),
        f"{row.training_s:.0f}",
    )


def _baselines(
    row: Row, metrics: Mapping[str, Any], mfcc: Mapping[str, Any]
) -> list[tuple[str, ...]]:
    """Rows of the baselines: levels alone, chance, and MFCC."""
    phones = percent(row.phones["probe"]["chance"] if row.phones else None)
    speakers = percent(row.speakers["means"]["chance"])
    own = _interval((mfcc["phones"] or {}).get("probe"), "accuracy")
    nothing = ("-",) * 7
    return [
        ("levels alone", f"{metrics['unigram_bits']:.3f}", *nothing, *("-",) * 5),
        (
            "chance",
            f"{metrics['uniform_bits']:.3f}",
            *nothing,
            phones,
            phones,
            speakers,
            speakers,
            "-",
        ),
        ("MFCC", "-", *nothing, "-", own, "-", "-", "-"),
    ]


def _interval(scores: Mapping[str, Any] | None, key: str) -> str:
    if scores is None or scores[key] is None:
        return "-"
    low, high = scores["interval" if key == "accuracy" else f"{key}_interval"]
    return f"{percent(scores[key])} [{percent(low)}, {percent(high)}]"


def plot(rows: Sequence[Row], metrics: Mapping[str, Any], mfcc: Mapping[str, Any]) -> "Figure":
    """Draw likelihoods with their gaps, rates, and what probes find of phones against what they find of speakers."""
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(13, 1.8 + 0.45 * len(rows)), dpi=110, layout="constrained", facecolor="white"
    )
    likelihood, rates, known = figure.subplots(1, 3)
    places = range(len(rows))
    for place, row in zip(places, rows, strict=True):
        colour = COLOURS[row.kind]
        likelihood.plot([row.bits, row.shuffled_bits], [place] * 2, color=colour, linewidth=1.5)
        likelihood.plot(row.bits, place, "o", color=colour)
        likelihood.plot(row.shuffled_bits, place, "x", color=colour)
        for value, mark in ((row.uniform_rate, "|"), (row.entropy_rate, "o"), (row.kl_rate, "D")):
            if value is not None:
                rates.plot(value, place, mark, color=colour, fillstyle="none", markersize=8)
    likelihood.axvline(metrics["unigram_bits"], color="0.6", linestyle="--", linewidth=1)
    likelihood.set_title("bits a sample: o in order, x shuffled; dashed: no model", fontsize=9)
    rates.set_title("bits a second: | log2 K, o entropy, ◇ from the prior", fontsize=9)
    for axes in (likelihood, rates):
        axes.set_yticks(places, [row.name for row in rows], fontsize=8)
        axes.set_ylim(len(rows) - 0.5, -0.5)
    rates.set_xlim(left=0)
    _draw_probes(known, rows, mfcc)
    return figure


def _draw_probes(axes: Any, rows: Sequence[Row], mfcc: Mapping[str, Any]) -> None:
    """Phones upwards, speakers to the right, baselines as lines; speakers alone where there are no phones."""
    for row in rows:
        x = row.speakers["means"]["accuracy"]
        if x is None:
            continue
        place = (100 * x, 100 * row.phones["probe"]["accuracy"] if row.phones else 0.0)
        axes.plot(*place, "o", color=COLOURS[row.kind], label=row.name)
    chance = rows[0].speakers["means"]["chance"]
    if chance is not None:
        axes.axvline(100 * chance, color="0.6", linestyle="--", linewidth=1)
    if rows[0].phones is not None:
        axes.axhline(
            100 * rows[0].phones["probe"]["chance"], color="0.6", linestyle="--", linewidth=1
        )
        axes.axhline(
            100 * mfcc["phones"]["probe"]["accuracy"], color="0.6", linestyle=":", linewidth=1
        )
        axes.set_ylabel("phones named by a latent, %")
    axes.set_xlabel("speakers named by the mean latent, %")
    axes.set_title("linear probes; dashed: chance; dotted: phones by MFCC", fontsize=9)
    axes.margins(0.15)
    axes.legend(frameon=False, fontsize=8)


@exit_status("compare_bottlenecks")
def main() -> None:
    """Write ``bottlenecks.png``, ``bottlenecks.json`` and, last, ``bottlenecks.md`` into the experiment's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exp", type=Path)
    parser.add_argument("runs", nargs="+", help="names of folders in it")
    args = parser.parse_args()
    exp: Path = args.exp
    rows = [read_run(exp / name) for name in args.runs]
    metrics, mfcc = _load_json(exp / args.runs[0] / "metrics.json"), _load_json(exp / "mfcc.json")
    baselines = {key: metrics[key] for key in ("unigram_bits", "uniform_bits")} | {"mfcc": mfcc}
    runs = [{**asdict(row), "gap_bits": row.gap} for row in rows]
    contents = {
        "bottlenecks.png": png(plot(rows, metrics, mfcc)),
        "bottlenecks.json": json.dumps({"runs": runs, "baselines": baselines}, indent=1).encode(),
        "bottlenecks.md": compose(exp.name, rows, metrics, mfcc).encode(),
    }
    for place, content in contents.items():
        write_file(exp / place, content)


if __name__ == "__main__":
    sys.exit(main())
