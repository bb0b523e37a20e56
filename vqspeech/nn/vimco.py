"""Discrete latents by a multi-sample bound, VIMCO (Mnih and Rezende 2016, arXiv 1602.06725), and its estimator.

Of M draws z_m from the posterior q, with ``f_m = log p(x | z_m) + log p(z_m) - log q(z_m | x)``, the bound on log p(x)
is ``L = log (1/M) sum_m exp f_m`` (eq. 4), tighter with each draw.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vqspeech.nn.bottleneck import BottleneckOutput, Draws
from vqspeech.nn.categorical import Stochastic, divergence_from_uniform, gumbel


class MultiSample(NamedTuple):
    """The bound of a batch and a loss to minimise.

    Attributes
    ----------
    bound : Tensor
        L of each recording, nats, (batch,), without gradient.
    loss : Tensor
        Value -L, (batch,); its gradient estimates that of -E[L].
    """

    bound: Tensor
    loss: Tensor


def multi_sample(log_likelihood: Tensor, log_ratio: Tensor) -> MultiSample:
    """Bound of M draws, with a gradient by leave-one-out control variates.

    The gradient of L has two terms (eqs. 7 to 9): through the value, each draw with its share of ``sum_m exp f_m``, and
    through the probability of each draw, ``sum_m (L - L_-m) grad log q(z_m)``, where ``L_-m`` is L with f_m replaced by
    the mean of the others' f, the logarithm of the geometric mean of their weights: independent of draw m, so the
    estimate is unbiased.

    Parameters
    ----------
    log_likelihood : Tensor
        log p(x | z_m) in nats, (draws, batch), at least two draws; with gradient to the decoder.
    log_ratio : Tensor
        log q(z_m | x) - log p(z_m) in nats, (draws, batch), over all latents that the likelihood depends on; with
        gradient to the posterior, the prior having none.

    Returns
    -------
    MultiSample
        One entry per recording.
    """
    draws = len(log_likelihood)
    weights = log_likelihood - log_ratio
    bound = weights.logsumexp(0) - math.log(draws)
    with torch.no_grad():
        own = torch.eye(draws, dtype=torch.bool, device=weights.device)[:, :, None]
        others = (weights.sum(0) - weights) / (draws - 1)
        # row m: all weights, the one of draw m replaced
        without = torch.where(own, others[:, None], weights[None]).logsumexp(1) - math.log(draws)
        signal = bound - without
    # 0, but with a gradient
    score = (signal * (log_ratio - log_ratio.detach())).sum(0)
    return MultiSample(bound.detach(), -bound - score)


class VIMCO(Stochastic):
    """Draws codes from a categorical posterior several times, for a multi-sample objective.

    The output's `draws` have a gradient to `z_e` only through log q; `multi_sample` makes a loss of them. Its `z_q` are
    the vectors of the first draw, with a straight-through gradient to the probabilities, for losses of a single draw
    such as a spectral head's. In evaluation the code is the most likely one and there are no draws.

    Parameters
    ----------
    dim : int
        Dimension of a code vector.
    codebook_size : int
        Number of codes.
    draws : int
        Draws M per training step, at least 2; multiplies the decoder's work.
    dead_below : float
        See `Categorical`.
    """

    def __init__(
        self, dim: int, codebook_size: int, draws: int = 2, dead_below: float = 0.05
    ) -> None:
        super().__init__(dim, codebook_size, dead_below)
        if draws < 2:
            raise ValueError(
                f"draws {draws}: at least 2 are needed, to hold one against the others"
            )
        self.draws = draws

    def forward(self, z_e: Tensor) -> BottleneckOutput:
        """Draw codes for (batch, dim, frames), in training; the most likely ones otherwise."""
        with torch.autocast(z_e.device.type, enabled=False):
            z_e = z_e.float()
            log_q = self.posterior.log_probabilities(z_e)
            probabilities = log_q.exp()
            cost = divergence_from_uniform(log_q).mean()
            if not self.training:
                codes = log_q.argmax(-1)
                z_q = self.posterior.straight_through(codes, probabilities)
                return BottleneckOutput(z_e, z_q, codes, z_e.new_zeros(()), cost)
            repeated = log_q.expand(self.draws, -1, -1, -1)
            codes = (repeated + gumbel(repeated)).argmax(-1)
            chosen = repeated.gather(-1, codes[..., None])[..., 0]
            draws = Draws(self.posterior.dequantize(codes), chosen + math.log(self.codebook_size))
            z_q = self.posterior.straight_through(codes[0], probabilities)
            return BottleneckOutput(z_e, z_q, codes[0], z_e.new_zeros(()), cost, draws)
