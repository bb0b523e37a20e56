"""The reference engine against the parallel pass, and what drawing by it keeps to."""

import gc
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from joined import sample as joined
from torch import Tensor

from vqspeech import sampling
from vqspeech.errors import ConfigurationError
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import ENGINES, LOWEST_TEMPERATURE, Sampling, reference, uniforms
from vqspeech.sampling.reference import Cache, choose, nucleus

LEVELS = 16

REFERENCE = Sampling(engine="reference")
draw = partial(sampling.draw, sampling=REFERENCE)
sample = partial(joined, sampling=REFERENCE)


def make(
    dilations: list[int], levels: int = LEVELS, spread: float = 4.0, taps: bool = False
) -> WaveNet:
    """Return a small net with clear preferences, so that neighbours in time and condition matter."""
    torch.manual_seed(0)
    net = WaveNet(levels, dilations, 6, 8, 10, 4, pitch_taps=taps).eval()
    torch.nn.init.normal_(net.residual_bias)
    if net.taps is not None:
        torch.nn.init.normal_(net.taps)
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


LAGS = st.one_of(st.sampled_from([-1, 0, 1, 2**62]), st.integers(2, 60))


@torch.inference_mode()
@given(
    dilations=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    hop=st.integers(1, 7),
    lags=st.lists(LAGS, min_size=1, max_size=12),
)
def test_steps_with_pitch_taps_give_the_logits_of_the_parallel_pass(
    dilations: list[int], hop: int, lags: list[int]
) -> None:
    """With a period for each frame, none where unvoiced, some longer than the past, to the same 2e-5."""
    net = make(dilations, taps=True)
    (condition,) = conditions(len(lags))
    levels = torch.randint(LEVELS, (1, len(lags) * hop))
    previous, lag = net.previous(levels), torch.tensor(lags)
    found = reference.logits(net, condition, hop, previous[0], "fp32", lag)
    expected = net(previous, condition[None], lag=lag[None])[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


@torch.inference_mode()
@given(
    lags=st.lists(st.lists(LAGS, min_size=1, max_size=9), min_size=1, max_size=4),
    hop=st.integers(1, 7),
    block=st.integers(1, 20),
)
def test_draws_with_pitch_taps_are_those_of_the_parallel_pass(
    lags: list[list[int]], hop: int, block: int
) -> None:
    """Streams of unequal lengths together, in blocks of any size: each draw follows from its own past and lags."""
    net = make([1, 3, 9], taps=True).double()
    given_conditions = [condition.double() for condition in conditions(*map(len, lags))]
    samples = [len(row) * hop for row in lags]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "BLOCK_SAMPLES", block)
        found = sample(
            net,
            given_conditions,
            hop,
            samples,
            seeds=range(len(lags)),
            lags=[torch.tensor(row) for row in lags],
        )
    for seed, (drawn, condition, row) in enumerate(zip(found, given_conditions, lags, strict=True)):
        logits = net(net.previous(drawn[None]), condition[None], lag=torch.tensor([row]))[0]
        assert torch.equal(choose(logits, uniforms(len(drawn), seed), 1.0), drawn)


def test_lags_go_with_pitch_taps_frame_by_frame(net: WaveNet) -> None:
    """A net with taps needs lags, one without takes none, and there is one for each frame."""
    lag = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="no pitch taps was given a lag"):
        draw(net, conditions(2), 4, [8], seeds=[0], lags=[lag])
    tapped = make([1], taps=True)
    with pytest.raises(ValueError, match="pitch taps was given no lag"):
        draw(tapped, conditions(2), 4, [8], seeds=[0])
    with pytest.raises(ValueError, match="as many lags"):
        draw(tapped, conditions(2), 4, [8], seeds=[0], lags=[lag[:1]])


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
    (drawn,) = sample(
        net, [condition], hop, [samples], seeds=[3], sampling=replace(REFERENCE, temperature=0.7)
    )
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
    coldest = replace(REFERENCE, temperature=temperature)
    (found,) = sample(net, conditions(6), 4, [24], seeds=[1], sampling=coldest)
    logits = net(net.previous(found[None]), torch.stack(conditions(6)))
    assert torch.equal(logits[0].argmax(1), found)


