"""What every bottleneck between encoder and decoder offers.

A bottleneck is a module with this interface; it inherits nothing. A discrete one has codes, a continuous one latents
alone. To add one, write a file beside this, name it in `vqspeech.models.config.BOTTLENECKS`, and add a YAML file in
``conf/bottleneck``.
"""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class Draws(NamedTuple):
    """Several draws from the posterior of a batch, for an objective that weighs them against one another.

    Attributes
    ----------
    z : Tensor
        Vectors for the decoder, (draws, batch, dim, frames), without gradient to what was drawn from.
    log_ratio : Tensor
        log q(z) - log p(z) in nats, posterior over prior, (draws, batch, frames), with gradient to `z_e`.
    """

    z: Tensor
    log_ratio: Tensor


class BottleneckOutput(NamedTuple):
    """What comes out of a bottleneck for a batch.

    Attributes
    ----------
    z_e : Tensor
        Input, (batch, dim, frames).
    z_q : Tensor
        Output for the decoder, (batch, dim, frames), with gradient to `z_e`.
    codes : Tensor or None
        int64, (batch, frames), in [0, codebook_size); None of a continuous bottleneck.
    loss : Tensor
        Scalar to add to the training loss.
    kl : Tensor or None
        Scalar: what the divergence of the posterior from the prior costs, in nats a frame. Divided by the hop it is
        nats a sample, and training adds it as such. None where it is the same whatever the posterior.
    draws : Draws or None
        Where the decoder's likelihood is to be taken of several draws instead of `z_q`; the bound of
        `vqspeech.nn.vimco` then stands for likelihood and `kl` together.
    """

    z_e: Tensor
    z_q: Tensor
    codes: Tensor | None
    loss: Tensor
    kl: Tensor | None = None
    draws: Draws | None = None


class Bottleneck(Protocol):
    """The interface of every bottleneck.

    Attributes
    ----------
    codebook_size : int or None
        Number of different codes; None of a continuous bottleneck.
    """

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
    """The interface of a bottleneck with codes.

    Attributes
    ----------
    codebook_size : int
        Number of different codes.
    """

    codebook_size: int

    def encode(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to int64 codes (batch, frames)."""

    def dequantize(self, codes: Tensor) -> Tensor:
        """Map int64 codes (batch, frames) to vectors (batch, dim, frames)."""
