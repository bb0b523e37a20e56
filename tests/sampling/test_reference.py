"""The reference engine against the parallel pass, and what any engine must keep to."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vqspeech.errors import ConfigurationError
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import COLDEST, ENGINES, sample, uniforms
from vqspeech.sampling.reference import Cache, choose

LEVELS = 16


def make(dilations: list[int], levels: int = LEVELS, spread: float = 4.0) -> WaveNet:
    """Return a small net with clear preferences, so that neighbours in time and condition matter."""
    torch.manual_seed(0)
    net = WaveNet(levels, dilations, 6, 8, 10, 4).eval()
    torch.nn.init.normal_(net.residual_bias)
    with torch.no_grad():
        net.output.weight.mul_(spread)
    return net


def conditions(*frames: int) -> list[Tensor]:
    """Return a condition, (frames, 4), for each stream."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 4, generator=generator) for n in frames]


@pytest.fixture(scope="module")
def net() -> WaveNet:
    return make([1, 2, 4])


@torch.inference_mode()
@given(
    dilations=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    hop=st.integers(1, 7),
    frames=st.integers(1, 8),
    streams=st.integers(1, 3),
)
def test_cached_steps_give_the_logits_of_the_parallel_pass(
    dilations: list[int], hop: int, frames: int, streams: int
) -> None:
    """Fed the same levels, both give the same logits up to rounding: 2e-5 where logits are of the order of 10."""
    net = make(dilations)
    condition = torch.stack(conditions(*[frames] * streams))
    levels = torch.randint(LEVELS, (streams, frames * hop))
    previous = net.previous(levels)
    projected = net.project(condition)
    cache = Cache(net, streams)
    steps = [
        cache.step(previous[:, time], list(projected[:, time // hop].unbind(1)))
        for time in range(frames * hop)
    ]
    torch.testing.assert_close(
        torch.stack(steps, 1), net(previous, condition), rtol=1e-5, atol=2e-5
    )


@torch.inference_mode()
@given(
    dilations=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    hop=st.integers(1, 7),
    frames=st.integers(1, 8),
    dropped=st.integers(0, 6),
)
def test_samples_are_the_draws_from_the_parallel_pass(
    dilations: list[int], hop: int, frames: int, dropped: int
) -> None:
    """Given what was drawn, the parallel logits and the stream's numbers lead to the same draw at each time."""
    net = make(dilations).double()
    (condition,) = conditions(frames)
    condition = condition.double()
    samples = max(1, frames * hop - dropped)
    (drawn,) = sample(net, [condition], hop, [samples], seeds=[3], temperature=0.7)
    assert drawn.shape == (samples,)
    padded = torch.nn.functional.pad(drawn, (0, frames * hop - samples))[None]
    logits = net(net.previous(padded), condition[None])[0, :samples]
    assert torch.equal(choose(logits, uniforms(samples, 3), 0.7), drawn)


def test_the_seed_decides(net: WaveNet) -> None:
    """The same seed gives the same levels whatever the global generator does; another seed gives others."""
    one, again, other = (
        sample(net, conditions(10), 4, [40], seeds=[seed])[0] for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.dtype == torch.int64
    assert len(one.unique()) > 3


def test_a_stream_is_the_same_alone_and_in_company(net: WaveNet) -> None:
    """Streams of unequal lengths, none in order of length, are what each is alone."""
    lengths, frames = [5, 40, 1, 33, 40, 12], [2, 10, 3, 9, 10, 3]
    given_conditions, seeds = conditions(*frames), [4, 5, 6, 7, 8, 5]
    together = sample(net, given_conditions, 4, lengths, seeds=seeds)
    for condition, length, seed, found in zip(
        given_conditions, lengths, seeds, together, strict=True
    ):
        (alone,) = sample(net, [condition], 4, [length], seeds=[seed])
        assert torch.equal(found, alone)


def test_streams_of_no_samples_and_no_streams(net: WaveNet) -> None:
    """Nothing asked for is nothing drawn, beside others or alone."""
    assert sample(net, [], 4, [], seeds=[]) == []
    empty, full = sample(net, conditions(1, 1), 4, [0, 3], seeds=[0, 1])
    assert (len(empty), len(full)) == (0, 3)
    assert [len(levels) for levels in sample(net, conditions(1), 4, [0], seeds=[0])] == [0]


@torch.inference_mode()
@pytest.mark.parametrize("temperature", [0, 1e-320, 1e-45, 1e-30, 1e-7])
def test_without_temperature_the_most_likely_level_is_taken(
    net: WaveNet, temperature: float
) -> None:
    """At 0 and at any temperature too low to divide by, each level is the argmax of its logits."""
    (found,) = sample(net, conditions(6), 4, [24], seeds=[1], temperature=temperature)
    logits = net(net.previous(found[None]), torch.stack(conditions(6)))
    assert torch.equal(logits[0].argmax(1), found)


@pytest.mark.parametrize("temperature", [COLDEST, 1e-3, 1.0, 1e10, float("inf")])
def test_choice_at_the_extremes_of_temperature(temperature: float) -> None:
    """The coldest ends at the top, the hottest is uniform, and neither is a division gone wrong."""
    logits = torch.tensor([[-100.0, 3.0, 5.0, -100.0], [90.0, 3.0, -5.0, 1.0]])
    chosen = [
        choose(logits, torch.full((2,), uniform), temperature).tolist()
        for uniform in (0.0, 0.3, 0.6, 1 - 2**-24)
    ]
    if temperature < 1:
        assert chosen == [[2, 0]] * 4
    elif temperature > 1:
        assert chosen == [[0, 0], [1, 1], [2, 2], [3, 3]]
    else:
        assert chosen[1:3] == [[2, 0], [2, 0]]


def test_extremes_of_the_uniform_number() -> None:
    """0 and the largest number below 1 take the first and the last level that can be at all."""
    never = -float("inf")
    logits = torch.tensor([[never, never, 0.0, 1.0, never], [0.0, 1.0, 2.0, 3.0, 4.0]])
    assert choose(logits, torch.zeros(2), 1.0).tolist() == [2, 0]
    assert choose(logits, torch.full((2,), 1 - 2**-24), 1.0).tolist() == [3, 4]
    many = torch.randn(500, 256, generator=torch.Generator().manual_seed(0))
    assert (choose(many, torch.full((500,), 1 - 2**-24), 1.0) == 255).all()
    assert (choose(many, torch.zeros(500), 1.0) == 0).all()


@torch.inference_mode()
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_follow_the_distribution(temperature: float) -> None:
    """Pairs of levels are as frequent as p(a) p(b | a): chi-square below its 0.999 quantile at 15 degrees."""
    streams, levels = 3000, 4
    net = make([1, 1], levels, spread=1.0)
    (condition,) = conditions(1)
    drawn = sample(
        net,
        [condition] * streams,
        2,
        [2] * streams,
        seeds=list(range(streams)),
        temperature=temperature,
    )
    first, second = torch.stack(drawn).T
    seen = torch.bincount(first * levels + second, minlength=levels**2)

    every = torch.stack([torch.arange(levels), torch.zeros(levels, dtype=torch.int64)], 1)
    logits = net(net.previous(every), condition.expand(levels, 1, -1)) / temperature
    probability = logits.softmax(2)
    expected = streams * (probability[0, 0][:, None] * probability[:, 1]).flatten()
    assert expected.min() > 5
    assert ((seen - expected).square() / expected).sum() < 37.7


def test_progress_counts_every_sample(net: WaveNet) -> None:
    """It rises to the total of all streams and says the total each time."""
    calls: list[tuple[int, int]] = []
    sample(
        net,
        conditions(10, 3),
        4,
        [37, 9],
        seeds=[0, 1],
        progress=lambda done, total: calls.append((done, total)),
    )
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert len(set(done)) > 5
    assert calls[-1] == (46, 46)
    assert {call[1] for call in calls} == {46}


def test_auto_is_an_engine_that_runs_here(net: WaveNet) -> None:
    """The default draws what the reference engine draws."""
    one, other = (
        sample(net, conditions(5), 4, [20], seeds=[0], engine=engine)[0]
        for engine in ("auto", "reference")
    )
    assert torch.equal(one, other)


def test_unknown_engine(net: WaveNet) -> None:
    """The error names what was asked for and what there is."""
    with pytest.raises(ConfigurationError, match="'warp'") as error:
        sample(net, conditions(1), 4, [4], seeds=[0], engine="warp")
    assert all(name in str(error.value) for name in ("auto", *ENGINES))


@pytest.mark.parametrize("temperature", [-1.0, float("nan")])
def test_temperatures_that_mean_nothing(net: WaveNet, temperature: float) -> None:
    """Negative ones and NaN are refused."""
    with pytest.raises(ConfigurationError, match="temperature"):
        sample(net, conditions(1), 4, [4], seeds=[0], temperature=temperature)


def test_lengths_that_the_conditions_do_not_cover(net: WaveNet) -> None:
    """No stream is longer than its condition, and there are as many of all."""
    with pytest.raises(ValueError, match="5 samples asked of 1 frames of 4 samples"):
        sample(net, conditions(1), 4, [5], seeds=[0])
    with pytest.raises(ValueError, match="as many"):
        sample(net, conditions(1), 4, [4], seeds=[0, 1])
