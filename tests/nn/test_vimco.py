"""The multi-sample bound and its gradient, against exact enumeration of a tiny decoder and against REINFORCE."""

import math

import pytest
import torch
from benchmarks.estimators import (
    CODES,
    DIM,
    compare,
    exact,
    expected_loss,
    gradients,
    reinforce,
    toy,
    vimco,
)
from torch import Tensor

from vqspeech.nn.vimco import VIMCO, multi_sample


@pytest.fixture
def z_e() -> Tensor:
    return torch.randn(3, 4, 10, generator=torch.Generator().manual_seed(0))


def test_the_bound_by_hand() -> None:
    """Two draws of weights 1 and 3 and of weights 2 and 2: the logarithm of the mean weight, 2."""
    likelihood = torch.tensor([[math.log(2.0), 0.5], [math.log(6.0), math.log(4.0)]])
    ratio = torch.tensor([[math.log(2.0), 0.5 - math.log(2.0)], [math.log(2.0), math.log(2.0)]])
    found = multi_sample(likelihood, ratio)
    torch.testing.assert_close(found.bound, torch.full((2,), math.log(2.0)))
    torch.testing.assert_close(found.loss, -found.bound)


def test_the_gradient_by_hand() -> None:
    """Shares of the weights for the value; L - log((w + w) / 2) for the chance, w the other draw's weight."""
    likelihood = torch.tensor([[math.log(1.0)], [math.log(3.0)]], requires_grad=True)
    ratio = torch.zeros(2, 1, requires_grad=True)
    loss = multi_sample(likelihood, ratio).loss.sum()
    at_likelihood, at_ratio = torch.autograd.grad(loss, [likelihood, ratio])
    torch.testing.assert_close(at_likelihood, torch.tensor([[-0.25], [-0.75]]))
    signal = torch.tensor([[math.log(2.0 / 3.0)], [math.log(2.0 / 1.0)]])
    torch.testing.assert_close(at_ratio, torch.tensor([[0.25], [0.75]]) - signal)


def test_the_geometric_mean_stands_in_for_a_draw() -> None:
    """Of three draws, one is replaced by the mean of the logarithms of the other two."""
    likelihood = torch.tensor([[0.3], [-1.0], [2.0]])
    ratio = torch.zeros(3, 1, requires_grad=True)
    (grad,) = torch.autograd.grad(multi_sample(likelihood, ratio).loss.sum(), ratio)
    bound = likelihood.logsumexp(0)
    replaced = torch.tensor([0.5, -1.0, 2.0]).logsumexp(0)
    share = (likelihood[0] - bound).exp()
    torch.testing.assert_close(grad[0], share - (bound - replaced))


def test_weights_that_no_float_holds() -> None:
    """Likelihoods of thousands of nats, as of seconds of sound, give finite bounds and gradients."""
    likelihood = torch.tensor([[-9000.0], [-9500.0], [-20000.0]], requires_grad=True)
    ratio = torch.zeros(3, 1, requires_grad=True)
    found = multi_sample(likelihood, ratio)
    grads = torch.autograd.grad(found.loss.sum(), [likelihood, ratio])
    torch.testing.assert_close(found.bound, torch.tensor([-9000.0 - math.log(3)]))
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("draws", [2, 5])
def test_the_gradient_to_the_encoder_is_unbiased(draws: int) -> None:
    """The mean of many estimates is the exact gradient of the bound, within 4 standard errors of some percent."""
    of, bottleneck = toy(), VIMCO(DIM, CODES, draws)
    found = gradients(vimco(of, bottleneck), of.z_e, 60_000)
    off = compare(found, exact(of, bottleneck.posterior, draws))
    print(off)
    assert off.bias < 4 * off.error
    assert off.error < 0.02


