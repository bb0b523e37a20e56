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

from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import cuda, kernel, reference
from vqspeech.sampling.cuda import Shape
from vqspeech.sampling.engine import Sampling, Stream, uniforms

HOP = 3


def make(
    dilations: list[int],
    levels: int = 20,
    channels: tuple[int, int, int] = (6, 10, 12),
    taps: bool = False,
) -> WaveNet:
    """Return a small net with clear preferences, with channels of residual, gate and skip."""
    torch.manual_seed(0)
    net = WaveNet(levels, dilations, *channels, 4, pitch_taps=taps).eval()
    torch.nn.init.normal_(net.residual_bias)
    if net.taps is not None:
        torch.nn.init.normal_(net.taps)
    with torch.no_grad():
        net.output.weight.mul_(4)
    return net


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


def matrices(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Give every program several streams, and teach the interpreter to multiply bfloat16."""
    monkeypatch.setitem(cuda.SHAPES, mode, (Shape(streams=2, warps=4),))

    def widened(handle: interpreter.TensorHandle) -> np.ndarray:
        if handle.dtype.scalar != tl.bfloat16:
            return handle.data
        return (handle.data.astype(np.uint32) << 16).view(np.float32)

    def dot(_: object, a: object, b: object, start: object, *options: object) -> object:
        data = np.matmul(widened(a), widened(b)) + start.data
        return interpreter.TensorHandle(data, start.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", dot)


@torch.inference_mode()
@pytest.mark.parametrize("several", [False, True], ids=["vectors", "matrices"])
@pytest.mark.parametrize("mode", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("dilations", "levels", "channels", "hop"),
    [
        ([1, 2, 4], 20, (6, 10, 12), 3),
        ([1], 4, (1, 2, 1), 1),
        ([5, 1], 40, (17, 34, 80), 2),
    ],
)
def test_logits_are_those_of_the_parallel_pass(
    monkeypatch: pytest.MonkeyPatch,
    several: bool,
    mode: str,
    dilations: list[int],
    levels: int,
    channels: tuple[int, int, int],
    hop: int,
) -> None:
    """Whatever the sizes and wherever blocks end: in float32 to 2e-5, with weights in bfloat16 to 1e-5 nat."""
    if several:
        matrices(monkeypatch, mode)
    monkeypatch.setattr(cuda, "BLOCK_SAMPLES", 4)
    net = make(dilations, levels, channels)
    condition = torch.randn(-(-7 // hop), 4)
    previous = net.previous(torch.randint(levels, (1, len(condition) * hop)))
    wanted = net(previous, condition[None])[0, :7]
    found = cuda.logits(net, condition, hop, previous[0, :7], mode)
    assert found.dtype == torch.float32
    if mode == "fp32":
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-5)
    else:
        wanted, found = wanted.log_softmax(1), found.log_softmax(1)
        assert (wanted.exp() * (wanted - found)).sum(1).mean() < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("several", [False, True], ids=["vectors", "matrices"])
@pytest.mark.parametrize("mode", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("lags", "hop"),
    [([0, 5, 2, 0, 3, 1], 3), ([2] * 4, 4), ([2**62, 9, -1, 15], 4), ([0] * 5, 3)],
    ids=["voiced edges", "shortest", "beyond the past", "unvoiced"],
)
def test_logits_with_pitch_taps_are_those_of_the_parallel_pass(
    monkeypatch: pytest.MonkeyPatch, several: bool, mode: str, lags: list[int], hop: int
) -> None:
    """Whatever the lags and wherever blocks end, to the same bounds as without taps."""
    if several:
        matrices(monkeypatch, mode)
    monkeypatch.setattr(cuda, "BLOCK_SAMPLES", 4)
    net, lag = make([1, 3], taps=True), torch.tensor(lags)
    condition = torch.randn(len(lags), 4)
    previous = net.previous(torch.randint(20, (1, len(lags) * hop)))
    wanted = net(previous, condition[None], lag=lag[None])[0]
    found = cuda.logits(net, condition, hop, previous[0], mode, lag)
    if mode == "fp32":
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-5)
    else:
        wanted, found = wanted.log_softmax(1), found.log_softmax(1)
        assert (wanted.exp() * (wanted - found)).sum(1).mean() < 1e-5


@pytest.mark.parametrize("several", [False, True], ids=["vectors", "matrices"])
def test_draws_with_pitch_taps_are_those_of_the_reference(
    monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """In float32, streams of unequal lengths together, each with its own lags, one unvoiced, over several launches."""
    if several:
        matrices(monkeypatch, "fp32")
    net = make([1, 2], taps=True)
    asked = with_lags(streams(7, 13, 0, 10), [[2, 0, 5], [7, 3, 2**40], [4], [0]])
    wanted = drawn(reference.draw(net, asked, HOP, Sampling()))
    monkeypatch.setattr(cuda, "BLOCK_SAMPLES", 4)
    found = drawn(cuda.draw(net, asked, HOP, Sampling(mode="fp32")))
    assert all(map(torch.equal, found, wanted))
    assert len(found[1].unique()) > 1


def test_a_shape_that_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of the one that follows from the number of streams, and with the same draws in float32."""
    shapes: list[cuda.Shape] = []
    launch = cuda.Kernel._launch

    def noted(runner: cuda.Kernel, arguments: dict[str, int]) -> None:
        shapes.append(runner.shape)
        launch(runner, arguments)

    monkeypatch.setattr(cuda.Kernel, "_launch", noted)
    net, asked = make([1, 2]), streams(6)
    usual = drawn(cuda.draw(net, asked, HOP, Sampling(mode="fp32")))
    other = drawn(cuda.draw(net, asked, HOP, Sampling(mode="fp32"), Shape(streams=4, warps=2)))
    assert shapes == [Shape(streams=1, warps=8), Shape(streams=4, warps=2)]
    assert torch.equal(usual[0], other[0])


@pytest.mark.parametrize("several", [False, True], ids=["vectors", "matrices"])
@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(temperature=0), Sampling(temperature=1.5, top_p=0.6)],
    ids=["plain", "greedy", "narrow"],
)
def test_draws_are_those_of_the_reference(
    monkeypatch: pytest.MonkeyPatch, several: bool, sampling: Sampling
) -> None:
    """In float32, streams of unequal lengths and of none, over several launches, to the same levels."""
    if several:
        matrices(monkeypatch, "fp32")
    net, asked = make([1, 2, 4]), streams(3, 9, 0)
    wanted = drawn(reference.draw(net, asked, HOP, sampling))
    monkeypatch.setattr(cuda, "BLOCK_SAMPLES", 4)
    sampling = Sampling(sampling.temperature, sampling.top_p, mode="fp32")
    blocks = list(cuda.draw(net, asked, HOP, sampling))
    assert [[len(levels) for levels in block] for block in blocks] == [
        [3, 4, 0],
        [0, 4, 0],
        [0, 1, 0],
    ]
    found = drawn(iter(blocks))
    assert all(levels.dtype == torch.int64 for levels in found)
    assert all(map(torch.equal, found, wanted))
    assert len(found[1].unique()) > 1


