"""Write the card of a shipped model: figures from the model's own header, words from ``NAME.md.in``.

``NAME.md.in`` is the card with ``${...}`` where a generated part or a text that all cards share goes; see `parts`.
"""

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from scores import ABSENT, facts, nats, number, prior_tables, scores, table

from vqspeech.errors import VqspeechError
from vqspeech.jobs.atomic import write_atomically
from vqspeech.models import pretrained
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, read_header, read_prior_header

HERE = Path(__file__).parent

CURVE_ROWS = 12
"""Validations that a card shows, the last one among them."""


def architecture(model: Autoencoder, header: Mapping[str, Any], size: int) -> str:
    """Rates and sizes of the model."""
    bits = model.frame_rate_hz * math.log2(model.codebook_size)
    decoder = model.config.decoder
    head = model.decoder.spectral
    filtered = f"{head.n_mels} bands every {head.frame_hop} samples" if head else "none"
    rows = {
        "sample rate": f"{model.sample_rate:,} Hz, mono",
        "a code stands for": f"{model.hop} samples: {model.frame_rate_hz:g} codes a second",
        "different codes": f"{model.codebook_size}, so at most {bits:.4g} bits a second",
        "bottleneck": f"{model.config.bottleneck['kind']}, vectors of {model.config.dim}",
        "encoder": f"strides {model.config.encoder['strides']}, depends on {model.receptive_field:,} samples",
        "decoder": f"WaveNet of {len(decoder['dilations'])} layers, {decoder['residual_channels']} residual and"
        f" {decoder['skip_channels']} skip channels, {model.config.levels} µ-law levels",
        "post-filter": filtered,
        "weights": f"{sum(p.numel() for p in model.parameters()):,}, {header.get('weights', 'float32')},"
        f" {size:,} bytes",
    }
    return facts(rows)


def speakers(model: Autoencoder, training: Mapping[str, Any]) -> str:
    """Everyone whose voice it has, with the minutes it has heard of them where they are known."""
    minutes = training.get("minutes", {})
    if not minutes:
        return f"{len(model.speakers)} voices: {', '.join(model.speakers)}."
    corpora, spoken = defaultdict[str, float](float), defaultdict[str, float](float)
    read_for: dict[str, str] = {}
    for part, of in minutes.items():
        corpus = part.partition("/")[0]
        for speaker, count in of.items():
            corpora[corpus] += count
            spoken[speaker] += count
            read_for[speaker] = corpus
    sums = [f"{count:.1f} of {corpus}" for corpus, count in corpora.items()]
    rows = [
        (speaker, read_for.get(speaker, ABSENT), f"{spoken[speaker]:.2f}")
        for speaker in model.speakers
    ]
    return "\n".join(
        [
            f"{len(model.speakers)} voices. Minutes of speech it was trained on: {', '.join(sums)};"
            " silence at both ends of a recording is not counted.",
            "",
            table(["speaker", "corpus", "minutes"], rows),
        ]
    )


def training(of: Mapping[str, Any], sample_rate: int) -> str:
    """How long it was trained, on what."""
    rows = {}
    if "steps" in of:
        rows["steps"] = f"{of['steps']:,}"
    if "samples_seen" in of:
        # files that say what came before count what the WaveNet learned from, others all that was read
        learned = "samples_seen_before" in of
        samples = of["samples_seen"] + of.get("samples_seen_before", 0)
        name = "samples the WaveNet has learned from, in all" if learned else "samples seen"
        rows[name] = f"{samples:,} ({samples / sample_rate / 3600:.4g} hours of speech)"
    if "seconds" in of:
        rows["time"] = f"{of['seconds'] / 3600:.4g} hours"
    known = {"steps", "samples_seen", "samples_seen_before", "seconds"}
    rows |= {
        key.replace("_", " "): number(value)
        for key, value in of.items()
        if key not in known and not isinstance(value, Mapping | list)
    }
    return facts(rows) if rows else "The file does not say how it was trained."


