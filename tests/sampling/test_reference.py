"""The reference engine against the parallel pass, and what drawing by it keeps to."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import wavenets
from hypothesis import given
from hypothesis import strategies as st
from joined import sample as joined
from torch import Tensor

from vqspeech import sampling
from vqspeech.errors import ConfigurationError
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import LOWEST_TEMPERATURE, Sampling, reference, uniforms
from vqspeech.sampling.reference import Cache, choose, nucleus

LEVELS, CHANNELS = 16, (6, 8, 10)

REFERENCE = Sampling(engine="reference")
draw = partial(sampling.draw, sampling=REFERENCE)
sample = partial(joined, sampling=REFERENCE)
make = partial(wavenets.make, levels=LEVELS, channels=CHANNELS)


def conditions(*frames: int) -> list[Tensor]:
    """Return a condition, (frames, 4), for each stream."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 4, generator=generator) for n in frames]


@pytest.fixture(scope="module")
def net() -> WaveNet:
    return make([1, 2, 4])


LAGS = st.one_of(st.sampled_from([-1, 0, 1, 2**62]), st.integers(2, 60))


@torch.inference_mode()
@given(
    dilations=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    hop=st.integers(1, 7),
    lags=st.lists(LAGS, min_size=1, max_size=12),
    taps=st.booleans(),
    dropped=st.integers(0, 90),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_logits_are_those_of_the_parallel_pass(
    dilations: list[int], hop: int, lags: list[int], taps: bool, dropped: int, dtype: torch.dtype
) -> None:
    """With a period for each frame, none where unvoiced, some longer than the past: float32, the same to 2e-5."""
    net = make(dilations, taps=taps).to(dtype)
    condition = conditions(len(lags))[0].to(dtype)
    previous = net.previous(torch.randint(LEVELS, (1, len(lags) * hop)))
    lag = torch.tensor(lags) if taps else None
    samples = max(0, len(lags) * hop - dropped)
    found = reference.logits(net, condition, hop, previous[0, :samples], "fp32", lag)
    assert (found.shape, found.dtype) == ((samples, LEVELS), torch.float32)
    expected = net(previous, condition[None], lag=lag if lag is None else lag[None])[0, :samples]
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=2e-5)


@torch.inference_mode()
@given(
    dilations=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    lags=st.lists(st.lists(LAGS, min_size=1, max_size=9), min_size=1, max_size=4),
    taps=st.booleans(),
    hop=st.integers(1, 7),
    dropped=st.integers(0, 6),
    block=st.integers(1, 20),
    how=st.builds(
        partial(replace, REFERENCE),
        temperature=st.sampled_from([0, 1e-320, 1e-45, 1e-30, 1e-7, 0.7, 1.0]),
        top_p=st.sampled_from([1e-6, 0.5, 1.0]),
    ),
)
def test_draws_are_those_of_the_parallel_pass(
    dilations: list[int],
    lags: list[list[int]],
    taps: bool,
    hop: int,
    dropped: int,
    block: int,
    how: Sampling,
) -> None:
    """Streams of unequal lengths, in blocks of any size: each draw follows from its own past, number and lags."""
    net = make(dilations, taps=taps).double()
    given_conditions = [condition.double() for condition in conditions(*map(len, lags))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "BLOCK_SAMPLES", block)
        found = sample(
            net,
            given_conditions,
            hop,
            [max(1, len(row) * hop - dropped) for row in lags],
            seeds=range(len(lags)),
            sampling=how,
            lags=[torch.tensor(row) for row in lags] if taps else None,
        )
    for seed, (drawn, condition, row) in enumerate(zip(found, given_conditions, lags, strict=True)):
        padded = torch.nn.functional.pad(drawn, (0, len(row) * hop - len(drawn)))[None]
        lag = torch.tensor([row]) if taps else None
        logits = net(net.previous(padded), condition[None], lag=lag)[0, : len(drawn)]
        numbers = uniforms(len(drawn), seed)
        expected = choose(logits, numbers, how.effective_temperature, how.top_p)
        assert torch.equal(expected, drawn)
        if how.effective_temperature == 0:
            assert torch.equal(logits.argmax(1), drawn)


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


def test_streams_of_no_samples_and_no_streams(net: WaveNet) -> None:
    """Nothing asked for is nothing drawn, beside others or alone."""
    assert sample(net, [], 4, [], seeds=[]) == []
    empty, full = sample(net, conditions(1, 1), 4, [0, 3], seeds=[0, 1])
    assert (len(empty), len(full)) == (0, 3)
    assert [len(levels) for levels in sample(net, conditions(1), 4, [0], seeds=[0])] == [0]


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
    net = wavenets.make([1, 1], levels, CHANNELS, spread=1.0)
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
