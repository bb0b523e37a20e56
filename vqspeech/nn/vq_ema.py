"""Vector quantization with a codebook that follows the encoder as a moving average (van den Oord et al. 2017, A.1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.nn.bottleneck import BottleneckOutput
from vqspeech.nn.codebook import cluster_sums, revivals
from vqspeech.nn.vq import NearestNeighbour, as_rows


class EMAVectorQuantizer(NearestNeighbour):
    """Nearest-neighbour quantizer whose codes are running means of the vectors that chose them.

    With N the running count and m the running sum, both of decay gamma, a code is ``m / N`` (A.1, eqs. 6-8), N smoothed
    by Laplace's rule. The loss is ``commitment * mse(z_e, sg[e])``. `forward` moves nothing: training calls `update`
    after a step whose gradient was finite.

    Parameters
    ----------
    dim : int
        Dimension of a code vector.
    codebook_size : int
        Number of codes.
    commitment : float
        Weight beta of the commitment term.
    decay : float
        gamma, the weight of the past in N and m.
    dead_below : float
        Codes used less than this times uniform use are moved onto encoder outputs; 0 moves none.
    smoothing : float
        Count added to each code by Laplace's rule.

    Notes
    -----
    Buffers: `codebook` (codebook_size, dim); `usage` (codebook_size,), N; `sums` (codebook_size, dim), m; `updates`,
    number of updates.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        commitment: float = 0.25,
        decay: float = 0.99,
        dead_below: float = 0.05,
        smoothing: float = 1e-5,
    ) -> None:
        super().__init__(codebook_size, commitment, decay, dead_below)
        self.smoothing = smoothing
        self.register_buffer("codebook", torch.empty(codebook_size, dim))
        nn.init.normal_(self.codebook, std=dim**-0.5)
        self.register_buffer("sums", self.codebook.clone())
        self.sums: Tensor

    def loss(self, z_e: Tensor, quantized: Tensor) -> Tensor:
        """Commitment loss."""
        return self.commitment * F.mse_loss(z_e, quantized)

    @torch.no_grad()
    def initialise(self, z_e: Tensor, seed: int) -> None:
        """Put the codebook on the cluster centres of encoder outputs (batch, dim, frames)."""
        super().initialise(z_e, seed)
        self.usage.fill_(1)
        self.sums.copy_(self.codebook)

    @torch.no_grad()
    def update(self, output: BottleneckOutput) -> None:
        """Move the running means and revive dead codes."""
        assert output.codes is not None
        rows = as_rows(output.z_e)
        counts, sums = cluster_sums(rows, output.codes.reshape(-1), self.codebook_size)
        self.usage.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total = self.usage.sum()
        smoothed = (self.usage + self.smoothing) / (total + self.codebook_size * self.smoothing)
        self.codebook.copy_(self.sums / (smoothed * total)[:, None])
        self.updates += 1
        dead, replacements = revivals(self.usage, rows, self.dead_below, int(self.updates))
        self.codebook[dead] = replacements
        # Without new N and m the next update would move the code back to where it was dead.
        self.usage[dead] = self.usage.mean()
        self.sums[dead] = replacements * self.usage[dead, None]
