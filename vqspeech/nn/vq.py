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


class NearestNeighbour(nn.Module):
    """What vector quantizers share: the nearest row of a codebook, and the count of how often each is chosen.

    A quantizer adds its `codebook`, (codebook_size, dim), a loss and an update.
    """

    codebook: Tensor

    def __init__(
        self, codebook_size: int, commitment: float, decay: float, dead_below: float
    ) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.commitment, self.decay, self.dead_below = commitment, decay, dead_below
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
            z_q = z_e + (quantized - z_e).detach()
            return BottleneckOutput(z_e, z_q, codes, self.loss(z_e, quantized))

    def loss(self, z_e: Tensor, quantized: Tensor) -> Tensor:
        """Loss of encoder outputs and the vectors of their codes, (batch, dim, frames) both: a scalar."""
        raise NotImplementedError

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
        cost = math.log(self.codebook_size)
        return torch.full((z_e.shape[0], z_e.shape[2]), cost, device=z_e.device)

    @torch.no_grad()
    def initialise(self, z_e: Tensor, seed: int) -> None:
        """Put the codebook on the cluster centres of encoder outputs (batch, dim, frames)."""
        self.codebook.copy_(k_means(as_rows(z_e), self.codebook_size, seed))


class VectorQuantizer(NearestNeighbour):
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
        super().__init__(codebook_size, commitment, decay, dead_below)
        self.codebook = nn.Parameter(torch.empty(codebook_size, dim))
        nn.init.normal_(self.codebook, std=dim**-0.5)

    def loss(self, z_e: Tensor, quantized: Tensor) -> Tensor:
        """Codebook and commitment loss."""
        loss = F.mse_loss(quantized, z_e.detach())
        return loss + self.commitment * F.mse_loss(z_e, quantized.detach())

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
