"""Vector quantization with a codebook learned by its own loss (van den Oord et al. 2017, eq. 3)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.nn.bottleneck import BottleneckOutput
from vqspeech.nn.codebook import cluster_sums, k_means, nearest, revivals


def as_rows(z: Tensor) -> Tensor:
    """(batch, dim, frames) to (batch * frames, dim), frames of one item staying together in order."""
    return z.transpose(1, 2).reshape(-1, z.shape[1])


def straight_through(z_e: Tensor, quantized: Tensor) -> Tensor:
    """The quantized vectors, with the gradient of the decoder copied to the encoder."""
    return z_e + (quantized - z_e).detach()


def uniform_cost(z_e: Tensor, codebook_size: int) -> Tensor:
    """Log K, nats, for every frame of (batch, dim, frames): KL of a deterministic code from a uniform prior."""
    return torch.full((z_e.shape[0], z_e.shape[2]), math.log(codebook_size), device=z_e.device)


class VectorQuantizer(nn.Module):
    """Nearest-neighbour quantizer, codebook and commitment losses, straight-through gradient.

    The loss is ``mse(sg[z_e], e) + commitment * mse(z_e, sg[e])``, means over batch, dimensions and frames.

    Parameters
    ----------
    dim : int
        Dimension of a code vector.
    codebook_size : int
        Number of codes.
    commitment : float
        Weight beta of the commitment term; the codebook term has weight 1.
    decay : float
        Decay of the running count of use, by which dead codes are found.
    dead_below : float
        Codes used less than this times uniform use are moved onto encoder outputs; 0 moves none.

    Notes
    -----
    Buffers: `usage` (codebook_size,), running count of vectors per step with each code; `updates`, number of updates.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        commitment: float = 0.25,
        decay: float = 0.99,
        dead_below: float = 0.05,
    ) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.commitment, self.decay, self.dead_below = commitment, decay, dead_below
        self.codebook = nn.Parameter(torch.empty(codebook_size, dim))
        nn.init.normal_(self.codebook, std=dim**-0.5)
        self.register_buffer("usage", torch.ones(codebook_size))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.usage: Tensor
        self.updates: Tensor

    def forward(self, z_e: Tensor) -> BottleneckOutput:
        """Quantize (batch, dim, frames)."""
        codes = self.encode(z_e)
        with torch.autocast(z_e.device.type, enabled=False):
            z_e = z_e.float()
            quantized = self.dequantize(codes)
            loss = F.mse_loss(quantized, z_e.detach())
            loss = loss + self.commitment * F.mse_loss(z_e, quantized.detach())
            return BottleneckOutput(z_e, straight_through(z_e, quantized), codes, loss)

    def encode(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to int64 codes (batch, frames)."""
        return nearest(as_rows(z_e), self.codebook).view(z_e.shape[0], z_e.shape[2])

    def dequantize(self, codes: Tensor) -> Tensor:
        """Map int64 codes (batch, frames) to vectors (batch, dim, frames)."""
        return F.embedding(codes, self.codebook).transpose(1, 2)

    def latents(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to the nearest vectors of the codebook, (batch, dim, frames)."""
        return self.dequantize(self.encode(z_e))

    def divergence(self, z_e: Tensor) -> Tensor:
        """KL divergence from a uniform prior, nats, (batch, frames): log K of every code (section 3.1)."""
        return uniform_cost(z_e, self.codebook_size)

    @torch.no_grad()
    def initialise(self, z_e: Tensor, seed: int) -> None:
        """Put the codebook on the cluster centres of encoder outputs (batch, dim, frames)."""
        self.codebook.copy_(k_means(as_rows(z_e), self.codebook_size, seed))

    @torch.no_grad()
    def update(self, output: BottleneckOutput) -> None:
        """Count use and revive dead codes."""
        assert output.codes is not None
        rows = as_rows(output.z_e)
        counts, _ = cluster_sums(rows, output.codes.reshape(-1), self.codebook_size)
        self.usage.lerp_(counts, 1 - self.decay)
        self.updates += 1
        dead, replacements = revivals(self.usage, rows, self.dead_below, int(self.updates))
        self.codebook[dead] = replacements.to(self.codebook.dtype)
        self.usage[dead] = self.usage.mean()
