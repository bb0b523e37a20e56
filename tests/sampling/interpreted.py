"""The kernel of the CUDA engine in Triton's interpreter; test_cuda.py runs this file in a process of its own.

TRITON_INTERPRET has to be set before Triton is imported, and would change what other tests see.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime import interpreter
from wavenets import make

from vqspeech.sampling import cuda, kernel, reference
from vqspeech.sampling.cuda import Shape
from vqspeech.sampling.engine import Sampling, Stream, uniforms

HOP = 3


def streams(*lengths: int) -> list[Stream]:
    """Return streams of lengths, with a frame to spare."""
    generator = torch.Generator().manual_seed(0)
    return [
        Stream(torch.randn(n // HOP + 2, 4, generator=generator), uniforms(n, seed))
        for seed, n in enumerate(lengths)
    ]


def with_lags(asked: list[Stream], lags: list[list[int]]) -> list[Stream]:
    """Return streams with a lag for each frame, those of the list again and again."""
    return [
        replace(stream, lag=torch.tensor((row * len(stream.condition))[: len(stream.condition)]))
        for stream, row in zip(asked, lags, strict=True)
    ]


def drawn(blocks: Iterator[list[Tensor]]) -> list[Tensor]:
    """Return the blocks of each stream, joined."""
    return [torch.cat(parts) for parts in zip(*blocks, strict=True)]


@pytest.fixture(params=["vectors", "matrices"])
def programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Programs of one stream, or of several, for which the interpreter learns to multiply bfloat16."""
    if request.param == "vectors":
        return "vectors"
    for mode in ("fp32", "bf16"):
        monkeypatch.setitem(cuda.SHAPES, mode, (Shape(streams=2, warps=4),))

    def widened(handle: interpreter.TensorHandle) -> np.ndarray:
        if handle.dtype.scalar != tl.bfloat16:
            return handle.data
        return (handle.data.astype(np.uint32) << 16).view(np.float32)

    def dot(_: object, a: object, b: object, start: object, *options: object) -> object:
        data = np.matmul(widened(a), widened(b)) + start.data
        return interpreter.TensorHandle(data, start.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", dot)
    return "matrices"


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Shape, int]]:
    """Shape and length of each launch, as it is made."""
    made: list[tuple[Shape, int]] = []
    launch = cuda.Kernel._launch

    def noted(runner: cuda.Kernel, arguments: dict[str, int]) -> None:
        made.append((runner.shape, arguments["length"]))
        launch(runner, arguments)

    monkeypatch.setattr(cuda.Kernel, "_launch", noted)
    return made


