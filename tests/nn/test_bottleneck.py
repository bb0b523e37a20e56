"""What all bottlenecks keep, whatever lies between the encoder's output and the decoder's input."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vqspeech.models.config import BOTTLENECKS, DISCRETE
from vqspeech.nn.bottleneck import Bottleneck, BottleneckOutput, DiscreteBottleneck

BATCH, DIM, FRAMES, CODES = 3, 4, 10, 7
STOCHASTIC = {"gaussian", "gumbel", "vimco"}
Make = Callable[[], Bottleneck]


@pytest.fixture(params=BOTTLENECKS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make(kind: str) -> Make:
    """Return a function that makes a bottleneck of each kind, always with the same weights."""

    def build() -> Bottleneck:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return BOTTLENECKS[kind](DIM, **({"codebook_size": CODES} if kind in DISCRETE else {}))

    return build


@pytest.fixture
def z_e() -> Tensor:
    return torch.randn(BATCH, DIM, FRAMES, generator=torch.Generator().manual_seed(0))


def seeded(bottleneck: Bottleneck, z_e: Tensor) -> BottleneckOutput:
    torch.manual_seed(5)
    return bottleneck(z_e)


def parts(output: BottleneckOutput) -> list[Tensor]:
    """Every tensor of an output."""
    of_draws = () if output.draws is None else output.draws
    every = (output.z_e, output.z_q, output.codes, output.loss, output.kl, *of_draws)
    return [part for part in every if part is not None]


def test_shapes(kind: str, make: Make, z_e: Tensor) -> None:
    """One vector a frame, one code a frame where there are any, scalars to add to the loss."""
    output = make()(z_e)
    assert output.z_q.shape == z_e.shape
    assert output.z_q.dtype == torch.float32
    assert output.loss.shape == ()
    assert output.kl is None or output.kl.shape == ()
    assert (output.codes is not None) == (kind in DISCRETE)


def test_codes_are_in_range_and_stand_for_their_vectors(kind: str, make: Make, z_e: Tensor) -> None:
    """A bottleneck with codes has the whole discrete interface; one without says so by its size."""
    bottleneck = make()
    if kind not in DISCRETE:
        assert bottleneck.codebook_size is None
        assert not isinstance(bottleneck, DiscreteBottleneck)
        return
    assert isinstance(bottleneck, DiscreteBottleneck)
    output = bottleneck(20 * z_e)
    assert output.codes.dtype == torch.int64
    assert output.codes.shape == (BATCH, FRAMES)
    assert 0 <= int(output.codes.min()) < int(output.codes.max()) < CODES
    assert bottleneck.codebook_size == CODES
    torch.testing.assert_close(bottleneck.dequantize(output.codes), output.z_q)


def test_the_gradient_of_the_decoder_reaches_the_encoder(make: Make, z_e: Tensor) -> None:
    """Every frame of `z_e` has one, of its own frame of `z_q` and of no other."""
    bottleneck = make()
    z_e.requires_grad_()
    z_q = seeded(bottleneck, z_e).z_q
    (grad,) = torch.autograd.grad(z_q[1, :, 4].pow(3).sum(), z_e)
    assert grad[1, :, 4].abs().max() > 0
    grad[1, :, 4] = 0
    assert grad.abs().max() == 0


def test_every_weight_learns(make: Make, z_e: Tensor) -> None:
    """From what the decoder hands back, from a loss of its own, or from the draws."""
    bottleneck = make()
    output = seeded(bottleneck, z_e.requires_grad_())
    learned = [part for part in parts(output) if part.requires_grad]
    torch.stack([part.pow(3).sum() for part in learned]).sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in bottleneck.parameters())


def test_evaluation_has_no_noise(make: Make, z_e: Tensor) -> None:
    """Twice the same to the bit, what `latents` gives in either mode, and no random number is drawn."""
    bottleneck = make()
    told = bottleneck.latents(z_e)
    bottleneck.eval()
    before = torch.get_rng_state()
    output = bottleneck(z_e)
    assert torch.equal(before, torch.get_rng_state())
    assert output.draws is None
    torch.testing.assert_close(output.z_q, told)
    assert torch.equal(bottleneck(z_e).z_q, output.z_q)
    if output.codes is not None:
        assert torch.equal(output.codes, bottleneck.encode(z_e))


def test_the_noise_of_training_follows_the_seed(kind: str, make: Make, z_e: Tensor) -> None:
    """The same seed gives the same output to the bit; where there is noise, another seed gives another."""
    bottleneck = make()
    one, same = seeded(bottleneck, z_e), seeded(bottleneck, z_e)
    assert all(torch.equal(a, b) for a, b in zip(parts(one), parts(same), strict=True))
    assert torch.equal(bottleneck(z_e).z_q, one.z_q) != (kind in STOCHASTIC)


def test_a_recording_does_not_hang_on_the_rest_of_the_batch(make: Make, z_e: Tensor) -> None:
    """In evaluation each row comes out alone as it does with others."""
    bottleneck = make().eval()
    together = bottleneck(z_e)
    for row in range(BATCH):
        alone = bottleneck(z_e[row : row + 1])
        torch.testing.assert_close(alone.z_q[0], together.z_q[row])
        if alone.codes is not None:
            assert torch.equal(alone.codes[0], together.codes[row])


def test_autocast_changes_nothing(make: Make, z_e: Tensor) -> None:
    """Draws, latents and divergences are computed in fp32 whatever autocast says."""
    bottleneck = make()
    plain = seeded(bottleneck, z_e)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = seeded(bottleneck, z_e)
        half = bottleneck(z_e.bfloat16())
        told = bottleneck.latents(z_e)
        divergence = bottleneck.divergence(z_e)
    for found, expected in zip(parts(cast), parts(plain), strict=True):
        assert torch.equal(found, expected)
    assert all(part.dtype in (torch.float32, torch.int64) for part in parts(half)[1:])
    assert torch.equal(told, bottleneck.latents(z_e))
    assert torch.equal(divergence, bottleneck.divergence(z_e))


def test_forward_moves_nothing(make: Make, z_e: Tensor) -> None:
    """A batch with a NaN, whose step is skipped, leaves no trace in parameters or buffers."""
    bottleneck = make().train()
    before = copy.deepcopy(bottleneck.state_dict())
    z_e[0, 0, 0] = float("nan")
    bottleneck(z_e)
    for key, value in bottleneck.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_its_state_is_all_it_goes_on_from(make: Make, z_e: Tensor) -> None:
    """Two steps, a new module with the state, and a third step: to the bit as three steps in one go."""

    def step(bottleneck: Bottleneck, number: int) -> Tensor:
        torch.manual_seed(number)
        output = bottleneck(z_e + number)
        loss = output.loss + output.z_q.pow(2).mean()
        weights = list(bottleneck.parameters())
        # a vector that no frame of these few has chosen has no gradient
        grads = torch.autograd.grad(loss, weights, allow_unused=True) if weights else []
        with torch.no_grad():
            for weight, grad in zip(weights, grads, strict=True):
                if grad is not None:
                    weight -= 0.1 * grad
        bottleneck.update(output)
        return output.z_q

    straight, stopped = make(), make()
    for bottleneck in (straight, stopped):
        bottleneck.initialise(z_e, seed=3)
        for number in range(2):
            step(bottleneck, number)
    resumed = make()
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    assert torch.equal(step(resumed, 2), step(straight, 2))
    for key, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_the_divergence_is_of_a_frame(kind: str, make: Make, z_e: Tensor) -> None:
    """(batch, frames) of nats, the same in either mode: without noise log K where there are codes, else no bound."""
    bottleneck = make()
    divergence = bottleneck.divergence(z_e)
    assert divergence.shape == (BATCH, FRAMES)
    assert torch.equal(bottleneck.eval().divergence(z_e), divergence)
    if kind in STOCHASTIC:
        assert (divergence > 0).all()
        assert len(divergence.unique()) > BATCH
    else:
        expected = math.log(CODES) if kind in DISCRETE else math.inf
        assert (divergence == torch.tensor(expected)).all()
        assert bottleneck(z_e).kl is None
