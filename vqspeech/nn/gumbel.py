"""Straight-through Gumbel-softmax over codes (Jang, Gu and Poole 2017, arXiv 1611.01144, section 2.2)."""

import torch
from torch import Tensor

from vqspeech.nn.bottleneck import BottleneckOutput
from vqspeech.nn.categorical import Stochastic, divergence_from_uniform, gumbel


class GumbelBottleneck(Stochastic):
    """Draws a code from its categorical posterior; the gradient is that of a softmax with a temperature.

    With Gumbel noise g, the code is the argmax of ``log q + g``, an exact draw from q, and the gradient passes as if
    the decoder had been given the mean of the codes' vectors under ``softmax((log q + g) / temperature)``. That is
    biased; a lower temperature lessens the bias, though not to nothing, and makes the gradient noisier. The temperature
    falls geometrically from `start` to `end` over `anneal_steps` updates. In evaluation the code is the most likely
    one.

    Parameters
    ----------
    dim : int
        Dimension of a code vector.
    codebook_size : int
        Number of codes.
    start, end : float
        First and last temperature, above 0.
    anneal_steps : int
        Updates from the first to the last; 0 starts with the last.
    kl_weight : float
        Weight of the divergence from the uniform prior; with 1 the training loss is the negative ELBO.
    dead_below : float
        See `Categorical`, whose count of updates the temperature follows.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        start: float = 2.0,
        end: float = 0.5,
        anneal_steps: int = 5000,
        kl_weight: float = 1.0,
        dead_below: float = 0.05,
    ) -> None:
        super().__init__(dim, codebook_size, dead_below)
        if not (start > 0 and end > 0):
            raise ValueError(f"temperatures {start} and {end}: both must be above 0")
        self.start, self.end, self.anneal_steps = start, end, anneal_steps
        self.kl_weight = kl_weight

    @property
    def temperature(self) -> Tensor:
        """Temperature of the next step, a float32 scalar."""
        if self.anneal_steps == 0:
            return torch.full((), self.end, device=self.posterior.updates.device)
        done = (self.posterior.updates / self.anneal_steps).clamp(max=1)
        return self.start * (self.end / self.start) ** done

    def forward(self, z_e: Tensor) -> BottleneckOutput:
        """Draw codes for (batch, dim, frames), in training; the most likely ones otherwise."""
        with torch.autocast(z_e.device.type, enabled=False):
            z_e = z_e.float()
            log_q = self.posterior.log_probabilities(z_e)
            scores = log_q + gumbel(log_q) if self.training else log_q
            codes = scores.argmax(-1)
            weights = (scores / self.temperature).softmax(-1)
            z_q = self.posterior.straight_through(codes, weights)
            cost = self.kl_weight * divergence_from_uniform(log_q).mean()
            return BottleneckOutput(z_e, z_q, codes, z_e.new_zeros(()), cost)