@torch.inference_mode()
@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("mode", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("dilations", "levels", "channels", "hop", "lags"),
    [
        ([1, 2, 4], 20, (6, 10, 12), 3, None),
        ([1], 4, (1, 2, 1), 1, None),
        ([5, 1], 40, (17, 34, 80), 2, None),
        ([1, 3], 20, (6, 10, 12), 3, [0, 5, 2, 0, 3, 1]),
        ([1, 3], 20, (6, 10, 12), 4, [2] * 4),
        ([1, 3], 20, (6, 10, 12), 4, [2**62, 9, -1, 15]),
        ([1, 3], 20, (6, 10, 12), 3, [0] * 5),
    ],
    ids=["small", "smallest", "odd", "voiced edges", "shortest", "beyond the past", "unvoiced"],
)
def test_logits_are_those_of_the_parallel_pass(
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    dilations: list[int],
    levels: int,
    channels: tuple[int, int, int],
    hop: int,
    lags: list[int] | None,
) -> None:
    """Whatever sizes and lags and wherever blocks end: in float32 to 2e-5, with weights in bfloat16 to 1e-5 nat."""
    monkeypatch.setattr(cuda, "BLOCK_SAMPLES", 4)
    net = make(dilations, levels, channels, taps=lags is not None)
    condition = torch.randn(len(lags) if lags else -(-7 // hop), 4)
    lag = None if lags is None else torch.tensor(lags)
    previous = net.previous(torch.randint(levels, (1, len(condition) * hop)))
    samples = previous.shape[1] if lags else 7
    wanted = net(previous, condition[None], lag=lag if lag is None else lag[None])[0, :samples]
    found = cuda.logits(net, condition, hop, previous[0, :samples], mode, lag)
    assert found.dtype == torch.float32
    if mode == "fp32":
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-5)
    else:
        wanted, found = wanted.log_softmax(1), found.log_softmax(1)
        assert (wanted.exp() * (wanted - found)).sum(1).mean() < 1e-5


def test_a_shape_that_is_asked_for_is_taken(launches: list[tuple[Shape, int]]) -> None:
    """Instead of the one that follows from the number of streams, and with the same draws in float32."""
    net, asked = make([1, 2]), streams(6)
    usual = drawn(cuda.draw(net, asked, HOP, Sampling(mode="fp32")))
    other = drawn(cuda.draw(net, asked, HOP, Sampling(mode="fp32"), Shape(streams=4, warps=2)))
    assert [shape for shape, _ in launches] == [
        Shape(streams=1, warps=8),
        Shape(streams=4, warps=2),
    ]
    assert torch.equal(usual[0], other[0])


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(
    ("lengths", "lags", "sampling"),
    [
        ((3, 9, 0), None, Sampling()),
        ((3, 9, 0), None, Sampling(temperature=0)),
        ((3, 9, 0), None, Sampling(temperature=1.5, top_p=0.6)),
        ((7, 13, 0, 10), [[2, 0, 5], [7, 3, 2**40], [4], [0]], Sampling()),
    ],
    ids=["plain", "greedy", "narrow", "pitch taps"],
)
def test_draws_are_those_of_the_reference(
    monkeypatch: pytest.MonkeyPatch,
    lengths: tuple[int, ...],
    lags: list[list[int]] | None,
    sampling: Sampling,
) -> None:
    """In float32, streams of unequal lengths and of none, each with its own lags, over several launches."""
    net, asked = make([1, 2, 4], taps=lags is not None), streams(*lengths)
    if lags is not None:
        asked = with_lags(asked, lags)
    wanted = drawn(reference.draw(net, asked, HOP, sampling))
    monkeypatch.setattr(cuda, "BLOCK_SAMPLES", 4)
    blocks = list(cuda.draw(net, asked, HOP, replace(sampling, mode="fp32")))
    assert [[len(levels) for levels in block] for block in blocks] == [
        [min(4, max(0, length - 4 * i)) for length in lengths] for i in range(len(blocks))
    ]
    found = drawn(iter(blocks))
    assert all(levels.dtype == torch.int64 for levels in found)
    assert all(map(torch.equal, found, wanted))
    assert len(found[1].unique()) > 1


@pytest.mark.usefixtures("programs")
def test_a_stream_is_the_same_alone_and_in_company() -> None:
    """As long as programs have one shape, to the byte: company shares launches and programs, not arithmetic."""
    net, asked = make([1, 2]), streams(2, 4, 5)
    sampling = Sampling(mode="bf16")
    together = drawn(cuda.draw(net, asked, HOP, sampling))
    for stream, found in zip(asked, together, strict=True):
        (alone,) = drawn(cuda.draw(net, [stream], HOP, sampling))
        assert torch.equal(found, alone)


def test_closing_ends_the_work(
    monkeypatch: pytest.MonkeyPatch, launches: list[tuple[Shape, int]]
) -> None:
    """After the first block no more is launched than the block that was launched beside it."""
    monkeypatch.setattr(cuda, "BLOCK_SAMPLES", 2)
    blocks = cuda.draw(make([1]), streams(40), HOP, Sampling(mode="fp32"))
    assert not launches
    assert [len(levels) for levels in next(blocks)] == [2]
    blocks.close()
    assert [length for _, length in launches] == [2, 2]


@triton.jit
def choices(
    logits,
    uniform,
    found,
    temperature,
    top_p,
    narrow: tl.constexpr,
    rows: tl.constexpr,
    levels: tl.constexpr,
):
    row = tl.arange(0, rows)[:, None]
    chosen = kernel.choose(
        tl.load(logits + row * levels + tl.arange(0, levels)),
        tl.load(uniform + row),
        temperature,
        top_p,
        False,
        narrow,
    )
    tl.store(found + row, chosen)


def choose(logits: Tensor, uniform: Tensor, temperature: float, top_p: float) -> Tensor:
    """Return what the kernel chooses of logits whose numbers are powers of two."""
    found = torch.empty(len(logits), dtype=torch.int32)
    choices[(1,)](
        logits=logits,
        uniform=uniform,
        found=found,
        temperature=temperature,
        top_p=top_p,
        narrow=top_p < 1,
        rows=logits.shape[0],
        levels=logits.shape[1],
    )
    return found.long()


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.5, 1e-6])
@pytest.mark.parametrize("temperature", [0.1, 1.0, float("inf")])
def test_choice_is_that_of_the_reference(temperature: float, top_p: float) -> None:
    """For random logits, uniform numbers over all of [0, 1), any temperature and any nucleus."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(256, 16, generator=generator)
    uniform = torch.rand(256, generator=generator)
    wanted = reference.choose(logits, uniform, temperature, top_p)
    assert torch.equal(choose(logits, uniform, temperature, top_p), wanted)


def test_of_equal_levels_the_lower_ones_are_the_nucleus() -> None:
    """Three of eight equal levels hold 0.3, and they are the first three; a likelier level comes before them."""
    uniform = torch.linspace(0, 1 - 2**-24, 16)
    assert choose(torch.zeros(16, 8), uniform, 1.0, 0.3).unique().tolist() == [0, 1, 2]
    logits = torch.zeros(16, 8)
    logits[:, 5] = 1
    assert choose(logits, uniform, 1.0, 0.3).unique().tolist() == [0, 5]


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
def test_levels_that_cannot_be_are_never_chosen() -> None:
    """Not by the smallest uniform number, not by the largest, and not at an infinite temperature."""
    never = -float("inf")
    logits = torch.tensor([[never, 0.0, never, 1.0, 2.0, never, never, never]]).expand(4, 8)
    uniform = torch.tensor([0.0, 1e-30, 0.5, 1 - 2**-24])
    for temperature in (1e-6, 1.0, float("inf")):
        for top_p in (1.0, 0.99):
            chosen = choose(logits.contiguous(), uniform, temperature, top_p)
            assert torch.isfinite(logits[0, chosen]).all()


def test_the_interpreter_stands_in_for_a_gpu() -> None:
    """With it, nothing is missing on the CPU."""
    assert cuda.unavailable_reason(torch.device("cpu")) is None
