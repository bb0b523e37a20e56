"""Stage 6 of the recipe: one page with every figure of an experiment, each beside its baseline."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vqspeech.errors import VqspeechError
from vqspeech.jobs.atomic import write_atomically
from vqspeech.models.checkpoint import read_header


def load_json(path: Path) -> Any:
    """Read a JSON file of the experiment.

    Raises
    ------
    VqspeechError
        When it is missing or damaged: the stage that writes it has to be done again.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VqspeechError(f"{path}: {error}; do the stage that writes it again") from None


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a Markdown table whose source reads as a table too."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = f"| {' | '.join('-' * width for width in widths)} |"
    return [line(header), rule, *map(line, rows), ""]


def likelihood(metrics: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the held-out likelihood and of the use of the codebook."""
    bits, shuffled = metrics["bits_per_sample"], metrics["shuffled_bits"]
    yield (
        "bits per sample, held out",
        f"{bits:.3f}",
        f"{metrics['uniform_bits']:g} uniform, {metrics['unigram_bits']:.3f} unigram",
    )
    yield (
        "what the decoder takes from the codes",
        f"{shuffled - bits:+.3f} bits",
        f"{shuffled:.3f} bits per sample with codes shuffled in time",
    )
    size = metrics["codebook_size"]
    yield "codes used", f"{metrics['used_codes']}", f"{size} in the codebook"
    yield "perplexity of the codes", f"{metrics['perplexity']:.1f}", f"{size} when used evenly"


def phones(scores: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the phone analysis: of the model, beside the systems it was compared with."""
    (model, *_) = (of for of in scores.values() if of["kind"] == "model")
    others = {name: of for name, of in scores.items() if of["kind"] != "model"}
    for key, title in (("with_silence", "all frames"), ("without_silence", "without silence")):
        found = model[key]
        compared = [f"{percent(of[key]['map_accuracy'])} {name}" for name, of in others.items()]
        low, high = found["map_accuracy_interval"]
        yield (
            f"phone map accuracy, {title}",
            f"{percent(found['map_accuracy'])} [{percent(low)}, {percent(high)}]",
            ", ".join(
                [
                    f"{percent(found['chance'])} chance",
                    f"{percent(found['shuffled'])} codes shuffled",
                    *compared,
                ]
            ),
        )
    for where in ("within", "across"):
        yield (
            f"ABX error between phones, {where} speakers",
            ", ".join(
                f"{percent(model['abx'][f'{where}_{kind}']['error'])} {kind}"
                for kind in ("codes", "vectors")
            ),
            "50.0% chance",
        )


def percent(share: float | None) -> str:
    """Write a share, or that there was nothing to score."""
    return "-" if share is None else f"{share:.1%}"


def hz(value: float | None) -> str:
    """Write a frequency, or that there is none."""
    return "unvoiced" if value is None else f"{value:.0f}"


def compose(exp: Path) -> str:
    """Put the page together from the files of the experiment.

    Parameters
    ----------
    exp : Path
        The experiment's folder, with ``train/metrics.json``, ``converted/conversions.json`` and, where the corpus
        has phone labels, ``analysis/scores.json``.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    VqspeechError
        When a file is missing or damaged.
    """
    header = read_header(exp / "train/model.safetensors")
    conversions = load_json(exp / "converted/conversions.json")
    scores = exp / "analysis/scores.json"
    moved = sum(conversion["moved"] for conversion in conversions)
    rows = list(likelihood(load_json(exp / "train/metrics.json")))
    if scores.is_file():
        rows += phones(load_json(scores))
    count = len(conversions)
    rows.append(
        (
            "conversions that moved towards the target's F0",
            f"{moved} of {count}",
            f"{count / 2:g} by chance",
        )
    )
    lines = [f"# {exp.name}", ""]
    training = header["training"]
    facts = [
        f"{training[key]:,} {text}"
        for key, text in (
            ("steps", "steps"),
            ("samples_seen", "samples seen"),
            ("seconds", "s of training"),
        )
        if isinstance(training.get(key), int | float)
    ]
    if facts:
        hardware = training.get("hardware")
        lines += [", ".join(facts) + (f" on {hardware}" if hardware else "") + ".", ""]
    lines += table(("held-out test split", "found", "beside"), rows)
    if not scores.is_file():
        lines += ["The corpus has no phone labels; codes were not held against phones.", ""]
    else:
        for found in load_json(scores).values():
            lines += [line for text in found["complaints"] for line in (f"**{text}**", "")]
        lines += ["All scores, pictures and examples to listen to: `analysis/report.html`.", ""]
    lines += table(
        ("from", "to", "source F0, Hz", "converted", "target", "moved", "file"),
        [
            (
                conversion["source"],
                conversion["target"],
                hz(conversion["source_f0_hz"]),
                hz(conversion["converted_f0_hz"]),
                hz(conversion["target_f0_hz"]),
                "yes" if conversion["moved"] else "no",
                f"converted/{conversion['converted_file']}",
            )
            for conversion in conversions
        ],
    )
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write ``RESULTS.md`` into the experiment's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exp", type=Path)
    args = parser.parse_args()
    try:
        text = compose(args.exp)
    except VqspeechError as error:
        print(f"report: {error}", file=sys.stderr)
        return 1

    def save(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(args.exp / "RESULTS.md", save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
