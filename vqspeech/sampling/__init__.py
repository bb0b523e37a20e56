"""Engines that run a WaveNet one sample at a time, behind one function, `draw`.

All engines draw level t by inverting the cumulative distribution at a uniform number from the stream's own seed, so a
draw does not depend on the other streams.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor

from vqspeech.jobs.workers import usable_threads
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import cuda, native, reference
from vqspeech.sampling.engine import (
    BLOCK_SAMPLES,
    DEFAULT,
    LOWEST_TEMPERATURE,
    Engine,
    Sampling,
    Stream,
    resolve,
    uniforms,
)

__all__ = [
    "BLOCK_SAMPLES",
    "DEFAULT",
    "ENGINES",
    "LOWEST_TEMPERATURE",
    "Engine",
    "Sampling",
    "Stream",
    "draw",
    "resolve",
    "uniforms",
    "usable_threads",
]

ENGINES: dict[str, Engine] = {"cuda": cuda, "native": native, "reference": reference}
"""Engines by name, the fastest first; ``auto`` is the first that can run."""


def draw(
    wavenet: WaveNet,
    conditions: Sequence[Tensor],
    hop: int,
    samples: Sequence[int],
    *,
    seeds: Sequence[int],
    sampling: Sampling = DEFAULT,
    lags: Sequence[Tensor] | None = None,
) -> Iterator[list[Tensor]]:
    """Draw several streams of levels together, in blocks as they are made.

    Arguments are checked at once, before the first block is requested. Closing the iterator ends the work.

    Parameters
    ----------
    conditions : sequence of Tensor
        For each stream, (frames, condition_channels), of `hop` samples a frame.
    samples, seeds : sequence of int
        Length of each stream, at most ``hop * frames`` of it, and its seed.
    lags : sequence of Tensor, optional
        For each stream, int64, (frames,): samples per pitch period, 0 where unvoiced. Required with pitch taps.

    Returns
    -------
    iterator of list of Tensor
        For each stream, in order, the next levels: int64, on the CPU, at most `BLOCK_SAMPLES` of them, none for a
        stream that is finished or has not begun.

    Raises
    ------
    ConfigurationError
        There is no such engine or mode, or the engine cannot run here.
    ValueError
        Numbers of conditions, lengths, seeds and lags differ, a condition does not cover its stream, or lags are given
        without pitch taps, or missing with them.
    """
    if not len(conditions) == len(samples) == len(seeds):
        raise ValueError("as many conditions as lengths and seeds are needed")
    for condition, length in zip(conditions, samples, strict=True):
        if length > hop * len(condition):
            raise ValueError(f"{length} samples asked of {len(condition)} frames of {hop} samples")
    device = wavenet.gate_weight.device
    sampling = resolve(ENGINES, sampling, device)
    periods: list[Tensor | None] = [None] * len(samples)
    if lags is not None:
        periods = [lag.to(device) for lag in lags]
        if [len(lag) for lag in lags] != [len(condition) for condition in conditions]:
            raise ValueError("as many lags as frames of each condition are needed")
    if not samples:
        return iter(())
    for lag in periods:
        wavenet.check_lag(lag)
    streams = [
        Stream(condition.to(device), uniforms(length, seed), lag)
        for condition, length, seed, lag in zip(conditions, samples, seeds, periods, strict=True)
    ]
    return ENGINES[sampling.engine].draw(wavenet, streams, hop, sampling)
