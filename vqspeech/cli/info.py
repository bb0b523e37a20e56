"""``vqspeech info``: what a model or a pack is; which models are shipped, and their cards."""

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vqspeech.cli.options import MODEL_HELP, MODEL_METAVAR, MODEL_VARIABLE, model_name
from vqspeech.models import pretrained

_LONG = 16

HELP = (
    "what a model is: architecture, rates, speakers, training, scores; its card; what a pack holds"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar=MODEL_METAVAR,
        help=f"{MODEL_HELP}, or a pack, which is read and checked (default: the variable {MODEL_VARIABLE}, else"
        f" {pretrained.DEFAULT})",
    )
    parser.add_argument("--model", metavar=MODEL_METAVAR, help="the same, as for the other verbs")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="as one JSON object")
    shown.add_argument(
        "--card",
        action="store_true",
        help="the card of a shipped model: data and licences, scores, failures, what it is not for",
    )
    shown.add_argument(
        "--list", action="store_true", help="the shipped models instead, a line for each"
    )


def describe(name: str) -> dict[str, Any]:
    """Collect what is known of a model.

    Parameters
    ----------
    name : str
        A shipped model or a model file.

    Returns
    -------
    dict
        JSON values; rates in Hz and bits per second, the receptive field in samples and milliseconds. Size of the
        codebook, its id and the bit rate are None of a model without codes.

    Raises
    ------
    ModelFileError
        When there is no such model, or the file is not one.
    """
    import vqspeech
    from vqspeech.models.checkpoint import read_header

    header = read_header(name)
    model = vqspeech.load(name)
    parameters = {
        part: sum(p.numel() for p in module.parameters()) for part, module in model.named_children()
    }
    return {
        "file": str(pretrained.find(name)),
        "format": f"{header['format']} {header['version']}",
        "sample_rate_hz": model.sample_rate,
        "hop_samples": model.hop,
        "code_rate_hz": model.frame_rate_hz,
        "codebook_size": model.codebook_size if model.discrete else None,
        "codebook_id": model.codebook_id,
        # As many bits as an equal choice among all codes takes: an upper bound, whatever the codes' statistics.
        "bit_rate_bps": model.frame_rate_hz * math.log2(model.codebook_size)
        if model.discrete
        else None,
        "encoder_receptive_field_samples": model.receptive_field,
        "encoder_receptive_field_ms": 1000 * model.receptive_field / model.sample_rate,
        "parameters": parameters | {"total": sum(parameters.values())},
        "weights": header.get("weights", "float32"),
        "speakers": list(model.speakers),
        "architecture": header["config"],
        "training": header["training"],
        "scores": header["scores"],
    }


def _lines(values: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    width = max((len(key) for key in values), default=0)
    for key, value in values.items():
        label = f"{'  ' * indent}{key.replace('_', ' '):<{width}}"
        if isinstance(value, Mapping) and value:
            yield label.rstrip()
            yield from _lines(value, indent + 1)
        else:
            yield f"{label}  {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        # Names are all of interest; of a long curve, only where it starts and ends.
        parts = [item if isinstance(item, str) else _text(item) for item in value]
        if len(parts) > _LONG and not isinstance(value[0], str):
            parts = [parts[0], "...", parts[-1]]
        shown = " ".join(parts)
        return f"({len(value)}) {shown}" if value else "-"
    return str(value) if value not in (None, {}, "") else "-"


def _shipped() -> Iterator[str]:
    """A line for each model of this installation."""
    found = pretrained.names()
    if not found:
        # tells which file is missing
        pretrained.path(pretrained.DEFAULT)
    for name in found:
        of = describe(name)
        size = pretrained.path(name).stat().st_size
        yield (
            f"{name:<10}{of['code_rate_hz']:g} codes/s, {of['codebook_size']} different ones,"
            f" {len(of['speakers'])} speakers, {size / 1e6:.1f} MB"
            f"{' (default)' if name == pretrained.DEFAULT else ''}"
        )


def run(args: argparse.Namespace) -> None:
    """Print what the model or the pack that `args` name is, the card, or which models are shipped.

    Raises
    ------
    CorpusError
        When a pack is not whole.
    ModelFileError
        When there is no such model, the file is not one, or it has no card.
    """
    from vqspeech.training.data.pack import INDEX as PACK_INDEX

    name = args.name or model_name(args)
    if args.list:
        print("\n".join(_shipped()))
    elif (Path(name) / PACK_INDEX).is_file():
        from vqspeech.training.data.pack import Pack

        print(Pack(Path(name)).summary())
    elif args.card:
        print(pretrained.card(name), end="")
    elif args.json:
        print(json.dumps(describe(name), indent=2))
    else:
        print("\n".join(_lines(describe(name))))
