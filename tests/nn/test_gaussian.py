"""The Gaussian bottleneck: its draws, its divergence and what of it costs."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vqspeech.nn.gaussian import GaussianBottleneck, divergence_from_standard


@pytest.fixture
def z_e() -> Tensor:
    return torch.randn(3, 4, 10, generator=torch.Generator().manual_seed(0))


def test_the_divergence_is_that_of_the_distributions(z_e: Tensor) -> None:
    """The closed form against torch's, summed over dimensions, at every frame."""
    mean, log_variance = z_e, 0.7 * z_e.flip(0)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence_from_standard(mean, log_variance), expected)
    assert float(divergence_from_standard(torch.zeros(1, 4, 1), torch.zeros(1, 4, 1))) == 0


def test_draws_have_the_moments_of_the_posterior(z_e: Tensor) -> None:
    """Mean and variance of many draws, within 5 standard errors."""
    torch.manual_seed(0)
    bottleneck, count = GaussianBottleneck(4), 20_000
    frame = z_e[:1, :, :1]
    drawn = bottleneck(frame.expand(count, -1, -1)).z_q[..., 0]
    mean, log_variance = (part[0, :, 0] for part in bottleneck.moments(frame))
    variance = log_variance.exp()
    assert ((drawn.mean(0) - mean).abs() < 5 * (variance / count).sqrt()).all()
    assert ((drawn.var(0) / variance - 1).abs() < 5 * (2 / count) ** 0.5).all()


def test_the_gradient_of_a_draw_reaches_both_moments(z_e: Tensor) -> None:
    """Reparameterised: d/dmean is d/dz, and the spread learns as well."""
    bottleneck = GaussianBottleneck(4)
    output = bottleneck(z_e)
    weight = bottleneck.posterior.weight
    (grad,) = torch.autograd.grad(output.z_q.pow(2).sum(), weight)
    assert (grad.abs().amax((1, 2)) > 0).all()
    bias = bottleneck.posterior.bias
    (grad,) = torch.autograd.grad(bottleneck(z_e).z_q.sum(), bias)
    torch.testing.assert_close(grad[:4], torch.full((4,), 30.0))


@pytest.mark.parametrize("weight", [1.0, 0.2])
def test_the_cost_is_the_weighted_mean_divergence_of_a_frame(z_e: Tensor, weight: float) -> None:
    """A mean over batch and frames, in nats, and a sum over dimensions."""
    bottleneck = GaussianBottleneck(4, kl_weight=weight)
    torch.testing.assert_close(bottleneck(z_e).kl, weight * bottleneck.divergence(z_e).mean())
    assert bottleneck.divergence(z_e).shape == (3, 10)


def test_free_bits_of_a_frame_cost_a_constant_and_push_nothing(z_e: Tensor) -> None:
    """Below them the cost is theirs and has no gradient; above them they change nothing."""
    bottleneck = GaussianBottleneck(4)
    bits = float(bottleneck.divergence(z_e).mean()) / math.log(2)
    for free, learns in ((2 * bits, False), (0.5 * bits, True)):
        bottleneck.free_bits = free
        cost = bottleneck(z_e).kl
        assert float(cost) == pytest.approx(max(free, bits) * math.log(2))
        (grad,) = torch.autograd.grad(cost, bottleneck.posterior.weight)
        assert bool(grad.abs().max() > 0) == learns
