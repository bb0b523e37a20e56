"""The interface of every bottleneck between encoder and decoder.

A bottleneck is a module with this interface; it need inherit nothing. A discrete one has codes, a continuous one only
latents. To add one, write a file beside this, name it in `vqspeech.models.config.BOTTLENECKS`, and add a YAML file in
``conf/bottleneck``.
"""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class Draws(NamedTuple):
    """Several draws from the posterior of a batch, for a multi-sample objective.

    Attributes
    ----------
    z : Tensor
        Vectors for the decoder, (draws, batch, dim, frames), without gradient to the posterior.
    log_ratio : Tensor
        log q(z) - log p(z) in nats, posterior over prior, (draws, batch, frames), with gradient to `z_e`.
    """

    z: Tensor
    log_ratio: Tensor


class BottleneckOutput(NamedTuple):
    """Output of a bottleneck for a batch.

    Attributes
    ----------
    z_e : Tensor
        Input, (batch, dim, frames).
    z_q : Tensor
        Output for the decoder, (batch, dim, frames), with gradient to `z_e`.
    codes : Tensor or None
        int64, (batch, frames), in [0, codebook_size); None for a continuous bottleneck.
    loss : Tensor
        Scalar to add to the training loss.
    kl : Tensor or None
        Scalar: cost of the divergence of posterior from prior, nats per frame; training adds it, divided by the hop, to
        the loss in nats per sample. None where it does not depend on the posterior.
    draws : Draws or None
        For a likelihood over several draws instead of `z_q`; the bound of `vqspeech.nn.vimco` then replaces likelihood
        and `kl`.
    """

    z_e: Tensor
    z_q: Tensor
    codes: Tensor | None
    loss: Tensor
    kl: Tensor | None = None
    draws: Draws | None = None


class Bottleneck(Protocol):
    """The interface of every bottleneck; `codebook_size` is None for a continuous one."""

    codebook_size: int | None

    def __call__(self, z_e: Tensor) -> BottleneckOutput:
        """Pass (batch, dim, frames) on: with the noise that belongs to training only in training mode."""

    def latents(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to what the decoder gets in evaluation, (batch, dim, frames), in either mode."""

    def divergence(self, z_e: Tensor) -> Tensor:
        """KL divergence of the posterior from the prior, nats, (batch, frames), in either mode."""

    def initialise(self, z_e: Tensor, seed: int) -> None:
        """Start from data: encoder outputs (batch, dim, frames), the same on every worker."""

    def update(self, output: BottleneckOutput) -> None:
        """Move what is not moved by a gradient; called after a step whose gradient was finite."""


@runtime_checkable
class DiscreteBottleneck(Bottleneck, Protocol):
    """The interface of a bottleneck with `codebook_size` codes."""

    codebook_size: int

    def encode(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to int64 codes (batch, frames)."""

    def dequantize(self, codes: Tensor) -> Tensor:
        """Map int64 codes (batch, frames) to vectors (batch, dim, frames)."""
