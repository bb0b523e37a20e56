"""What several verbs take: which model, on which device, how to sample."""

import argparse
import math
import os
from typing import TYPE_CHECKING

from vqspeech.errors import ConfigurationError

if TYPE_CHECKING:
    from vqspeech.model import Autoencoder

MODEL_VARIABLE = "VQSPEECH_MODEL"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--model`` and ``--device``."""
    parser.add_argument(
        "--model", metavar="FILE", help=f"model file (default: the variable {MODEL_VARIABLE})"
    )
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one, else cpu)"
    )


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--seed``, ``--temperature`` and ``--engine``."""
    parser.add_argument("--seed", type=_seed, default=0, help="of the sampler (default: 0)")
    parser.add_argument(
        "--temperature",
        type=_temperature,
        default=1.0,
        help="below 1 likely samples become likelier; 0 always takes the likeliest (default: 1)",
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "reference"),
        default="auto",
        help="what runs the decoder one sample at a time (default: auto, the fastest here)",
    )


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up")
    return value


def _seed(text: str) -> int:
    # The generators take 64 bits.
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^63 - 1")
    return int(text)


def model_name(args: argparse.Namespace) -> str:
    """Return the model as the person named it.

    Raises
    ------
    ConfigurationError
        When neither ``--model`` nor the variable names one.
    """
    name = args.model or os.environ.get(MODEL_VARIABLE)
    if not name:
        raise ConfigurationError(
            f"no model given: name a model file with --model or in {MODEL_VARIABLE}"
        )
    return str(name)


def open_model(args: argparse.Namespace) -> "Autoencoder":
    """Load the model that `args` name, in evaluation mode, on the device they name.

    Raises
    ------
    ConfigurationError
        When no model is named, or the device is not there.
    ModelFileError
        When the file is not a model.
    """
    name = model_name(args)
    import torch

    import vqspeech

    available = torch.cuda.is_available()
    wanted = args.device or ("cuda" if available else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ConfigurationError(f"unknown device {wanted!r}: cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not (
        available and (device.index or 0) < torch.cuda.device_count()
    ):
        count = torch.cuda.device_count() if available else 0
        raise ConfigurationError(f"--device {wanted}: {count} CUDA devices here; use --device cpu")
    return vqspeech.load(name).to(device)
