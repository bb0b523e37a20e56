"""The interface of an engine, its settings, and the choice of one.

An engine is a module that runs a WaveNet one sample at a time. It draws level t of a stream by inverting the
cumulative distribution at the stream's own t-th uniform number, so a draw does not depend on the other streams.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from vqspeech.errors import ConfigurationError
from vqspeech.nn.wavenet import WaveNet

LOWEST_TEMPERATURE = 1e-6
"""Temperatures below this count as 0: the most likely level, before logits over the temperature overflow."""

BLOCK_SAMPLES = 1_024
"""Most samples that a stream advances between two yields of an engine: 64 ms at 16 kHz."""


@dataclass(frozen=True)
class Sampling:
    """How levels are drawn, by which engine, and how they are post-filtered.

    Attributes
    ----------
    temperature : float
        Divides the logits; 0, like anything below `LOWEST_TEMPERATURE`, takes the most likely level.
    top_p : float
        In (0, 1]: levels are drawn from the smallest set with this much probability, the most likely first (Holtzman et
        al. 2020, section 3.1); ties go to the lower level.
    engine : str
        Name of an engine, or ``auto`` for the fastest that runs here.
    mode : str
        Arithmetic of the engine, one of its ``MODES``, or ``auto`` for the first of them.
    threads : int or None
        CPU threads; None for as many as this process may use, but one for a single stream. Does not change the result.
    post_filter : float
        In [0, 1]: how far the spectrum of the samples is moved to the one that the decoder predicts, where it has a
        spectral head (`vqspeech.models.postfilter`), and noise between harmonics taken away, where it has a pitch
        contour (`vqspeech.models.pitchfilter`). 0 is the WaveNet alone.

    Raises
    ------
    ConfigurationError
        When a number is out of range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    engine: str = "auto"
    mode: str = "auto"
    threads: int | None = None
    post_filter: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if not self.temperature >= 0:
            raise ConfigurationError(f"temperature {self.temperature}: must be 0 or more")
        if not 0 < self.top_p <= 1:
            raise ConfigurationError(f"top_p {self.top_p}: must be above 0 and at most 1")
        if self.threads is not None and self.threads < 1:
            raise ConfigurationError(f"threads {self.threads}: must be 1 or more")
        if not 0 <= self.post_filter <= 1:
            raise ConfigurationError(f"post_filter {self.post_filter}: must be from 0 to 1")

    @property
    def effective_temperature(self) -> float:
        """The temperature that is applied: 0 for anything below `LOWEST_TEMPERATURE`; infinity is kept."""
        return self.temperature if self.temperature >= LOWEST_TEMPERATURE else 0.0


DEFAULT = Sampling()
"""The default: from the whole distribution, by the fastest engine."""


@dataclass(frozen=True)
class Stream:
    """One sequence of levels to draw.

    Attributes
    ----------
    condition : Tensor
        (frames, condition_channels), on the device of the model.
    uniforms : Tensor
        float32, (samples,), in [0, 1), on the CPU: the number that decides each draw.
    lag : Tensor or None
        int64, (frames,): samples per pitch period; for a WaveNet with pitch taps only.
    """

    condition: Tensor
    uniforms: Tensor
    lag: Tensor | None = None


def uniforms(samples: int, seed: int) -> Tensor:
    """Uniform numbers in [0, 1) that decide a stream, float32, (samples,), on the CPU."""
    return torch.rand(samples, generator=torch.Generator().manual_seed(seed))


def longest_lag(lag: Tensor | None, samples: int) -> int:
    """Longest pitch period of a stream in samples, at most its length, else 0: past levels to be kept."""
    return 0 if lag is None or not lag.numel() else min(max(int(lag.max()), 0), samples)


class Engine(Protocol):
    """The interface of an engine's module.

    ``MODES`` are its arithmetics, the default first; ``DEVICE`` is the type of device that a model must be on, or None.
    """

    MODES: tuple[str, ...]
    DEVICE: str | None

    def unavailable_reason(self, device: torch.device) -> str | None:
        """Why it cannot run a model that is on `device`, in a few words; None when it can."""

    def draw(
        self, wavenet: WaveNet, streams: Sequence[Stream], hop: int, sampling: Sampling
    ) -> Iterator[list[Tensor]]:
        """Draw streams of any lengths; closing the iterator ends the work.

        Parameters
        ----------
        wavenet : WaveNet
            The model.
        streams : sequence of Stream
            At least one; none is longer than ``hop`` times its frames, some may have no samples.
        hop : int
            Samples per condition frame.
        sampling : Sampling
            With the mode resolved to one of ``MODES``.

        Yields
        ------
        list of Tensor
            For each stream, in order, the levels drawn since the last yield: int64, on the CPU, at most `BLOCK_SAMPLES`
            of them, none for a stream that is finished or has not begun.
        """

    def logits(
        self,
        wavenet: WaveNet,
        condition: Tensor,
        hop: int,
        previous: Tensor,
        mode: str,
        lag: Tensor | None = None,
    ) -> Tensor:
        """Teacher-forced logits of one stream: those that `draw` draws from.

        Parameters
        ----------
        wavenet : WaveNet
            The model.
        condition : Tensor
            (frames, condition_channels).
        hop : int
            Samples per condition frame.
        previous : Tensor
            int64, (time,): the level before each sample; at most ``hop * frames``.
        mode : str
            One of ``MODES``.
        lag : Tensor, optional
            int64, (frames,), for a WaveNet with pitch taps.

        Returns
        -------
        Tensor
            float32, (time, levels), on the CPU.
        """


def resolve(engines: Mapping[str, Engine], sampling: Sampling, device: torch.device) -> Sampling:
    """Decide which of `engines`, the fastest first, runs what is asked, and in which mode.

    The answer is what is asked, with the names of engine and mode, and is resolved to itself.

    Raises
    ------
    ConfigurationError
        When there is no such engine or mode, or the engine cannot run here.
    """
    name = sampling.engine
    if name == "auto":
        able = [
            name for name, engine in engines.items() if engine.unavailable_reason(device) is None
        ]
        having = [name for name in able if sampling.mode in ("auto", *engines[name].MODES)]
        name = (having or able)[0]
    if name not in engines:
        raise ConfigurationError(
            f"engine {name!r}: there is no such engine, choose one of auto, {', '.join(engines)}"
        )
    engine = engines[name]
    reason = engine.unavailable_reason(device)
    if reason is not None:
        raise ConfigurationError(f"engine {name}: {reason}; choose another, or auto")
    mode = engine.MODES[0] if sampling.mode == "auto" else sampling.mode
    if mode not in engine.MODES:
        raise ConfigurationError(f"mode {mode!r}: engine {name} has {', '.join(engine.MODES)}")
    return replace(sampling, engine=name, mode=mode)
