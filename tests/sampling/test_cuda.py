"""The CUDA engine: its kernel interpreted and compiled, its graph uncaptured, and on a GPU both as they are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from wavenets import make, periods

from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import cuda, reference
from vqspeech.sampling.engine import Sampling, Stream, longest_lag, uniforms

HOP = 3
# of eight frames: voiced edges, the shortest, some beyond the past, unvoiced
LAGS = ([0, 5, 2, 0, 9, 1, 0, 6], [2] * 8, [2**62, 9, -1, 15, 12, 3, 0, 20], [0] * 8)
ON_GPU = torch.device("cuda")


def make_full(taps: bool = False) -> WaveNet:
    """Return a net of the size that speed is measured at."""
    dilations = [2**i for i in range(10)] * 2
    return make(dilations, 256, (64, 128, 256), 128, taps=taps, spread=30, std=0.1)


def make_streams(
    lengths: list[int],
    channels: int,
    hop: int,
    taps: bool = False,
    device: torch.device | str = "cpu",
) -> list[Stream]:
    """Return streams of lengths, each with its own condition and numbers, and lags for pitch taps."""
    generator = torch.Generator().manual_seed(0)
    frames = [n // hop + 1 for n in lengths]
    return [
        Stream(
            torch.randn(frames[seed], channels, generator=generator).to(device),
            uniforms(n, seed),
            periods(frames[seed], seed, 270).to(device) if taps else None,
        )
        for seed, n in enumerate(lengths)
    ]


def drawn(
    engine: object, net: WaveNet, asked: list[Stream], hop: int, sampling: Sampling
) -> list[Tensor]:
    """Return what an engine draws, the blocks of each stream joined."""
    blocks = engine.draw(net, asked, hop, sampling)  # type: ignore[attr-defined]
    return [torch.cat(parts) for parts in zip(*blocks, strict=True)]


def in_a_process_of_its_own(*arguments: str, **environment: str) -> None:
    """Run Python and fail with what it says."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTEST_ADDOPTS": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_kernel_interpreted() -> None:
    """What interpreted.py states holds in Triton's interpreter, which needs no GPU."""
    pytest.importorskip("triton")
    tests = str(Path(__file__).with_name("interpreted.py"))
    in_a_process_of_its_own(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, TRITON_INTERPRET="1"
    )


def test_why_it_cannot_run_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is where the model is."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    reason = cuda.unavailable_reason(torch.device("cpu"))
    assert reason is not None
    assert reason.startswith("the model is on the CPU")


def test_why_it_cannot_run_on_other_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too old, without Triton or without a compiler for it: the reason names it, and is none otherwise."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("CC", "cc")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: object())
    assert "compute capability 7.5" in str(cuda.unavailable_reason(ON_GPU))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert cuda.unavailable_reason(ON_GPU) is None
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", "")
    assert "C compiler" in str(cuda.unavailable_reason(ON_GPU))
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    assert "Triton is not installed" in str(cuda.unavailable_reason(ON_GPU))


@torch.inference_mode()
@pytest.mark.parametrize("lags", [None, *LAGS])
def test_logits_of_the_graph_are_those_of_the_parallel_pass(
    monkeypatch: pytest.MonkeyPatch, lags: list[int] | None
) -> None:
    """Uncaptured, on the CPU, wherever blocks end and whatever the lags, to 2e-5."""
    monkeypatch.setattr(cuda, "BLOCK_SAMPLES", 5)
    net = make([1, 7, 2], taps=lags is not None)
    lag = None if lags is None else torch.tensor(lags)
    condition = torch.randn(8, 4)
    previous = net.previous(torch.randint(20, (1, 24)))
    found = cuda.logits(net, condition, HOP, previous[0, :22], "graph", lag)
    wanted = net(previous, condition[None], lag=None if lag is None else lag[None])[0, :22]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-5)
    assert cuda.logits(net, condition, HOP, previous[0, :0], "graph", lag).shape == (0, 20)