@pytest.mark.parametrize("temperature", [LOWEST_TEMPERATURE, 1e-3, 1.0, 1e10, float("inf")])
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
        sampling=replace(REFERENCE, temperature=temperature),
    )
    first, second = torch.stack(drawn).T
    seen = torch.bincount(first * levels + second, minlength=levels**2)

    every = torch.stack([torch.arange(levels), torch.zeros(levels, dtype=torch.int64)], 1)
    logits = net(net.previous(every), condition.expand(levels, 1, -1)) / temperature
    probability = logits.softmax(2)
    expected = streams * (probability[0, 0][:, None] * probability[:, 1]).flatten()
    assert expected.min() > 5
    assert ((seen - expected).square() / expected).sum() < 37.7


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    hop=st.integers(1, 7),
    block=st.integers(1, 50),
)
def test_blocks_joined_do_not_depend_on_their_size(
    net: WaveNet, lengths: list[int], hop: int, block: int
) -> None:
    """No yield brings a stream more than a block, and joined they are the draw in one block."""
    given_conditions = conditions(*[-(-length // hop) for length in lengths])
    seeds = list(range(len(lengths)))
    whole = sample(net, given_conditions, hop, lengths, seeds=seeds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "BLOCK_SAMPLES", block)
        yielded = list(draw(net, given_conditions, hop, lengths, seeds=seeds))
    assert len(yielded) == -(-max(lengths) // block)
    for i, expected in enumerate(whole):
        blocks = [blocks[i] for blocks in yielded]
        assert all(len(b) <= block and b.dtype == torch.int64 for b in blocks)
        assert torch.equal(torch.cat([*blocks, torch.empty(0, dtype=torch.int64)]), expected)


def test_conditions_are_projected_a_block_at_a_time(
    net: WaveNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is projected at once is the frames of a block, however long the recording is."""
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 8)
    seen: list[int] = []
    handle = net.condition.register_forward_pre_hook(
        lambda _module, args: seen.append(args[0].shape[0])
    )
    try:
        sample(net, conditions(50, 20), 3, [150, 60], seeds=[0, 1])
    finally:
        handle.remove()
    assert len(seen) == 19
    assert max(seen) <= 4


@pytest.mark.parametrize("end", ["close", "delete"])
def test_a_draw_that_is_closed_computes_no_more(
    net: WaveNet, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Steps are made when blocks are asked for, and none after the end."""
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 8)
    steps = 0
    step = Cache.step

    def counted(*args: object) -> Tensor:
        nonlocal steps
        steps += 1
        return step(*args)

    monkeypatch.setattr(Cache, "step", counted)
    blocks = draw(net, conditions(10), 4, [40], seeds=[0])
    assert steps == 0
    next(blocks)
    assert steps == 8
    if end == "close":
        blocks.close()
        assert list(blocks) == []
    else:
        del blocks
        gc.collect()
    assert steps == 8


def test_the_caller_keeps_its_threads_and_its_gradients(
    net: WaveNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between blocks torch is as the caller had it; within, it has one thread and inference mode."""
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 8)
    within: list[tuple[int, bool]] = []
    step = Cache.step

    def watched(*args: object) -> Tensor:
        within.append((torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return step(*args)

    monkeypatch.setattr(Cache, "step", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for _ in draw(net, conditions(10), 4, [40], seeds=[0]):
            assert (torch.get_num_threads(), torch.is_inference_mode_enabled()) == (3, False)
    finally:
        torch.set_num_threads(before)
    assert set(within) == {(1, True)}


@pytest.mark.parametrize(
    ("probability", "top_p", "kept"),
    [
        ([0.5, 0.25, 0.125, 0.125], 0.5, [0]),
        ([0.5, 0.25, 0.125, 0.125], 0.51, [0, 1]),
        ([0.5, 0.25, 0.125, 0.125], 0.75, [0, 1]),
        ([0.125, 0.25, 0.125, 0.5], 0.8, [0, 1, 3]),
        ([0.125, 0.25, 0.125, 0.5], 0.9, [0, 1, 2, 3]),
        ([0.25, 0.25, 0.25, 0.25], 0.5, [0, 1]),
        ([0.25, 0.25, 0.25, 0.25], 0.51, [0, 1, 2]),
        ([0.0, 0.5, 0.0, 0.5], 1e-9, [1]),
        ([0.0, 0.5, 0.0, 0.5], 0.99, [1, 3]),
    ],
)
def test_nucleus_by_hand(probability: list[float], top_p: float, kept: list[int]) -> None:
    """The likeliest come first, the one that reaches top_p is kept, ties go to the lower level."""
    found = nucleus(torch.tensor([probability]), top_p)[0]
    assert found.nonzero().flatten().tolist() == kept


def test_the_nucleus_is_of_the_probabilities_at_the_temperature() -> None:
    """Colder, fewer levels hold the same probability; those kept are drawn in order of level, renormalised."""
    logits = torch.tensor([[0.1, 0.6, 0.1, 0.2]]).log().expand(8, -1)
    uniform = (torch.arange(8) + 0.5) / 8
    assert choose(logits, uniform, 1.0, 0.75).tolist() == [1, 1, 1, 1, 1, 1, 3, 3]
    assert choose(logits, uniform, 0.5, 0.75).tolist() == [1] * 8
    assert choose(logits, uniform, 100.0, 0.76).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@given(
    logits=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=9),
    top_p=st.floats(1e-6, 1),
    uniform=st.floats(0, 1, exclude_max=True, width=32),
    temperature=st.floats(0.1, 5),
)
def test_no_draw_leaves_the_nucleus(
    logits: list[float], top_p: float, uniform: float, temperature: float
) -> None:
    """Whatever the distribution and the number, the level is one of those kept."""
    row = torch.tensor([logits])
    (level,) = choose(row, torch.tensor([uniform]), temperature, top_p).tolist()
    kept = nucleus(torch.softmax(row / temperature, 1), top_p)[0]
    assert kept[level]


@given(seed=st.integers(0, 100))
def test_the_ends_of_top_p(seed: int) -> None:
    """At 1 the draw is that of the whole distribution bit for bit; next to 0 it is the argmax."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(20, 256, generator=generator)
    uniform = torch.rand(20, generator=generator)
    whole = choose(logits, uniform, 0.9)
    assert torch.equal(choose(logits, uniform, 0.9, 1.0), whole)
    assert torch.equal(choose(logits, uniform, 0.9, 1e-6), logits.argmax(1))
    assert not torch.equal(choose(logits, uniform, 0.9, 0.3), whole)


def test_top_p_reaches_the_draw(net: WaveNet) -> None:
    """Next to 0 it gives the levels of temperature 0, at 1 those without it, and between others."""
    colder, none, tiny, half = (
        sample(net, conditions(10), 4, [40], seeds=[1], sampling=how)[0]
        for how in (
            replace(REFERENCE, temperature=0),
            REFERENCE,
            replace(REFERENCE, top_p=1e-6),
            replace(REFERENCE, top_p=0.5),
        )
    )
    assert torch.equal(tiny, colder)
    assert not torch.equal(half, none)
    assert not torch.equal(half, colder)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("samples", [0, 1, 22, 24])
def test_logits_are_those_of_the_parallel_pass(samples: int, dtype: torch.dtype) -> None:
    """Given the levels, the engine's own steps lead to the logits of the parallel pass, in float32."""
    net = make([1, 2, 4]).to(dtype)
    (condition,) = conditions(6)
    condition = condition.to(dtype)
    previous = torch.randint(LEVELS, (24,))
    found = reference.logits(net, condition, 4, previous[:samples], "fp32")
    assert (found.shape, found.dtype) == ((samples, LEVELS), torch.float32)
    expected = net(previous[None], condition[None])[0, :samples].float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


def test_auto_is_an_engine_that_runs_here(net: WaveNet) -> None:
    """The default is the first of the engines that runs where the model is."""
    first = next(n for n, e in ENGINES.items() if e.unavailable_reason(torch.device("cpu")) is None)
    one, other = (
        sample(net, conditions(5), 4, [20], seeds=[0], sampling=Sampling(engine=engine))[0]
        for engine in ("auto", first)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Sampling(engine="warp"), "engine 'warp'"),
        (Sampling(engine="reference", mode="int3"), "mode 'int3': engine reference has fp32"),
    ],
)
def test_errors_come_when_a_draw_is_asked_for(net: WaveNet, how: Sampling, expected: str) -> None:
    """An engine or mode that is not there is refused before the first block, with no stream too."""
    with pytest.raises(ConfigurationError, match=expected):
        draw(net, conditions(1), 4, [4], seeds=[0], sampling=how)
    with pytest.raises(ConfigurationError, match=expected):
        sample(net, [], 4, [], seeds=[], sampling=how)


def test_lengths_that_the_conditions_do_not_cover(net: WaveNet) -> None:
    """No stream is longer than its condition, and there are as many of all."""
    with pytest.raises(ValueError, match="5 samples asked of 1 frames of 4 samples"):
        draw(net, conditions(1), 4, [5], seeds=[0])
    with pytest.raises(ValueError, match="as many"):
        draw(net, conditions(1), 4, [4], seeds=[0, 1])
