"""The native engine: C++ loops that run the WaveNet on CPU threads, one sample at a time.

A stream gives the same bytes whatever the other streams and threads: every sum has a fixed order. The bytes depend on
the mode, and on whether the processor has AVX2 and FMA.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from vqspeech.jobs.workers import usable_threads
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling.engine import BLOCK_SAMPLES, Sampling, Stream

try:
    from vqspeech.sampling import _native
except ImportError:  # no compiler when the package was installed
    BUILT = False
else:
    BUILT = True

MODES: tuple[str, ...] = ("bf16", "fp32", "int8")
DEVICE: str | None = None
"""Weights as bf16 (activations and sums in fp32), all in fp32, or weights of 8 and activations of 16 bits."""


def unavailable_reason(device: torch.device) -> str | None:
    """Why the engine cannot run, whatever device the model is on; None when it can."""
    if not BUILT:
        return "not built: install again where there is a C++ compiler"
    return None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).contiguous().numpy()


def _lags(lag: Tensor | None) -> np.ndarray | None:
    return None if lag is None else lag.cpu().numpy()


def pack(wavenet: WaveNet, mode: str, instructions: str = "best") -> "_native.Network":
    """Pack the weights for one of `MODES`; `instructions` are ``best`` here, ``avx2``, or ``portable``.

    Raises `ValueError` when the processor does not have the instructions.
    """
    arrays = {
        "embedding": wavenet.embedding.weight,
        "gate": wavenet.gate_weight,
        "residual": wavenet.residual_weight,
        "residual_bias": wavenet.residual_bias,
        "skip": wavenet.skip.weight,
        "skip_bias": wavenet.skip.bias,
        "hidden": wavenet.hidden.weight,
        "hidden_bias": wavenet.hidden.bias,
        "output": wavenet.output.weight,
        "output_bias": wavenet.output.bias,
        "condition": wavenet.condition.weight,
        "condition_bias": wavenet.condition.bias,
    }
    if wavenet.taps is not None:
        arrays["taps"] = wavenet.taps
    return _native.Network(
        {name: _array(tensor) for name, tensor in arrays.items()},
        wavenet.dilations,
        wavenet.silence,
        mode,
        instructions,
    )


def draw(
    wavenet: WaveNet, streams: Sequence[Stream], hop: int, sampling: Sampling
) -> Iterator[list[Tensor]]:
    """Draw streams on threads, up to six in lockstep on each; see `vqspeech.sampling.engine.Engine`.

    A single stream has one thread, unless more were requested and there are cores for them: then a second one helps
    for as long as that is measured to pay, which it does only while no other work wants its core.
    """
    cores = usable_threads()
    sampler = _native.Sampler(
        pack(wavenet, sampling.mode),
        hop,
        sampling.threads or cores,
        1 / sampling.effective_temperature if sampling.effective_temperature > 0 else -1.0,
        sampling.top_p,
        help="measured" if sampling.threads is not None and cores > 1 else "never",
    )
    for stream in streams:
        sampler.add(_array(stream.condition), stream.uniforms.numpy(), lags=_lags(stream.lag))
    drawn = [torch.from_numpy(sampler.drawn(i)) for i in range(len(streams))]
    done = [0] * len(streams)
    while any(time < len(levels) for time, levels in zip(done, drawn, strict=True)):
        sampler.advance(BLOCK_SAMPLES)
        times = [sampler.time(i) for i in range(len(streams))]
        yield [
            levels[start:end].to(torch.int64)
            for levels, start, end in zip(drawn, done, times, strict=True)
        ]
        done = times


def logits(
    wavenet: WaveNet,
    condition: Tensor,
    hop: int,
    previous: Tensor,
    mode: str,
    lag: Tensor | None = None,
    threads: int = 1,
) -> Tensor:
    """Teacher-forced logits of one stream; see `vqspeech.sampling.engine.Engine`."""
    sampler = _native.Sampler(pack(wavenet, mode), hop, threads, -1.0, 1.0)
    sampler.add(
        _array(condition),
        torch.zeros(len(previous)).numpy(),
        previous.cpu().numpy(),
        _lags(lag),
    )
    sampler.advance(len(previous))
    return torch.from_numpy(sampler.logits(0))
