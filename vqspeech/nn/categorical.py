"""A categorical posterior over codes, and the table of their vectors: shared by stochastic discrete bottlenecks.

The prior is uniform: log p = -log K for every code of every frame.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.nn.bottleneck import BottleneckOutput
from vqspeech.nn.codebook import cluster_sums, k_means, nearest, revivals
from vqspeech.nn.vq import as_rows


class Categorical(nn.Module):
    """Logits of K codes by a pointwise linear map of `z_e`, and a learned vector for each code.

    Parameters
    ----------
    dim : int
        Dimension of `z_e` and of a code's vector.
    codebook_size : int
        Number of codes K.
    dead_below : float
        Codes drawn less than this times uniform use become copies of codes in use; 0 revives none.
    decay : float
        Decay of the running count of use, by which dead codes are found.

    Notes
    -----
    Buffers: `usage` (codebook_size,), running count of frames per step that drew each code; `updates`, number of
    updates.
    """

    def __init__(
        self, dim: int, codebook_size: int, dead_below: float = 0.05, decay: float = 0.99
    ) -> None:
        super().__init__()
        self.decay, self.dead_below = decay, dead_below
        self.register_buffer("usage", torch.ones(codebook_size))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.usage: Tensor
        self.updates: Tensor
        self.logits = nn.Conv1d(dim, codebook_size, 1)
        self.codebook = nn.Parameter(torch.empty(codebook_size, dim))
        nn.init.normal_(self.codebook, std=dim**-0.5)

    def log_probabilities(self, z_e: Tensor) -> Tensor:
        """Logarithm of q for every code, (batch, frames, codebook_size), in fp32 also under autocast."""
        with torch.autocast(z_e.device.type, enabled=False):
            return self.logits(z_e.float()).transpose(1, 2).log_softmax(-1)

    def encode(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to the most likely codes, int64, (batch, frames)."""
        return self.log_probabilities(z_e).argmax(-1)

    def dequantize(self, codes: Tensor) -> Tensor:
        """Map int64 codes (..., frames) to vectors (..., dim, frames)."""
        return F.embedding(codes, self.codebook).transpose(-1, -2)

    def straight_through(self, codes: Tensor, weights: Tensor) -> Tensor:
        """Vectors of codes, whose gradient passes to the weights as if their mean had been taken.

        int64 codes (batch, frames) -> (batch, dim, frames). `weights` are shares of the codes, (batch, frames,
        codebook_size), of sum 1. Of the table, only rows of `codes` get a gradient.
        """
        soft = (weights @ self.codebook.detach()).transpose(1, 2)
        return self.dequantize(codes) + (soft - soft.detach())

    @torch.no_grad()
    def initialise(self, z_e: Tensor, seed: int) -> None:
        """Start as the posterior of a mixture of Gaussians around cluster centres of `z_e`, (batch, dim, frames).

        With centres e, the vectors of the codes, and s^2 the mean squared distance, per dimension, from an encoder
        output to its nearest centre, log q is ``(z_e . e - |e|^2 / 2) / (2 s)^2`` up to a constant. The most likely
        code is the nearest one, as with vector quantization; twice the spread lets its neighbours be drawn too, without
        which draws teach nothing.
        """
        rows = as_rows(z_e).float()
        centres = k_means(rows, len(self.codebook), seed)
        # with as many centres as outputs, all distances are 0
        variance = 4 * F.mse_loss(centres[nearest(rows, centres)], rows) + 1e-3 * rows.var() + 1e-6
        self.codebook.copy_(centres)
        self.logits.weight.copy_((centres / variance)[:, :, None])
        assert self.logits.bias is not None
        self.logits.bias.copy_(-centres.square().sum(1) / (2 * variance))

    @torch.no_grad()
    def update(self, output: BottleneckOutput) -> None:
        """Count the codes drawn and revive dead ones.

        A dead code becomes a copy of the most likely code of some encoder output. The vector is the same; the logit is
        1 below the original's at the mean of what drew the original, and 1 above it at that output, unless that is
        nearer than codes are to one another: the two share the original's frames. The logit is the original's plus ``2
        away . (z_e - mean) / max(|away|^2, spread) - 1``, with away = output - mean, and spread the variance of means
        between codes.
        """
        assert output.codes is not None
        rows = as_rows(output.z_e)
        counts, sums = cluster_sums(rows, output.codes.reshape(-1), len(self.codebook))
        self.usage.lerp_(counts, 1 - self.decay)
        self.updates += 1
        dead, outputs = revivals(self.usage, rows, self.dead_below, int(self.updates))
        if len(dead) == 0:
            return
        twins = self.encode(outputs.T[None])[0]
        overall = sums.sum(0) / counts.sum()
        # the most likely code may be one that nothing drew in this batch
        means = torch.where(counts[:, None] > 0, sums / counts[:, None], overall)
        spread = (counts * (means - overall).square().sum(1)).sum() / counts.sum()
        means = means[twins]
        away = outputs - means
        slope = 2 * away / away.square().sum(1, keepdim=True).clamp(min=float(spread) + 1e-6)
        weight, bias = self.logits.weight, self.logits.bias
        assert bias is not None
        self.codebook[dead] = self.codebook[twins]
        weight[dead] = weight[twins] + slope[:, :, None]
        bias[dead] = bias[twins] - (slope * means).sum(1) - 1
        self.usage[dead] = self.usage.mean()


class Stochastic(nn.Module):
    """What bottlenecks with a `Categorical` posterior share: its most likely codes in evaluation, and its update."""

    def __init__(self, dim: int, codebook_size: int, dead_below: float) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.posterior = Categorical(dim, codebook_size, dead_below)

    def encode(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to the most likely codes, int64, (batch, frames)."""
        return self.posterior.encode(z_e)

    def dequantize(self, codes: Tensor) -> Tensor:
        """Map int64 codes (batch, frames) to vectors (batch, dim, frames)."""
        return self.posterior.dequantize(codes)

    def latents(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to the vectors of the most likely codes, (batch, dim, frames)."""
        return self.dequantize(self.encode(z_e))

    def divergence(self, z_e: Tensor) -> Tensor:
        """KL divergence of the posterior from the uniform prior, nats, (batch, frames)."""
        return divergence_from_uniform(self.posterior.log_probabilities(z_e))

    def initialise(self, z_e: Tensor, seed: int) -> None:
        """Put codes on the cluster centres of encoder outputs (batch, dim, frames)."""
        self.posterior.initialise(z_e, seed)

    def update(self, output: BottleneckOutput) -> None:
        """Count the step and revive codes that are no longer drawn."""
        self.posterior.update(output)


def gumbel(like: Tensor) -> Tensor:
    """Draws from the standard Gumbel distribution, in the shape of a tensor: -log of draws from Exp(1)."""
    # an exponential draw may round to 0, and an infinite score would be no number after a softmax
    tiny = torch.finfo(like.dtype).tiny
    return -torch.empty_like(like).exponential_().clamp(min=tiny).log()


def divergence_from_uniform(log_q: Tensor) -> Tensor:
    """KL divergence from uniform, ``log K - H(q)``, in nats: log-probabilities (..., codebook_size) -> (...)."""
    return math.log(log_q.shape[-1]) + (log_q.exp() * log_q).sum(-1)
