"""Engines that run a WaveNet one sample at a time, behind one function.

All engines draw level t by inverting the cumulative distribution at a uniform number that comes from the
stream's own seed, so a stream's draw does not depend on its company.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vqspeech.errors import ConfigurationError
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import reference

Sampler = Callable[
    [WaveNet, list[Tensor], int, list[Tensor], float, Callable[[int], None]], list[Tensor]
]
ENGINES: dict[str, Sampler] = {"reference": reference.sample}
"""Engines by name; the fastest that runs everywhere is what ``auto`` means."""

COLDEST = 1e-6
"""Temperatures below this count as 0: the most likely level, before logits over the temperature overflow."""


def uniforms(samples: int, seed: int) -> Tensor:
    """Uniform numbers in [0, 1) that decide a stream, float32, (samples,), on the CPU."""
    return torch.rand(samples, generator=torch.Generator().manual_seed(seed))


def sample(
    wavenet: WaveNet,
    conditions: Sequence[Tensor],
    hop: int,
    samples: Sequence[int],
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
    engine: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """Draw several streams of levels in lockstep.

    Parameters
    ----------
    wavenet : WaveNet
        The model; its device is where the work is done.
    conditions : sequence of Tensor
        For each stream, (frames, condition_channels).
    hop : int
        Samples a condition frame.
    samples : sequence of int
        Length of each stream; at most ``hop * frames`` of it.
    seeds : sequence of int
        Seed of each stream.
    temperature : float
        Divides the logits; 0, like anything below `COLDEST`, takes the most likely level.
    engine : str
        A name in `ENGINES` or ``auto``.
    progress : callable, optional
        Called with samples done and samples in all, now and then.

    Returns
    -------
    list of Tensor
        int64, (samples,) for each stream, on the CPU.

    Raises
    ------
    ConfigurationError
        Unknown engine or negative temperature.
    """
    if engine not in ("auto", *ENGINES):
        raise ConfigurationError(
            f"engine {engine!r}: there is no such engine, choose one of auto, {', '.join(ENGINES)}"
        )
    if not temperature >= 0:
        raise ConfigurationError(f"temperature {temperature}: must be 0 or more")
    if not len(conditions) == len(samples) == len(seeds):
        raise ValueError("as many conditions as lengths and seeds are needed")
    for condition, length in zip(conditions, samples, strict=True):
        if length > hop * len(condition):
            raise ValueError(f"{length} samples asked of {len(condition)} frames of {hop} samples")
    if not samples:
        return []
    total, done = sum(samples), 0

    def count(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(done, total)

    draw = ENGINES["reference" if engine == "auto" else engine]
    numbers = [uniforms(n, seed) for n, seed in zip(samples, seeds, strict=True)]
    warmth = temperature if temperature >= COLDEST else 0.0
    return draw(wavenet, list(conditions), hop, numbers, warmth, count)