@pytest.mark.parametrize("draws", [2, 5])
def test_control_variates_lower_the_variance(draws: int) -> None:
    """A plain score function aims at the same gradient and scatters at least five times as far."""
    of, bottleneck = toy(), VIMCO(DIM, CODES, draws)
    truth = exact(of, bottleneck.posterior, draws)
    plain, own = (
        compare(gradients(loss, of.z_e, 20_000), truth)
        for loss in (reinforce(of, bottleneck, draws), vimco(of, bottleneck))
    )
    print(plain, own, sep="\n")
    assert plain.bias < 4 * plain.error
    assert plain.deviation > 5 * own.deviation


def test_the_gradient_to_codebook_and_decoder_is_unbiased() -> None:
    """Vectors and decoder learn from the log of the mean weight: over many draws, from the bound itself."""
    of, bottleneck = toy(), VIMCO(DIM, CODES, 2)
    weights = [bottleneck.posterior.codebook, *of.decoder.parameters()]
    truth = torch.autograd.grad(expected_loss(of, bottleneck.posterior, of.z_e, 2), weights)
    loss, parts = vimco(of, bottleneck), []
    for _ in range(40):
        batch = loss(of.z_e.expand(1000, -1, -1)).mean()
        grads = torch.autograd.grad(batch, weights)
        parts.append(torch.cat([grad.flatten() for grad in grads]))
    found, expected = torch.stack(parts), torch.cat([grad.flatten() for grad in truth])
    off = compare(found, expected)
    assert off.bias < 4 * off.error
    assert off.error < 0.02


def test_the_expectation_of_the_bound_rises_with_the_draws() -> None:
    """More draws, a tighter bound (Burda et al. 2016); what is drawn has the enumerated mean."""
    of = toy()
    bottleneck = VIMCO(DIM, CODES, 5)
    with torch.no_grad():
        bounds = [-float(expected_loss(of, bottleneck.posterior, of.z_e, m)) for m in (1, 2, 5)]
        assert bounds == sorted(bounds)
        drawn = -vimco(of, bottleneck)(of.z_e.expand(20_000, -1, -1))
    assert abs(float(drawn.mean()) - bounds[2]) < 5 * float(drawn.std()) / 20_000**0.5


def test_draws_are_codes_with_their_log_ratio(z_e: Tensor) -> None:
    """Each draw is a vector of the table, its ratio log q + log K; draws differ; z_q is the first one."""
    torch.manual_seed(0)
    bottleneck = VIMCO(4, 5, 3)
    output = bottleneck(z_e)
    assert output.draws.z.shape == (3, 3, 4, 10)
    assert output.draws.log_ratio.shape == (3, 3, 10)
    log_q = bottleneck.posterior.log_probabilities(z_e)
    rows = output.draws.z.transpose(2, 3)
    codes = (rows[..., None, :] == bottleneck.posterior.codebook).all(-1).float().argmax(-1)
    expected = log_q.expand(3, -1, -1, -1).gather(3, codes[..., None])[..., 0] + math.log(5)
    torch.testing.assert_close(output.draws.log_ratio, expected)
    assert torch.equal(codes[0], output.codes)
    assert torch.equal(output.draws.z[0], output.z_q)
    assert (codes[0] != codes[1]).any()


def test_draws_have_no_gradient_but_through_their_chance(z_e: Tensor) -> None:
    """The likelihood reaches the posterior by the score alone; a head beside it by the straight-through z_q."""
    bottleneck = VIMCO(4, 5, 2)
    z_e.requires_grad_()
    output = bottleneck(z_e)
    assert torch.autograd.grad(output.draws.z.sum(), z_e, allow_unused=True, retain_graph=True) == (
        None,
    )
    for part in (output.draws.log_ratio, output.z_q.pow(2)):
        (grad,) = torch.autograd.grad(part.sum(), z_e, retain_graph=True)
        assert grad.abs().max() > 0


def test_one_draw_is_refused() -> None:
    """There is nothing to hold it against."""
    with pytest.raises(ValueError, match="at least 2"):
        VIMCO(4, 5, 1)
