"""What every bottleneck between encoder and decoder offers.

A bottleneck is a module with this interface; it inherits nothing. To add one, write a file beside this, name it
in `vqspeech.model.BOTTLENECKS`, and add a YAML file in ``conf/bottleneck``.
"""

from typing import NamedTuple, Protocol

from torch import Tensor


class BottleneckOutput(NamedTuple):
    """What comes out of a bottleneck for a batch.

    Attributes
    ----------
    z_e : Tensor
        Input, (batch, dim, frames).
    z_q : Tensor
        Output for the decoder, (batch, dim, frames), with gradient to `z_e`.
    codes : Tensor
        int64, (batch, frames), in [0, codebook_size).
    loss : Tensor
        Scalar to add to the training loss.
    """

    z_e: Tensor
    z_q: Tensor
    codes: Tensor
    loss: Tensor


class Bottleneck(Protocol):
    """The interface of a discrete bottleneck.

    Attributes
    ----------
    codebook_size : int
        Number of different codes.
    """

    codebook_size: int

    def __call__(self, z_e: Tensor) -> BottleneckOutput:
        """Quantize (batch, dim, frames)."""

    def encode(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to int64 codes (batch, frames)."""

    def dequantize(self, codes: Tensor) -> Tensor:
        """Map int64 codes (batch, frames) to vectors (batch, dim, frames)."""

    def initialise(self, z_e: Tensor, seed: int) -> None:
        """Start from data: encoder outputs (batch, dim, frames), the same on every worker."""

    def update(self, output: BottleneckOutput) -> None:
        """Move what is not moved by a gradient; called after a step whose gradient was finite."""
