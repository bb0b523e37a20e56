"""A Gaussian bottleneck: the variational autoencoder of Kingma and Welling 2014 (arXiv 1312.6114), frame by frame."""

import math

import torch
from torch import Tensor, nn

from vqspeech.nn.bottleneck import BottleneckOutput


class GaussianBottleneck(nn.Module):
    """Diagonal Gaussian posterior, standard normal prior; a sample in training, the mean in evaluation.

    A pointwise linear map of `z_e` gives mean and log variance. The divergence of a frame is
    ``KL = 1/2 sum_j (mean_j^2 + variance_j - log variance_j - 1)`` (appendix B), and the cost of a batch
    ``kl_weight * max(free_bits * log 2, mean KL)``, the mean over batch and frames.

    Parameters
    ----------
    dim : int
        Dimension of a latent.
    kl_weight : float
        Weight of the divergence; 1 makes the training loss the bound on the likelihood.
    free_bits : float
        Bits a frame, over all its dimensions, that cost nothing: below that mean the divergence has no gradient, and
        a decoder that can do without latents is not paid for it.
    """

    codebook_size: None = None

    def __init__(self, dim: int, kl_weight: float = 1.0, free_bits: float = 0.0) -> None:
        super().__init__()
        self.kl_weight, self.free_bits = kl_weight, free_bits
        self.posterior = nn.Conv1d(dim, 2 * dim, 1)

    def forward(self, z_e: Tensor) -> BottleneckOutput:
        """Draw latents (batch, dim, frames), in training; the means otherwise."""
        with torch.autocast(z_e.device.type, enabled=False):
            z_e = z_e.float()
            mean, log_variance = self.moments(z_e)
            z = mean
            if self.training:
                z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            divergence = divergence_from_standard(mean, log_variance).mean()
            cost = self.kl_weight * divergence.clamp(min=self.free_bits * math.log(2))
            return BottleneckOutput(z_e, z, None, z_e.new_zeros(()), cost)

    def moments(self, z_e: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, float32, (batch, dim, frames) each."""
        with torch.autocast(z_e.device.type, enabled=False):
            mean, log_variance = self.posterior(z_e.float()).chunk(2, 1)
            return mean, log_variance

    def latents(self, z_e: Tensor) -> Tensor:
        """Map (batch, dim, frames) to the means of the posterior, (batch, dim, frames)."""
        return self.moments(z_e)[0]

    def divergence(self, z_e: Tensor) -> Tensor:
        """KL divergence of the posterior from the prior, nats, (batch, frames)."""
        return divergence_from_standard(*self.moments(z_e))

    def initialise(self, z_e: Tensor, seed: int) -> None:
        """Start as it is: the encoder's output has one scale from the first step on."""

    def update(self, output: BottleneckOutput) -> None:
        """Move nothing."""


def divergence_from_standard(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of diagonal Gaussians from the standard normal.

    Parameters
    ----------
    mean, log_variance : Tensor
        (batch, dim, frames).

    Returns
    -------
    Tensor
        Nats, (batch, frames), at least 0.
    """
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)
