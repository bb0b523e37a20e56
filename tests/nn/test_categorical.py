"""The categorical posterior: its start from data, its distance from the prior, its straight-through gradient."""

import math

import pytest
import torch
from torch import Tensor

from vqspeech.nn.bottleneck import BottleneckOutput
from vqspeech.nn.categorical import Categorical, divergence_from_uniform, gumbel
from vqspeech.nn.codebook import nearest
from vqspeech.nn.vq import as_rows


@pytest.fixture
def z_e() -> Tensor:
    return torch.randn(3, 4, 10, generator=torch.Generator().manual_seed(0))


def test_it_starts_as_a_vector_quantizer(z_e: Tensor) -> None:
    """Codes sit on cluster centres far from where they were, and the likeliest one is the nearest."""
    z_e = 100 + 5 * z_e
    posterior = Categorical(4, 6)
    posterior.initialise(z_e, seed=0)
    codes = posterior.encode(z_e)
    assert torch.equal(codes.flatten(), nearest(as_rows(z_e), posterior.codebook))
    assert len(codes.unique()) == 6
    entropy = math.log(6) - divergence_from_uniform(posterior.log_probabilities(z_e)).mean()
    assert 0.05 < float(entropy.detach()) < 1.5


def test_it_starts_from_less_data_than_codes_and_from_silence() -> None:
    """Two outputs for six codes, or one value everywhere, leave finite logits."""
    for z_e in (torch.randn(1, 4, 2), torch.zeros(1, 4, 9)):
        posterior = Categorical(4, 6)
        posterior.initialise(z_e, seed=0)
        assert posterior.log_probabilities(z_e).isfinite().all()


def test_the_divergence_of_the_ends() -> None:
    """0 of a uniform posterior, log K of a certain one, log K - log 2 of a coin."""
    certain = torch.tensor([0.0, -200.0, -200.0, -200.0]).log_softmax(0)
    coin = torch.tensor([0.0, 0.0, -200.0, -200.0]).log_softmax(0)
    found = divergence_from_uniform(torch.stack([torch.zeros(4).log_softmax(0), certain, coin]))
    torch.testing.assert_close(found, torch.tensor([0.0, math.log(4), math.log(2)]))


def test_gradients_pass_as_if_the_mean_had_been_taken(z_e: Tensor) -> None:
    """To the weights: the decoder's gradient times each code's vector. To the table: to the chosen codes alone."""
    posterior = Categorical(4, 6)
    codes = torch.arange(30).view(3, 10) % 5
    weights = torch.randn(3, 10, 6).softmax(-1).requires_grad_()
    z_q = posterior.straight_through(codes, weights)
    assert torch.equal(z_q, posterior.dequantize(codes))
    at_z_q = torch.randn_like(z_q)
    at_weights, at_table = torch.autograd.grad(z_q, [weights, posterior.codebook], at_z_q)
    torch.testing.assert_close(at_weights, at_z_q.transpose(1, 2) @ posterior.codebook.T)
    expected = torch.zeros(6, 4).index_add_(0, codes.flatten(), as_rows(at_z_q))
    torch.testing.assert_close(at_table, expected)
    assert at_table[5].abs().max() == 0


def drawn(posterior: Categorical, z_e: Tensor) -> BottleneckOutput:
    """What an update needs: draws of codes."""
    log_q = posterior.log_probabilities(z_e)
    codes = (log_q + gumbel(log_q)).argmax(-1)
    return BottleneckOutput(z_e, posterior.dequantize(codes), codes, z_e.new_zeros(()))


def test_a_dead_code_becomes_a_twin_and_is_drawn(z_e: Tensor) -> None:
    """A code that nothing draws gets the vector of a busy one and a part of its frames; the others keep theirs."""
    torch.manual_seed(0)
    posterior = Categorical(4, 6, dead_below=0.05, decay=0.5)
    posterior.initialise(z_e, seed=0)
    with torch.no_grad():
        posterior.logits.bias[3] = -1e3
    before = posterior.log_probabilities(z_e).exp().detach()
    for _ in range(20):
        posterior.update(drawn(posterior, z_e))
        if posterior.logits.bias[3] > -1e3:
            break
    else:
        pytest.fail("the code was not revived")
    twin = torch.nonzero((posterior.codebook == posterior.codebook[3]).all(1))[:, 0].tolist()
    assert len(twin) == 2
    after = posterior.log_probabilities(z_e).exp().detach()
    assert after[..., 3].max() > 0.2
    others = ~torch.isin(before.argmax(-1), torch.tensor(twin))
    assert others.sum() > 10
    kept = (before.argmax(-1) == after.argmax(-1))[others]
    assert kept.float().mean() > 0.9
    assert (drawn(posterior, z_e).codes == 3).any()
    weight = posterior.logits.weight.detach().clone()
    posterior.update(drawn(posterior, z_e))
    assert torch.equal(posterior.logits.weight, weight)


def test_twins_differ_by_one_at_an_output_and_at_the_mean() -> None:
    """One above the other at the output that revived it, one below at the mean of what drew the other."""
    torch.manual_seed(0)
    posterior = Categorical(4, 2, dead_below=0.5, decay=0.0)
    z_e = torch.randn(1, 4, 9)
    with torch.no_grad():
        posterior.logits.bias[1] = -1e3
    posterior.update(drawn(posterior, z_e))
    at_outputs, at_mean = (
        posterior.logits(x).detach().diff(dim=1)[0, 0] for x in (z_e, z_e.mean(2, keepdim=True))
    )
    assert float((at_outputs - 1).abs().min()) < 1e-3
    assert float(at_mean) == pytest.approx(-1, abs=1e-3)


def test_nothing_is_revived_unless_asked(z_e: Tensor) -> None:
    """With a threshold of 0 an update counts, and moves no weight."""
    posterior = Categorical(4, 6, dead_below=0)
    weights = [weight.detach().clone() for weight in posterior.parameters()]
    for _ in range(3):
        posterior.update(drawn(posterior, z_e + 50))
    assert int(posterior.updates) == 3
    assert all(torch.equal(a, b) for a, b in zip(posterior.parameters(), weights, strict=True))


def test_gumbel_draws_have_the_mean_and_variance_they_should() -> None:
    """Euler's constant, and pi squared over 6, within 5 standard errors."""
    torch.manual_seed(0)
    drawn = gumbel(torch.empty(200_000))
    variance = math.pi**2 / 6
    assert abs(float(drawn.mean()) - 0.57722) < 5 * (variance / 200_000) ** 0.5
    # the fourth central moment is 5.4 times the squared variance
    assert abs(float(drawn.var()) / variance - 1) < 5 * (4.4 / 200_000) ** 0.5
    assert drawn.isfinite().all()