@pytest.mark.parametrize("taps", [False, True], ids=["plain", "pitch taps"])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(mode="graph"),
        Sampling(mode="graph", temperature=0),
        Sampling(mode="graph", temperature=1.5, top_p=0.6),
    ],
    ids=["plain", "greedy", "narrow"],
)
def test_draws_of_the_graph_are_those_of_the_reference(
    monkeypatch: pytest.MonkeyPatch, sampling: Sampling, taps: bool
) -> None:
    """Uncaptured, on the CPU, streams of unequal lengths and of none, each with its own lags."""
    monkeypatch.setattr(cuda, "BLOCK_SAMPLES", 10)
    net, asked = make([1, 2, 4], taps=taps), make_streams([7, 40, 0, 29], 4, HOP, taps)
    wanted = drawn(reference, net, asked, HOP, sampling)
    found = drawn(cuda, net, asked, HOP, sampling)
    assert all(map(torch.equal, found, wanted))
    assert all(levels.dtype == torch.int64 for levels in found)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("arch", "shared_kb", "mode", "streams", "taps"),
    [
        (90, 227, "bf16", 1, False),
        (90, 227, "bf16", 1, True),
        (90, 227, "bf16", 1000, False),
        (90, 227, "bf16", 1000, True),
        (90, 227, "fp32", 1, False),
        (90, 227, "fp32", 1000, True),
        (80, 163, "fp32", 1, True),
        (80, 163, "bf16", 1000, False),
    ],
)
def test_the_kernel_compiles_and_fits(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arch: int,
    shared_kb: int,
    mode: str,
    streams: int,
    taps: bool,
) -> None:
    """At full size, for an H100 in all shapes and for an A100, it takes no more shared memory than there is."""
    pytest.importorskip("triton")
    from triton import compile as build
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if knobs.runtime.interpret:
        pytest.skip("TRITON_INTERPRET is set: nothing is compiled")
    try:
        knobs.nvidia.ptxas  # noqa: B018
    except RuntimeError as error:
        pytest.skip(f"no ptxas: {error}")
    from vqspeech.sampling.kernel import steps

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cuda, "_resources", lambda device: (100, 1024 * shared_kb))
    net = make_full(taps)
    runner = cuda.Kernel(net, streams, Sampling(top_p=0.9, mode=mode))
    lag = torch.zeros(1, 1, dtype=torch.int64) if taps else None
    block = cuda.Block(0, 1, 1, net.project(torch.zeros(1, 1, 128)), lag)
    found = torch.zeros(runner.shape.streams, 1, dtype=torch.int32)
    arguments = runner.arguments(block, torch.zeros(found.shape), found, forced=False)
    constants = {
        (position,): arguments[param.name]
        for position, param in enumerate(steps.params)
        if param.is_constexpr or arguments[param.name] is None
    }
    pointers = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int32: "*i32"}
    signature, attributes = {}, {}
    for position, name in enumerate(steps.arg_names):
        value = arguments[name]
        if (position,) in constants:
            signature[name] = "constexpr"
        elif isinstance(value, Tensor):
            signature[name] = pointers[value.dtype]
            attributes[position,] = [["tt.divisibility", 16]]
        else:
            signature[name] = "i32" if isinstance(value, int) else "fp32"
    compiled = build(
        ASTSource(steps, signature, constants, attributes),
        target=GPUTarget("cuda", arch, 32),
        options={"num_warps": runner.shape.warps},
    )
    assert compiled.asm["cubin"]
    assert compiled.metadata.shared <= 1024 * shared_kb
    # weights have to be on their way while others are used
    assert "cp.async" in compiled.asm["ptx"]


needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or cuda.unavailable_reason(ON_GPU) is not None,
        reason="needs an NVIDIA GPU that the engine runs on",
    ),
]


@pytest.mark.parametrize("taps", [False, True], ids=["plain", "pitch taps"])
@pytest.mark.parametrize("mode", cuda.MODES)
@pytest.mark.parametrize("streams", [1, 3, 1000])
class TestOnTheGpu:
    pytestmark = needs_gpu

    @torch.inference_mode()
    def test_logits_are_those_of_the_parallel_pass(
        self, monkeypatch: pytest.MonkeyPatch, mode: str, streams: int, taps: bool
    ) -> None:
        """At full size and in every shape: in float32 to 1e-4, with weights in bfloat16 to 2e-5 nat."""
        if mode != "graph" and streams > 1:
            # not so many streams as it takes for the shape of many
            monkeypatch.setattr(cuda, "_resources", lambda device: (1, 160 * 1024))
        streams = min(streams, 40)
        hop, time, block = 64, 2304, 500
        net = make_full(taps).to(ON_GPU)
        asked = make_streams([time - 1] * streams, 128, hop, taps, ON_GPU)
        lag = torch.stack([stream.lag for stream in asked]) if taps else None
        previous = net.previous(torch.randint(256, (streams, time), device=ON_GPU))
        wanted = net(previous, torch.stack([stream.condition for stream in asked]), lag=lag)
        runner = cuda._runner(net, streams, Sampling(mode=mode), longest_lag(lag, time))
        found = torch.cat(
            [
                runner.force(
                    cuda._block(net, asked, hop, begin, min(block, time - begin)),
                    previous[:, begin : begin + block],
                )
                for begin in range(0, time, block)
            ],
            1,
        )
        if mode != "bf16":
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        else:
            wanted, found = wanted.log_softmax(2), found.log_softmax(2)
            assert (wanted.exp() * (wanted - found)).sum(2).mean() < 2e-5

    @torch.inference_mode()
    @pytest.mark.parametrize("top_p", [1.0, 0.8])
    def test_draws_are_the_choices_from_the_parallel_pass(
        self, mode: str, streams: int, taps: bool, top_p: float
    ) -> None:
        """Given what was drawn, the parallel logits lead to the same draw but where rounding tips it."""
        hop, lengths = 64, [1500 + 7 * (i % 90) for i in range(streams)]
        net = make_full(taps).to(ON_GPU)
        asked = make_streams(lengths, 128, hop, taps, ON_GPU)
        sampling = Sampling(temperature=0.9, top_p=top_p, mode=mode)
        found = drawn(cuda, net, asked, hop, sampling)
        assert [len(levels) for levels in found] == lengths
        same = total = 0
        for stream, levels in list(zip(asked, found, strict=True))[:8]:
            padded = torch.nn.functional.pad(levels, (0, -len(levels) % hop))[None].to(ON_GPU)
            frames = padded.shape[1] // hop
            lag = stream.lag if stream.lag is None else stream.lag[None, :frames]
            logits = net(net.previous(padded), stream.condition[None, :frames], lag=lag)
            logits = logits[0, : len(levels)].cpu()
            same += int((reference.choose(logits, stream.uniforms, 0.9, top_p) == levels).sum())
            total += len(levels)
        assert same > (0.98 if mode == "bf16" else 0.999) * total

    def test_the_same_call_gives_the_same_bytes(self, mode: str, streams: int, taps: bool) -> None:
        """Twice the same, so nothing depends on which thread comes first."""
        net = make_full(taps).to(ON_GPU)
        asked = make_streams([1300] * streams, 128, 64, taps, ON_GPU)
        one, again = (drawn(cuda, net, asked, 64, Sampling(mode=mode)) for _ in range(2))
        assert all(map(torch.equal, one, again))