@pytest.mark.parametrize("several", [False, True], ids=["vectors", "matrices"])
def test_a_stream_is_the_same_alone_and_in_company(
    monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """As long as programs have one shape, to the byte: company shares launches and programs, not arithmetic."""
    if several:
        matrices(monkeypatch, "bf16")
    net, asked = make([1, 2]), streams(2, 4, 5)
    sampling = Sampling(mode="bf16")
    together = drawn(cuda.draw(net, asked, HOP, sampling))
    for stream, found in zip(asked, together, strict=True):
        (alone,) = drawn(cuda.draw(net, [stream], HOP, sampling))
        assert torch.equal(found, alone)


def test_closing_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first block no more is launched than the block that was launched beside it."""
    launches: list[int] = []
    launch = cuda.Kernel._launch

    def counted(runner: cuda.Kernel, arguments: dict[str, int]) -> None:
        launches.append(arguments["length"])
        launch(runner, arguments)

    monkeypatch.setattr(cuda.Kernel, "_launch", counted)
    monkeypatch.setattr(cuda, "BLOCK_SAMPLES", 2)
    blocks = cuda.draw(make([1]), streams(40), HOP, Sampling(mode="fp32"))
    assert not launches
    assert [len(levels) for levels in next(blocks)] == [2]
    blocks.close()
    assert launches == [2, 2]


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
