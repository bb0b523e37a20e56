"""No bottleneck: a plain autoencoder, whose decoder gets the encoder's output."""

import math

import torch
from torch import Tensor, nn

from vqspeech.nn.bottleneck import BottleneckOutput


class Identity(nn.Module):
    """Passes latents of dimension `dim` on; the encoder's last layer is the linear map to them.

    The information in a latent is unbounded, so its likelihood is a reference for the others, and its rate is
    undefined.
    """

    codebook_size: None = None

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, z_e: Tensor) -> BottleneckOutput:
        """Pass (batch, dim, frames) on, in fp32 even under autocast."""
        return BottleneckOutput(z_e, self.latents(z_e), None, z_e.new_zeros(()).float())

    def latents(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to itself."""
        return z_e.float()

    def divergence(self, z_e: Tensor) -> Tensor:
        """Infinity, (batch, frames): a point is infinitely far from every density."""
        return torch.full((z_e.shape[0], z_e.shape[2]), math.inf, device=z_e.device)

    def initialise(self, z_e: Tensor, seed: int) -> None:
        """Do nothing."""

    def update(self, output: BottleneckOutput) -> None:
        """Do nothing."""
