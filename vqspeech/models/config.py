"""What a model is made of: the settings of its parts, which parts there are, and what is wrong with settings."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vqspeech.errors import ConfigurationError
from vqspeech.nn.decoder import Decoder
from vqspeech.nn.encoder import Encoder
from vqspeech.nn.gaussian import GaussianBottleneck
from vqspeech.nn.gumbel import GumbelBottleneck
from vqspeech.nn.identity import Identity
from vqspeech.nn.vimco import VIMCO
from vqspeech.nn.vq import VectorQuantizer
from vqspeech.nn.vq_ema import EMAVectorQuantizer

BOTTLENECKS: dict[str, Callable[..., Any]] = {
    "vq": VectorQuantizer,
    "vq_ema": EMAVectorQuantizer,
    "gumbel": GumbelBottleneck,
    "vimco": VIMCO,
    "gaussian": GaussianBottleneck,
    "none": Identity,
}
"""Bottlenecks by the name that configurations and model files use."""

DISCRETE = tuple(kind for kind, cls in BOTTLENECKS.items() if hasattr(cls, "encode"))
"""Names of those that have codes."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of a model; plain values, as stored in a model file.

    Attributes
    ----------
    sample_rate : int
        Hz.
    levels : int
        mu-law classes of the output.
    dim : int
        Dimension of the latents.
    encoder, bottleneck, decoder : mapping
        Arguments of `Encoder`, of the bottleneck named by the entry ``kind``, and of `Decoder`.
    """

    sample_rate: int
    levels: int
    dim: int
    encoder: Mapping[str, Any]
    bottleneck: Mapping[str, Any]
    decoder: Mapping[str, Any]


def unfit_arguments(
    function: Callable[..., Any], given: Mapping[str, Any], supplied: Sequence[str]
) -> list[str]:
    """What is wrong with `given` as keyword arguments, beside those that the caller supplies.

    Returns
    -------
    list of str
        One phrase for each unknown or missing name; empty when the call would bind.
    """
    parameters = inspect.signature(function).parameters
    wrong = [f"unknown setting {k!r}" for k in given if k not in parameters or k in supplied]
    wrong += [
        f"missing setting {name!r}"
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in given and name not in supplied
    ]
    return wrong


def check_config(config: ModelConfig) -> None:
    """Check that every part of a configuration binds, and name all that is wrong at once.

    Raises
    ------
    ConfigurationError
        With every unknown or missing setting and every impossible number.
    """
    wrong = [
        f"{name}: {value!r} is not a whole number above 0"
        for name in ("sample_rate", "levels", "dim")
        if type(value := getattr(config, name)) is not int or value < 1
    ]
    wrong += [f"encoder: {w}" for w in unfit_arguments(Encoder, config.encoder, ["dim"])]
    own = ["dim", "speakers", "levels", "hop", "sample_rate"]
    wrong += [f"decoder: {w}" for w in unfit_arguments(Decoder, config.decoder, own)]
    settings = dict(config.bottleneck)
    kind = settings.pop("kind", None)
    if kind not in BOTTLENECKS:
        wrong.append(f"bottleneck: kind {kind!r} is not one of {', '.join(BOTTLENECKS)}")
    else:
        wrong += [f"bottleneck: {w}" for w in unfit_arguments(BOTTLENECKS[kind], settings, ["dim"])]
    if wrong:
        raise ConfigurationError("; ".join(wrong))
