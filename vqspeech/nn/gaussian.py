"""A Gaussian bottleneck: the variational autoencoder of Kingma and Welling 2014 (arXiv 1312.6114), frame by frame."""

import math

import torch
from torch import Tensor, nn

from vqspeech.nn.bottleneck import BottleneckOutput


class GaussianBottleneck(nn.Module):
    """Diagonal Gaussian posterior, standard normal prior; a sample in training, the mean in evaluation.

    A pointwise linear map of `z_e` gives mean and log variance. The divergence of a frame is
    ``KL = 1/2 sum_j (mean_j^2 + variance_j - log variance_j - 1)`` (appendix B), the cost of a batch
    ``kl_weight * max(free_bits * log 2, mean KL)``, with the mean over batch and frames.

    Parameters
    ----------
    dim : int
        Dimension of a latent.
    kl_weight : float
        Weight of the divergence; with 1 the training loss is the negative ELBO.
    free_bits : float
        Bits per frame, over all dimensions, without cost: below that mean the divergence has no gradient, which
        counters posterior collapse.
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
        """Do nothing: the encoder's output has a constant scale from the first step on."""

    def update(self, output: BottleneckOutput) -> None:
        """Do nothing."""


def divergence_from_standard(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of diagonal Gaussians (batch, dim, frames) from the standard normal, nats, (batch, frames)."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)
