"""The native engine: against the parallel pass, and streams the same alone, in company, and on any threads."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import wavenets
from hypothesis import given, settings
from hypothesis import strategies as st
from joined import sample
from torch import Tensor

from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import BLOCK_SAMPLES, Sampling, draw, native, reference
from vqspeech.sampling.engine import Stream, uniforms

pytestmark = pytest.mark.skipif(
    native.unavailable_reason(torch.device("cpu")) is not None,
    reason=f"native engine {native.unavailable_reason(torch.device('cpu'))}",
)

INSTRUCTIONS = ["portable"]
if native.unavailable_reason(torch.device("cpu")) is None and native._native.has_avx2():
    INSTRUCTIONS.append("avx2")


@dataclass(frozen=True)
class Shape:
    """Sizes of a WaveNet and of a frame, and whether there are pitch taps."""

    dilations: list[int]
    levels: int
    residual: int
    gate: int
    skip: int
    condition: int
    hop: int
    taps: bool = False


SHAPES = st.builds(
    Shape,
    dilations=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    levels=st.integers(2, 70),
    residual=st.integers(1, 70),
    gate=st.integers(1, 70).map(lambda half: 2 * half),
    skip=st.integers(1, 140),
    condition=st.integers(1, 40),
    hop=st.integers(1, 12),
    taps=st.booleans(),
)
# two threads share one stream only where a step is worth it
LARGE = Shape([1, 2, 4, 8, 16, 32, 1, 2, 4, 8], 256, 64, 128, 192, 20, 10)
BOTH = pytest.mark.parametrize(
    "shape", [LARGE, replace(LARGE, taps=True)], ids=["plain", "pitch taps"]
)


def make(shape: Shape) -> WaveNet:
    channels = shape.residual, shape.gate, shape.skip
    net = wavenets.make(shape.dilations, shape.levels, channels, shape.condition, taps=shape.taps)
    return net.requires_grad_(False)


def condition(shape: Shape, frames: int, seed: int = 0) -> Tensor:
    return torch.randn(frames, shape.condition, generator=torch.Generator().manual_seed(seed))


def periods(shape: Shape, frames: int, seed: int = 0) -> Tensor | None:
    return wavenets.periods(frames, seed) if shape.taps else None


def batch(lag: Tensor | None) -> Tensor | None:
    """Return the lag of a stream as that of a batch of one."""
    return None if lag is None else lag[None]


def chosen(lags: Sequence[Tensor | None], which: Iterable[int]) -> list[Tensor] | None:
    """Return the lags of some streams as `sample` takes them: None where there are no taps."""
    return [lag for i in which if (lag := lags[i]) is not None] or None


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the spread of what is expected, at least 1."""
    return float((found - expected).abs().max() / expected.std().clamp(min=1))


def logits_with(
    net: WaveNet, shape: Shape, frames: int, mode: str, instructions: str, threads: int
) -> tuple[Tensor, Tensor]:
    """Logits of the engine and of the parallel pass for one stream of random levels."""
    given_levels = torch.randint(shape.levels, (1, frames * shape.hop))
    previous, frames_condition = net.previous(given_levels), condition(shape, frames)
    lag = periods(shape, frames)
    sampler = native._native.Sampler(
        native.pack(net, mode, instructions), shape.hop, threads, -1.0, 1.0
    )
    sampler.add(
        frames_condition.numpy(),
        torch.zeros(previous.shape[1]).numpy(),
        previous[0].numpy(),
        None if lag is None else lag.numpy(),
    )
    while sampler.time(0) < previous.shape[1]:
        sampler.advance(7)
    expected = net(previous, frames_condition[None], lag=batch(lag))[0]
    return torch.from_numpy(sampler.logits(0)), expected


@pytest.mark.parametrize(("mode", "most"), [("fp32", 2e-5), ("bf16", 0.05), ("int8", 0.05)])
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@settings(max_examples=30)
@given(shape=SHAPES, frames=st.integers(1, 8))
def test_logits_are_near_those_of_the_parallel_pass(
    instructions: str, mode: str, most: float, shape: Shape, frames: int
) -> None:
    """Of their spread: fp32 is off by rounding alone, bf16 keeps 8 bits of a weight, int8 at least 7 of the largest."""
    found, expected = logits_with(make(shape), shape, frames, mode, instructions, 1)
    assert relative(found, expected) < most


