"""``vqspeech info``: what a model file is, from its header and its weights."""

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from vqspeech.cli.options import MODEL_VARIABLE, model_name

_LONG = 16

HELP = "what a model file is: architecture, rates, speakers, training, scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help=f"model file (default: {MODEL_VARIABLE})"
    )
    parser.add_argument("--model", metavar="FILE", help="the same, as for the other verbs")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def describe(name: str) -> dict[str, Any]:
    """Collect what is known of a model.

    Parameters
    ----------
    name : str
        A model file.

    Returns
    -------
    dict
        JSON values; rates in Hz and bits per second, the receptive field in samples and milliseconds.

    Raises
    ------
    ModelFileError
        When the file is not a model.
    """
    import vqspeech
    from vqspeech.checkpoint import read_header

    header = read_header(name)
    model = vqspeech.load(name)
    parameters = {
        part: sum(p.numel() for p in module.parameters()) for part, module in model.named_children()
    }
    return {
        "file": name,
        "format": f"{header['format']} {header['version']}",
        "sample_rate_hz": model.sample_rate,
        "hop_samples": model.hop,
        "code_rate_hz": model.frame_rate_hz,
        "codebook_size": model.codebook_size,
        # As many bits as an equal choice among all codes takes: an upper bound, whatever the codes' statistics.
        "bit_rate_bps": model.frame_rate_hz * math.log2(model.codebook_size),
        "encoder_receptive_field_samples": model.receptive_field,
        "encoder_receptive_field_ms": 1000 * model.receptive_field / model.sample_rate,
        "parameters": parameters | {"total": sum(parameters.values())},
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


def run(args: argparse.Namespace) -> None:
    """Print what the model that `args` name is.

    Raises
    ------
    ConfigurationError
        When no model is named.
    ModelFileError
        When the file is not a model.
    """
    found = describe(args.file or model_name(args))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(_lines(found)))
