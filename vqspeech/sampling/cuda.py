"""The CUDA engine: a WaveNet one sample at a time on an NVIDIA GPU, many streams at once.

In the modes ``bf16`` and ``fp32``, named for the weights, a Triton kernel takes up to `BLOCK_SAMPLES` steps per launch
(`vqspeech.sampling.kernel`). Streams are distributed over programs, one to a multiprocessor, that never communicate.
All else is float32, except that where a program of several streams multiplies by bfloat16 the inputs have 16 bits. The
mode ``graph`` is the same step in plain torch and float32, captured as a CUDA graph: slower and simpler.

The same call gives the same bytes on the same kind of GPU. The arithmetic for a stream depends only on the number of
streams of its program, see `SHAPES`: up to as many streams as the GPU has multiprocessors, a stream's draws are the
same alone and with others; beyond, and in the mode ``graph``, they are the same up to rounding.

With ``TRITON_INTERPRET=1`` in the environment the engine runs on the CPU, for tests, very slowly.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling.engine import BLOCK_SAMPLES, Sampling, Stream, longest_lag
from vqspeech.sampling.graph import Block, Graph

MODES: tuple[str, ...] = ("bf16", "fp32", "graph")
DEVICE: str | None = "cuda"
"""Arithmetics: the kernel with weights in bfloat16, the kernel in float32, a captured graph in float32."""

PART = 64
"""Channels of the hidden layer that the kernel works on at a time."""

_OLDEST = (8, 0)
# smallest size of a product on tensor cores
_NARROWEST = 16
# the kernel counts samples in 32 bits
_LONGEST_LAG = 2**31 - 1
# shared memory for exchange between threads, beside a vector of logits for each stream
_SPARE_BYTES = 4 * 1024


class Shape(NamedTuple):
    """How the kernel is cut into programs: streams per program, a power of two, and warps per program."""

    streams: int
    warps: int


SHAPES = {
    "bf16": (Shape(streams=1, warps=8), Shape(streams=16, warps=8)),
    "fp32": (Shape(streams=1, warps=8), Shape(streams=4, warps=8)),
}
"""Shapes by mode: the first is taken that needs no more programs than there are multiprocessors, else the last."""


def unavailable_reason(device: torch.device) -> str | None:
    """Why a model on `device` cannot be run, None when it can; see `Engine`."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not (interpreted and device.type == "cpu"):
        return f"the model is on the {device.type.upper()}, not on an NVIDIA GPU"
    if torch.version.hip is not None:
        return "the GPU is not one of NVIDIA's"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if interpreted:
        return None
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST:
        found, oldest = (".".join(map(str, version)) for version in (capability, _OLDEST))
        return f"the GPU has compute capability {found}, {oldest} is the oldest that will do"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "Triton needs a C compiler, and there is no gcc or clang"
    return None


