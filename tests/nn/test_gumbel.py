"""Straight-through Gumbel-softmax: its draws, its gradient against exact enumeration, its temperature."""

import copy

import pytest
import torch
from benchmarks.estimators import CODES, DIM, Estimate, compare, exact, gradients, gumbel, toy
from torch import Tensor

from vqspeech.nn.gumbel import GumbelBottleneck


@pytest.fixture
def z_e() -> Tensor:
    return torch.randn(3, 4, 10, generator=torch.Generator().manual_seed(0))


def estimate(temperature: float, count: int = 40_000) -> Estimate:
    """Hold the gradient at one temperature against that of the bound of one draw."""
    of = toy()
    bottleneck = GumbelBottleneck(DIM, CODES, temperature, temperature)
    found = gradients(gumbel(of, bottleneck), of.z_e, count)
    return compare(found, exact(of, bottleneck.posterior, 1))


def test_codes_are_drawn_from_the_posterior(z_e: Tensor) -> None:
    """Over many draws each code of a frame is drawn as often as its probability says, within 5 standard errors."""
    torch.manual_seed(0)
    bottleneck, count = GumbelBottleneck(4, 5), 4000
    frame = z_e[:1, :, :1]
    codes = bottleneck(3 * frame.expand(count, -1, -1)).codes
    expected = bottleneck.posterior.log_probabilities(3 * frame)[0, 0].exp().detach()
    shares = torch.bincount(codes[:, 0], minlength=5) / count
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / count).sqrt()).all()


def test_the_decoder_gets_the_vector_of_the_code_itself(z_e: Tensor) -> None:
    """Not a mixture: at any temperature the value is the code's vector to the bit."""
    bottleneck = GumbelBottleneck(4, 5, start=3.0)
    output = bottleneck(z_e)
    assert torch.equal(output.z_q, bottleneck.dequantize(output.codes))


def test_the_bias_falls_with_the_temperature_but_not_to_nothing() -> None:
    """Half the exact gradient is missing at 4; a sixth is wrong at 0.25, in many standard errors; noise grows."""
    warm, mild, cold = (estimate(temperature) for temperature in (4.0, 1.0, 0.25))
    print(warm, mild, cold, sep="\n")
    assert warm.bias > mild.bias + 0.1 > cold.bias + 0.2
    assert cold.bias > 10 * cold.error
    assert warm.deviation < mild.deviation < cold.deviation


def test_the_bias_that_stays_is_that_of_a_curved_decoder() -> None:
    """Linear in its latents, a decoder is told the truth by straight-through gradients as the temperature falls."""
    of = toy()
    slope = torch.randn(DIM, 2, generator=torch.Generator().manual_seed(2))
    bottleneck = GumbelBottleneck(DIM, CODES)
    z_e = of.z_e.clone().requires_grad_()
    mean = bottleneck.posterior.log_probabilities(z_e).exp() @ bottleneck.posterior.codebook
    (truth,) = torch.autograd.grad((mean.transpose(1, 2) * slope).sum(), z_e)
    found = []
    for temperature in (1.0, 0.05):
        bottleneck.start = bottleneck.end = temperature
        found.append(gradients(lambda z: (bottleneck(z).z_q * slope).sum(), of.z_e, 60_000))
    mild, cold = (compare(estimates, truth[0]) for estimates in found)
    print(mild, cold, sep="\n")
    assert mild.bias > 10 * mild.error
    assert cold.bias < 4 * cold.error < 0.1


def test_the_temperature_falls_geometrically_and_stays(z_e: Tensor) -> None:
    """Start, half way in ratio, end, and the end for good."""
    bottleneck = GumbelBottleneck(4, 5, start=2.0, end=0.5, anneal_steps=4)
    seen = []
    for _ in range(7):
        seen.append(float(bottleneck.temperature))
        bottleneck.update(bottleneck(z_e))
    expected = [2.0, 2**0.5, 1.0, 2**-0.5, 0.5, 0.5, 0.5]
    assert seen == pytest.approx(expected)
    assert float(GumbelBottleneck(4, 5, end=0.7, anneal_steps=0).temperature) == pytest.approx(0.7)


def test_the_temperature_is_part_of_the_state(z_e: Tensor) -> None:
    """Loaded into a new module, a state goes on to the bit: same temperature, draws and gradients."""
    bottleneck = GumbelBottleneck(4, 5, anneal_steps=10)
    for _ in range(4):
        bottleneck.update(bottleneck(z_e))
    other = GumbelBottleneck(4, 5, anneal_steps=10)
    other.load_state_dict(copy.deepcopy(bottleneck.state_dict()))
    z_e.requires_grad_()
    grads = []
    for module in (bottleneck, other):
        torch.manual_seed(1)
        grads.append(torch.autograd.grad(module(z_e).z_q.pow(2).sum(), z_e)[0])
    assert torch.equal(*grads)
    assert float(other.temperature) < 2.0


def test_the_cost_is_the_weighted_divergence(z_e: Tensor) -> None:
    """Its mean over batch and frames times the weight, in nats."""
    bottleneck = GumbelBottleneck(4, 5, kl_weight=0.3)
    output = bottleneck(z_e)
    torch.testing.assert_close(output.kl, 0.3 * bottleneck.divergence(z_e).mean())
    assert float(output.loss) == 0


@pytest.mark.parametrize("temperatures", [(0.0, 0.5), (1.0, -1.0)])
def test_a_temperature_is_above_zero(temperatures: tuple[float, float]) -> None:
    """Nothing can be divided by 0."""
    with pytest.raises(ValueError, match="both must be above 0"):
        GumbelBottleneck(4, 5, *temperatures)