@BOTH
@pytest.mark.parametrize("mode", native.MODES)
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_two_threads_on_one_stream_give_the_same_logits(
    mode: str, instructions: str, shape: Shape
) -> None:
    """Whoever adds up a row, it is added up in the same order: not a bit differs."""
    net = make(shape)
    results = []
    for threads in (1, 2):
        torch.manual_seed(1)
        results.append(logits_with(net, shape, 30, mode, instructions, threads)[0])
    assert torch.equal(*results)


@pytest.mark.parametrize("mode", native.MODES)
@settings(max_examples=20)
@given(
    shape=SHAPES,
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=15),
    threads=st.integers(1, 3),
)
def test_a_stream_is_the_same_alone_in_company_and_on_any_threads(
    mode: str, shape: Shape, lengths: list[int], threads: int
) -> None:
    """More streams than lanes, of unequal lengths and lags: each is what it is alone, and again the second time."""
    net = make(shape)
    frames = [max(1, -(-n // shape.hop)) for n in lengths]
    given_conditions = [condition(shape, n, i) for i, n in enumerate(frames)]
    lags = [periods(shape, n, i) for i, n in enumerate(frames)]
    seeds = list(range(len(lengths)))

    def drawn(which: list[int], on: int) -> list[Tensor]:
        return sample(
            net,
            [given_conditions[i] for i in which],
            shape.hop,
            [lengths[i] for i in which],
            seeds=[seeds[i] for i in which],
            sampling=Sampling(engine="native", mode=mode, threads=on),
            lags=chosen(lags, which),
        )

    together = drawn(seeds, threads)
    assert [len(levels) for levels in together] == lengths
    for again, levels in zip(drawn(seeds, 1), together, strict=True):
        assert torch.equal(again, levels)
    for i in seeds[:3]:
        assert torch.equal(drawn([i], 1)[0], together[i])


@BOTH
@pytest.mark.parametrize("mode", native.MODES)
def test_one_stream_on_two_threads_is_the_same_stream(mode: str, shape: Shape) -> None:
    """Also when it has run in lockstep with others before they ended."""
    net, frames = make(shape), 40
    conditions = [condition(shape, frames, i) for i in range(3)]
    lags = [periods(shape, frames, i) for i in range(3)]
    lengths = [400, 55, 123]

    def drawn(count: int, threads: int) -> Tensor:
        return sample(
            net,
            conditions[:count],
            shape.hop,
            lengths[:count],
            seeds=[1, 2, 3][:count],
            sampling=Sampling(engine="native", mode=mode, threads=threads),
            lags=chosen(lags, range(count)),
        )[0]

    alone = drawn(1, 1)
    assert len(alone.unique()) > 20
    assert torch.equal(alone, drawn(1, 2))
    assert torch.equal(alone, drawn(3, 1))
    assert torch.equal(alone, drawn(3, 2))


@settings(max_examples=40)
@given(
    shape=SHAPES,
    frames=st.integers(1, 6),
    block=st.integers(1, 40),
    sampling=st.builds(
        Sampling,
        temperature=st.sampled_from([0.0, 1e-30, 0.5, 1.0, 3.0, float("inf")]),
        top_p=st.sampled_from([1.0, 0.9, 0.5, 0.05, 1e-9]),
        engine=st.just("native"),
        mode=st.just("fp32"),
    ),
)
def test_draws_are_those_of_the_parallel_logits(
    shape: Shape, frames: int, block: int, sampling: Sampling
) -> None:
    """Given what was drawn before, choosing from the parallel pass leads to the same level, in blocks of any size.

    Where it does not, the uniform number lies on the border of the two levels up to rounding: moving it by 1e-4
    gives the engine's level.
    """
    net, samples = make(shape), frames * shape.hop
    frames_condition = condition(shape, frames)
    lag = periods(shape, frames)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "BLOCK_SAMPLES", block)
        (drawn,) = sample(
            net,
            [frames_condition],
            shape.hop,
            [samples],
            seeds=[3],
            sampling=sampling,
            lags=chosen([lag], [0]),
        )
    logits = net(net.previous(drawn[None]), frames_condition[None], lag=batch(lag))[0]
    numbers = uniforms(samples, 3)

    def moved_by(shift: float) -> Tensor:
        moved = (numbers + shift).clamp(0, 1 - 2**-24)
        return reference.choose(logits, moved, sampling.effective_temperature, sampling.top_p)

    if sampling.effective_temperature == 0 or sampling.top_p < 1:
        # which levels are in the nucleus, or at the top, may itself turn on rounding
        kept = (
            logits.softmax(1)
            if sampling.effective_temperature == 0
            else (logits / sampling.effective_temperature).softmax(1)
        )
        at_least = kept.gather(1, drawn[:, None])[:, 0]
        unmoved = moved_by(0.0)
        agree = unmoved == drawn
        assert (agree | (at_least >= kept.gather(1, unmoved[:, None])[:, 0] * 0.99)).all()
        assert agree.float().mean() > 0.9
    else:
        low, high = moved_by(-1e-4), moved_by(1e-4)
        assert ((low <= drawn) & (drawn <= high)).all()


@settings(max_examples=20)
@given(shape=SHAPES, frames=st.integers(1, 6))
def test_taps_of_zero_change_no_bit(shape: Shape, frames: int) -> None:
    """A WaveNet whose taps have not learned gives the logits of one without them, whatever the lags."""
    plain, tapped = replace(shape, taps=False), replace(shape, taps=True)
    net, other = make(plain), make(tapped)
    other.load_state_dict({**net.state_dict(), "taps": torch.zeros_like(other.taps)})
    previous = net.previous(torch.randint(shape.levels, (1, frames * shape.hop)))[0]
    given_condition = condition(shape, frames)
    for mode in native.MODES:
        expected = native.logits(net, given_condition, shape.hop, previous, mode)
        lag = periods(tapped, frames)
        found = native.logits(other, given_condition, shape.hop, previous, mode, lag)
        assert torch.equal(found, expected), mode


def test_blocks_are_short_and_closing_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block is at most BLOCK_SAMPLES long, the stream its sum; after close() nothing more is computed."""
    shape = Shape([1, 2], 16, 8, 16, 16, 4, 100)
    net, length = make(shape), 2 * BLOCK_SAMPLES + 100
    frames_condition = condition(shape, -(-length // shape.hop))
    sampling = Sampling(engine="native", mode="fp32")

    def begun() -> Any:
        return draw(net, [frames_condition], shape.hop, [length], seeds=[0], sampling=sampling)

    lengths = [len(block) for (block,) in begun()]
    assert lengths == [BLOCK_SAMPLES, BLOCK_SAMPLES, 100]

    advanced = []

    class Counting(native._native.Sampler):
        def advance(self, samples: int) -> None:
            advanced.append(samples)
            super().advance(samples)

    monkeypatch.setattr(native._native, "Sampler", Counting)
    blocks = begun()
    next(blocks)
    blocks.close()
    assert len(advanced) == 1


@pytest.mark.parametrize("mode", native.MODES)
@settings(max_examples=10)
@given(
    blocks=st.lists(st.integers(1, 1200), min_size=1, max_size=6), seed=st.integers(0, 2**31 - 1)
)
def test_help_that_comes_and_goes_changes_no_byte(mode: str, blocks: list[int], seed: int) -> None:
    """A second thread always, never, and as it is measured to pay, in blocks of any size: the same levels."""
    packed = native.pack(make(LARGE), mode)
    samples = 1500  # more than a trial, which draws alone and helped in turn
    frames = condition(LARGE, samples // LARGE.hop, seed).numpy()

    def drawn(help: str) -> np.ndarray:
        sampler = native._native.Sampler(packed, LARGE.hop, 2, 1.0, 1.0, help=help)
        sampler.add(frames, uniforms(samples, seed).numpy())
        for block in itertools.cycle(blocks):
            if sampler.time(0) == samples:
                return sampler.drawn(0)
            sampler.advance(block)
        raise AssertionError

    alone = drawn("never")
    assert len(np.unique(alone)) > 20
    for help in ("always", "measured"):
        assert np.array_equal(drawn(help), alone), help


@pytest.mark.parametrize(
    ("threads", "cores", "help"),
    [(None, 2, "never"), (2, 2, "measured"), (1, 2, "measured"), (2, 1, "never")],
)
def test_a_single_stream_is_helped_only_where_threads_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, threads: int | None, cores: int, help: str
) -> None:
    """A second thread for one stream is of use only while no other program wants its core, so it is nobody's default.

    Where there is one core, whatever grants no more, there is none at all.
    """
    made = []

    class Noting(native._native.Sampler):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            made.append(options["help"])
            super().__init__(*arguments, **options)

    monkeypatch.setattr(native._native, "Sampler", Noting)
    monkeypatch.setattr(native, "usable_threads", lambda: cores)
    shape = Shape([1, 2], 16, 8, 16, 16, 4, 5)
    sampling = Sampling(engine="native", threads=threads)
    list(draw(make(shape), [condition(shape, 4)], 5, [20], seeds=[0], sampling=sampling))
    assert made == [help]


def test_help_without_a_name_is_refused() -> None:
    """The binding knows three."""
    packed = native.pack(make(Shape([1], 16, 8, 16, 16, 4, 5)), "fp32")
    with pytest.raises(ValueError, match="no help sometimes"):
        native._native.Sampler(packed, 5, 1, 1.0, 1.0, help="sometimes")


def test_a_model_in_double_precision_or_with_gradients_is_packed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is packed is a copy in fp32."""
    shape = Shape([1, 2], 16, 8, 16, 16, 4, 5)
    net = make(shape)
    expected = native.logits(net, condition(shape, 2), 5, torch.arange(10), "fp32")
    again = make(shape).double().requires_grad_(True)
    found = native.logits(again, condition(shape, 2).double(), 5, torch.arange(10), "fp32")
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("taps", "arguments", "message"),
    [
        (False, {"frames": torch.zeros(2, 3)}, "condition channels"),
        (False, {"uniforms": torch.zeros(11)}, "more samples"),
        (False, {"given": torch.tensor([0, 1, 2])}, "not as many"),
        (False, {"uniforms": torch.zeros(2), "given": torch.tensor([0, 16])}, "out of range"),
        (False, {"lags": torch.zeros(2).long()}, "lags go with pitch taps"),
        (True, {}, "lags go with pitch taps"),
        (True, {"lags": torch.zeros(3).long()}, "not as many lags as frames"),
    ],
)
def test_what_does_not_fit_is_refused(
    taps: bool, arguments: dict[str, Tensor], message: str
) -> None:
    """The binding checks every size and level before the loops, which do not, see them."""
    packed = native.pack(make(Shape([1], 16, 8, 16, 16, 4, 5, taps)), "fp32")
    sampler = native._native.Sampler(packed, 5, 1, 1.0, 1.0)
    asked = {"frames": torch.zeros(2, 4), "uniforms": torch.zeros(4)} | arguments
    with pytest.raises(ValueError, match=message):
        sampler.add(**{name: of.numpy() for name, of in asked.items()})


def test_stream_of_an_engine_on_its_own() -> None:
    """The module offers what the protocol asks: draw and logits agree with one another."""
    shape = Shape([1, 3], 16, 8, 16, 16, 4, 5)
    net, frames_condition = make(shape), condition(shape, 10)
    stream = Stream(frames_condition, uniforms(50, 0))
    blocks = list(native.draw(net, [stream], 5, Sampling(mode="bf16", temperature=0.0)))
    drawn = torch.cat([block for (block,) in blocks])
    logits = native.logits(net, frames_condition, 5, net.previous(drawn[None])[0], "bf16")
    assert torch.equal(logits.argmax(1), drawn)