class Kernel:
    """The Triton kernel with its weights and the state of `streams` streams; later ones may drop out.

    `sampling` has the mode ``bf16`` or ``fp32``; `longest` is the longest pitch period in samples, see
    `vqspeech.sampling.engine.longest_lag`; `shape` defaults to one of `SHAPES`.
    """

    def __init__(
        self,
        wavenet: WaveNet,
        streams: int,
        sampling: Sampling,
        longest: int = 0,
        shape: Shape | None = None,
    ) -> None:
        self.sampling, self.levels = sampling, wavenet.levels
        dtype = torch.bfloat16 if sampling.mode == "bf16" else torch.float32
        layers, inputs, gates = wavenet.gate_weight.shape
        half, residual, skip, levels = (
            max(_NARROWEST, _power_of_two(size))
            for size in (gates // 2, inputs // 2, wavenet.skip.out_features, wavenet.levels)
        )
        part = min(PART, skip)
        sides = wavenet.gate_weight.view(layers, 2, inputs // 2, 2, gates // 2)
        sides = _pad(sides.permute(0, 1, 3, 4, 2), layers, 2, 2, half, residual)
        skips = wavenet.skip.weight.view(-1, layers, gates // 2)
        self.weights: dict[str, Tensor | None] = {
            "embedding": _pad(wavenet.embedding.weight, levels, residual),
            "gate_weight": sides.to(dtype),
            "residual_weight": _pad(wavenet.residual_weight.mT, layers, residual, half).to(dtype),
            "residual_bias": _pad(wavenet.residual_bias, layers, residual),
            "skip_weight": _pad(skips.transpose(0, 1), layers, skip, half).to(dtype),
            "skip_bias": _pad(wavenet.skip.bias, skip),
            "hidden_weight": _pad(wavenet.hidden.weight, skip, skip).to(dtype),
            "hidden_bias": _pad(wavenet.hidden.bias, skip),
            "output_weight": _pad(wavenet.output.weight, levels, skip).to(dtype),
            "output_bias": _pad(wavenet.output.bias, levels),
        }
        taps = wavenet.taps
        self.weights["taps"] = None if taps is None else _pad(taps, *taps.shape[:2], residual)
        device = wavenet.gate_weight.device
        multiprocessors, shared = _resources(device)
        # several streams a program need each tile of weights in shared memory, one stream does not
        tile = half * max(residual, skip) * dtype.itemsize
        shapes = [
            shape
            for shape in SHAPES[sampling.mode]
            if shape.streams == 1 or tile + _SPARE_BYTES <= shared
        ]
        self.shape = shape or next(
            (shape for shape in shapes if -(-streams // shape.streams) <= multiprocessors),
            shapes[-1],
        )
        rows = self._rows(streams)
        sizes = torch.tensor(wavenet.dilations) + 1
        self.slots, self.span = int(sizes.sum()), longest + 1
        self.state = {
            "rings": torch.stack([sizes.cumsum(0) - sizes, sizes], 1).int().to(device),
            "past": torch.zeros(rows, self.slots, residual, device=device),
            "newest": torch.full((rows,), wavenet.silence, dtype=torch.int32, device=device),
            "history": None
            if taps is None
            else torch.zeros(rows, self.span, dtype=torch.int32, device=device),
        }
        # as many stages of layers as fit: loading n stages ahead needs n - 1 buffers
        layer = (5 * residual + skip) * half * dtype.itemsize
        layer += (residual + 2 * half) * self.shape.streams * 4
        head = part * (skip + levels) * dtype.itemsize
        spare = _SPARE_BYTES + max(skip, levels) * self.shape.streams * 4
        buffers = (shared - spare) // max(layer, head)
        self.constants = {
            "streams": self.shape.streams,
            "layers": layers,
            "residual": residual,
            "half": half,
            "skip": skip,
            "levels": levels,
            "part": part,
            "stages": max(1, min(3, buffers + 1)),
        }

    def draw(self, block: Block, uniforms: Tensor) -> Tensor:
        """Levels, int32, (streams, length), on the device, drawn at uniform numbers (streams, length)."""
        rows = self._rows(len(uniforms))
        found = torch.empty(rows, block.length, dtype=torch.int32, device=uniforms.device)
        given = _pad(uniforms, rows, block.length)
        self._launch(self.arguments(block, given, found, forced=False))
        return found[: len(uniforms)]

    def force(self, block: Block, previous: Tensor) -> Tensor:
        """Logits, (streams, length, levels), on the device, given the levels before each sample."""
        rows = self._rows(len(previous))
        found = torch.empty(rows, block.length, self.levels, device=previous.device)
        given = torch.zeros(rows, block.length, dtype=torch.int32, device=previous.device)
        given[: len(previous)] = previous
        self._launch(self.arguments(block, given, found, forced=True))
        return found[: len(previous)]

    def arguments(
        self, block: Block, given: Tensor, found: Tensor, *, forced: bool
    ) -> dict[str, Any]:
        """Arguments of the kernel by name."""
        _, frames, layers, gates = block.condition.shape
        condition = block.condition.unflatten(-1, (2, gates // 2))
        half = self.constants["half"]
        lag = None
        if block.lag is not None:
            lag = torch.zeros(len(found), frames, dtype=torch.int32, device=found.device)
            lag[: len(block.lag)] = block.lag.clamp(0, _LONGEST_LAG)
        temperature, top_p = self.sampling.effective_temperature, self.sampling.top_p
        return {
            **self.weights,
            **self.state,
            "condition": _pad(condition, len(found), frames, layers, 2, half),
            "lag": lag,
            "given": given,
            "found": found,
            "begin": block.begin,
            "length": block.length,
            "hop": block.hop,
            "first_frame": block.begin // block.hop,
            "frames": frames,
            "slots": self.slots,
            "span": self.span,
            "count": self.levels,
            "temperature": float(temperature),
            "top_p": float(top_p),
            "forced": forced,
            "greedy": temperature == 0,
            "narrow": top_p < 1,
            **self.constants,
        }

    def _launch(self, arguments: dict[str, Any]) -> None:
        # triton is optional and slow to import
        from vqspeech.sampling.kernel import steps

        found = arguments["found"]
        with torch.cuda.device_of(found):
            grid = (len(found) // self.shape.streams,)
            steps[grid](**arguments, num_warps=self.shape.warps)

    def _rows(self, streams: int) -> int:
        """Round a number of streams up to whole programs."""
        return -(-streams // self.shape.streams) * self.shape.streams


class _Transfer:
    """A tensor being copied to the CPU while the device works on."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.to("cpu", non_blocking=True)
        self.event: torch.cuda.Event | None = None
        if tensor.is_cuda:
            self.event = torch.cuda.current_stream(tensor.device).record_event()

    def wait(self) -> Tensor:
        """Wait for the copy and return it."""
        if self.event is not None:
            self.event.synchronize()
        return self.tensor


@torch.inference_mode()
def draw(
    wavenet: WaveNet,
    streams: Sequence[Stream],
    hop: int,
    sampling: Sampling,
    shape: Shape | None = None,
) -> Iterator[list[Tensor]]:
    """Draw streams, one launch per block; see `vqspeech.sampling.engine.Engine.draw`.

    The next block is launched before the last one is yielded. Threads are not used. `shape` overrides `SHAPES` when
    speeds are compared; the mode ``graph`` has no shapes.
    """
    # longest first: finished streams are at the end, and whole programs of them are not launched
    order = sorted(range(len(streams)), key=lambda i: -len(streams[i].uniforms))
    ranked = [streams[i] for i in order]
    longest = max(longest_lag(stream.lag, len(stream.uniforms)) for stream in streams)
    runner = _runner(wavenet, len(streams), sampling, longest, shape)

    def scatter(begin: int, transfer: _Transfer) -> list[Tensor]:
        blocks = [torch.empty(0, dtype=torch.int64)] * len(streams)
        for position, row in zip(order, transfer.wait().long(), strict=False):
            # a copy, so that a short piece does not keep the whole block alive
            blocks[position] = row[: len(streams[position].uniforms) - begin].clone()
        return blocks

    running: tuple[int, _Transfer] | None = None
    for begin in range(0, len(ranked[0].uniforms), BLOCK_SAMPLES):
        begun = [stream for stream in ranked if len(stream.uniforms) > begin]
        length = min(BLOCK_SAMPLES, len(begun[0].uniforms) - begin)
        block = _block(wavenet, begun, hop, begin, length)
        numbers = torch.zeros(len(begun), length, pin_memory=block.condition.is_cuda)
        for row, stream in zip(numbers, begun, strict=True):
            piece = stream.uniforms[begin : begin + length]
            row[: len(piece)] = piece
        levels = runner.draw(block, numbers.to(block.condition.device, non_blocking=True))
        following = begin, _Transfer(levels)
        if running is not None:
            yield scatter(*running)
        running = following
    if running is not None:
        yield scatter(*running)


@torch.inference_mode()
def logits(
    wavenet: WaveNet,
    condition: Tensor,
    hop: int,
    previous: Tensor,
    mode: str,
    lag: Tensor | None = None,
) -> Tensor:
    """Logits as `draw` finds them for a stream alone; see `vqspeech.sampling.engine.Engine.logits`."""
    runner = _runner(wavenet, 1, Sampling(mode=mode), longest_lag(lag, len(previous)))
    stream = Stream(condition, torch.empty(0), lag)
    previous = previous.to(condition.device)[None]
    found = [torch.empty(0, wavenet.levels)]
    for begin in range(0, previous.shape[1], BLOCK_SAMPLES):
        piece = previous[:, begin : begin + BLOCK_SAMPLES]
        block = _block(wavenet, [stream], hop, begin, piece.shape[1])
        found.append(runner.force(block, piece)[0].float().cpu())
    return torch.cat(found)


def _runner(
    wavenet: WaveNet,
    streams: int,
    sampling: Sampling,
    longest: int = 0,
    shape: Shape | None = None,
) -> Kernel | Graph:
    """The implementation of a mode."""
    if sampling.mode == "graph":
        return Graph(wavenet, streams, sampling, longest)
    return Kernel(wavenet, streams, sampling, longest, shape)


def _block(wavenet: WaveNet, streams: Sequence[Stream], hop: int, begin: int, length: int) -> Block:
    """Project the conditions of a block; those of a long recording would take gigabytes."""
    first, last = begin // hop, -(-(begin + length) // hop)
    frames = pad_sequence([stream.condition[first:last] for stream in streams], batch_first=True)
    lags = [stream.lag[first:last] for stream in streams if stream.lag is not None]
    lag = pad_sequence(lags, batch_first=True) if lags else None
    return Block(begin, length, hop, wavenet.project(frames), lag)


def _resources(device: torch.device) -> tuple[int, int]:
    """Multiprocessors, and bytes of shared memory that a program can have."""
    if device.type == "cpu":
        # one stream a program: the interpreter multiplies matrices of bfloat16 as if they were integers
        return sys.maxsize, sys.maxsize
    properties = torch.cuda.get_device_properties(device)
    shared: int = properties.shared_memory_per_block_optin  # type: ignore[attr-defined]
    return properties.multi_processor_count, shared


def _power_of_two(size: int) -> int:
    """The smallest power of two that is not below `size`."""
    return 1 << (size - 1).bit_length()


def _pad(tensor: Tensor, *shape: int) -> Tensor:
    """Put a tensor at the beginning of zeros, float32, of a shape that is as large or larger."""
    padded = tensor.new_zeros(shape, dtype=torch.float32)
    padded[tuple(slice(size) for size in tensor.shape)] = tensor
    return padded