def curve(of: Mapping[str, Any]) -> str:
    """The held-out likelihood while it was trained, thinned to `CURVE_ROWS` rows."""
    points = of.get("curve", [])
    if not points:
        return "No validation was made while it was trained."
    step = -(-len(points) // CURVE_ROWS)
    last = points[-1]
    unigram, uniform = (nats(last.get(key)) for key in ("unigram_bits", "uniform_bits"))
    return "\n".join(
        [
            "Held-out likelihood (split `valid`) while it was trained, in nats a sample; codes shuffled in time are"
            f" the control, unigram {number(unigram)}, uniform {number(uniform)}.",
            "",
            table(
                ["step", "hours", "nats", "codes shuffled", "codes used", "perplexity"],
                [
                    (
                        number(point.get("step")),
                        number(hours(point.get("training_s"))),
                        number(point.get("nats_per_sample")),
                        number(nats(point.get("shuffled_bits"))),
                        f"{number(point.get('used_codes'))} of {number(point.get('codebook_size'))}",
                        number(point.get("perplexity")),
                    )
                    for point in points[::-1][::step][::-1]
                ],
            ),
        ]
    )


def hours(seconds: float | None) -> float | None:
    """Seconds as hours."""
    return None if seconds is None else seconds / 3600


def prior(file: Path) -> str:
    """What the prior beside a model is and reaches; a line that there is none without one."""
    path = pretrained.prior_beside(file)
    if not path.is_file():
        return "No prior comes with it."
    header, size = read_prior_header(path), path.stat().st_size
    of, figures = header["training"], header["scores"]
    network = header["config"]["network"]
    rows = {
        "network": f"dilated causal convolutions, {len(network['dilations'])} layers, {network['width']} channels",
        "weights": f"{header.get('weights', 'float32')}, {size:,} bytes",
        "trained": f"{of.get('steps', 0):,} steps, {of.get('codes_seen', 0):,} codes,"
        f" {of.get('seconds', 0) / 60:.0f} minutes on {of.get('hardware', 'an unknown machine')}",
    }
    found = figures.get("evaluation") or {k: figures[k] for k in ("held_out",) if k in figures}
    return "\n\n".join([facts(rows), prior_tables(found) if found else "It has not been scored."])


def parts(file: Path) -> dict[str, str]:
    """Return what ``${...}`` stands for in a card.

    ``architecture speakers training curve scores`` come from the model, ``prior`` from the prior beside it, ``licences
    misuse`` from the files of these names.
    """
    header, model = read_header(file), load_model(file)
    of = header["training"]
    shared = {name: (HERE / f"{name}.md").read_text().strip() for name in ("licences", "misuse")}
    return {
        "architecture": architecture(model, header, file.stat().st_size),
        "speakers": speakers(model, of),
        "training": training(of, model.sample_rate),
        "curve": curve(of),
        "scores": scores(header["scores"]),
        "prior": prior(file),
        **shared,
    }


def write_card(name: str, folder: Path | None = None) -> Path:
    """Write the card of a shipped model beside its file, which lies in the package by default.

    Raises
    ------
    VqspeechError
        The model is not there, or its text names a part that does not exist.
    """
    folder = folder or pretrained.FOLDER
    words = HERE / f"{name}.md.in"
    found = parts(folder / f"{name}.safetensors")
    try:
        text = Template(words.read_text(encoding="utf-8")).substitute(found)
    except OSError as error:
        raise VqspeechError(f"{words}: {error.strerror}") from None
    except (KeyError, ValueError) as error:
        raise VqspeechError(
            f"{words}: {error} is no part of a card; there are {', '.join(found)}"
        ) from None
    out = folder / f"{name}.md"
    write_atomically(out, lambda file: file.write_text(text, encoding="utf-8"))
    return out


def main() -> int:
    """Write the cards of the models that are named, or of all that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all that are there")
    args = parser.parse_args()
    try:
        for name in args.names or pretrained.names():
            print(write_card(name))
    except VqspeechError as error:
        print(f"card: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
