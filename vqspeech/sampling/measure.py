"""Speed of the engines, and their error against the parallel pass.

Speeds are samples per second over all streams of a row, medians over interleaved rounds. Errors are teacher-forced: of
logits as they are, of distributions in nats, computed in float64.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vqspeech.errors import ConfigurationError
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import (
    BLOCK_SAMPLES,
    ENGINES,
    Engine,
    Sampling,
    draw,
    resolve,
    usable_threads,
)

OWN_SAMPLES = 8_192
"""Samples of a drawn passage, used without speech: four reference receptive fields."""

WINDOW_SAMPLES = 8_000
"""Samples per window of the parallel pass, which bounds its memory."""


class Case(NamedTuple):
    """What is timed: a row of the table.

    Attributes
    ----------
    engine, mode : str
        Name of the engine, and its arithmetic.
    streams : int
        Streams drawn together.
    threads : int
        CPU threads that the engine may use.
    pitch_taps : bool
        Whether the WaveNet has pitch taps.
    """

    engine: str
    mode: str
    streams: int
    threads: int
    pitch_taps: bool = False


BASELINE = Case("reference", "fp32", 1, 1)
"""Baseline of every speed, with pitch taps where every WaveNet has them."""

LOADS = {
    "native": ((1, 1), (6, 1), (1, 2), (12, 2)),
    "cuda": ((1, 1), (64, 1), (512, 1)),
    "reference": ((1, 1), (16, 1)),
}
"""Default streams and threads for each engine."""


@dataclass(frozen=True)
class Subject:
    """The WaveNet that is measured.

    Attributes
    ----------
    wavenet : WaveNet
        The model; its device does the work.
    condition : Tensor
        (frames, condition_channels), on that device; repeated as needed.
    hop : int
        Samples per condition frame.
    sample_rate : int
        Hz.
    lag : Tensor or None
        int64, (frames,), for a WaveNet with pitch taps.
    """

    wavenet: WaveNet
    condition: Tensor
    hop: int
    sample_rate: int
    lag: Tensor | None = None

    @property
    def pitch_taps(self) -> bool:
        """Whether the WaveNet has pitch taps."""
        return self.wavenet.taps is not None

    def cover(self, samples: int) -> Tensor:
        """The condition of as many frames as hold `samples` samples, (frames, condition_channels)."""
        return self.condition[self._frames(samples)]

    def cover_lag(self, samples: int) -> Tensor | None:
        """The lag of as many frames, (frames,)."""
        return None if self.lag is None else self.lag[self._frames(samples)]

    def _frames(self, samples: int) -> Tensor:
        frames = torch.arange(-(-samples // self.hop)) % len(self.condition)
        return frames.to(self.condition.device)


class Passage(NamedTuple):
    """Levels with their condition, on which engines are compared with the parallel pass.

    Attributes
    ----------
    condition : Tensor
        (frames, condition_channels), on the device of the model.
    levels : Tensor
        int64, (samples,): at least one and at most ``hop * frames``.
    lag : Tensor or None
        int64, (frames,), for a WaveNet with pitch taps.
    """

    condition: Tensor
    levels: Tensor
    lag: Tensor | None = None


@dataclass(frozen=True)
class Accuracy:
    """Error of an engine against the parallel pass.

    Attributes
    ----------
    max_abs_dlogit : float
        Largest difference of a logit.
    kl_nats : float
        Mean over samples of KL(parallel || engine), nats.
    delta_nll_nats : float
        Mean over samples of the engine's -log p of the true level minus that of the parallel pass, nats.
    """

    max_abs_dlogit: float
    kl_nats: float
    delta_nll_nats: float


@dataclass(frozen=True)
class Row:
    """Results for one case.

    Attributes
    ----------
    engine, mode, streams, threads, pitch_taps
        See `Case`.
    samples_per_s : float
        Over all streams.
    x_real_time : float
        Seconds of sound per second, over all streams.
    x_reference : float
        Ratio to the speed of `BASELINE` in the same run.
    max_abs_dlogit, kl_nats, delta_nll_nats : float
        See `Accuracy`.
    """

    engine: str
    mode: str
    streams: int
    threads: int
    pitch_taps: bool
    samples_per_s: float
    x_real_time: float
    x_reference: float
    max_abs_dlogit: float
    kl_nats: float
    delta_nll_nats: float


def reference_subject(device: torch.device | str = "cpu", *, pitch_taps: bool = False) -> Subject:
    """Make a WaveNet of the reference size, with fixed random weights.

    256 levels, 20 layers of dilations 2 x (1 ... 512), 64 residual, 128 gate, 256 skip and 128 condition channels, 100
    frames per second at 16 kHz: 864,256 multiply-adds per sample, without the condition's. With pitch taps about three
    frames of five have a lag, of 40 to 266 samples: 60 to 400 Hz.
    """
    dilations = [2**i for i in range(10)] * 2
    lag = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wavenet = WaveNet(256, dilations, 64, 128, 256, 128, pitch_taps=pitch_taps).eval()
        condition = torch.randn(256, 128)
        if wavenet.taps is not None:
            torch.nn.init.normal_(wavenet.taps, std=0.3)
            voiced = torch.rand(256) < 0.6
            lag = torch.where(voiced, torch.randint(40, 267, (256,)), 0).to(device)
    with torch.no_grad():
        # entropy of a trained model, 2.6 nats: nearly equal logits would be exact in any arithmetic
        wavenet.output.weight.mul_(64)
    return Subject(wavenet.to(device), condition.to(device), 160, 16_000, lag)


def plan(
    device: torch.device,
    *,
    engines: Sequence[str] = (),
    modes: Sequence[str] = (),
    streams: Sequence[int] = (),
    threads: Sequence[int] = (),
    pitch_taps: Sequence[bool] = (False,),
) -> list[Case]:
    """List the cases to time, `BASELINE` always among them, with the first of `pitch_taps`.

    Empty `engines` and `modes` mean all that can run on `device`. Every pair of `streams` and `threads` is timed;
    without either, the engines' `LOADS` with as many threads as may be used; with one of them, the other takes its
    values in `LOADS`. Threads do not count for an engine whose `LOADS` never have more than one. Each case is repeated
    for each of `pitch_taps`. Raises `ConfigurationError` for an unknown engine or mode, or a named engine that cannot
    run here.
    """
    if engines:
        names = [resolve(ENGINES, Sampling(engine=name), device).engine for name in engines]
    else:
        names = [
            name for name, engine in ENGINES.items() if engine.unavailable_reason(device) is None
        ]
    for mode in modes:
        if not any(mode in ENGINES[name].MODES for name in names):
            having = "; ".join(f"{name} has {', '.join(ENGINES[name].MODES)}" for name in names)
            raise ConfigurationError(f"mode {mode!r}: {having}")
    cases = [
        Case(name, mode, *load, taps)
        for name in dict.fromkeys(names)
        for mode in ENGINES[name].MODES
        if not modes or mode in modes
        for load in _loads(name, streams, threads)
        for taps in pitch_taps
    ]
    baseline = BASELINE._replace(pitch_taps=pitch_taps[0])
    return cases if baseline in cases else [*cases, baseline]


def _loads(
    engine: str, streams: Sequence[int], threads: Sequence[int]
) -> Sequence[tuple[int, int]]:
    every = LOADS.get(engine, ((1, 1),))
    usual = [load for load in every if load[1] <= usable_threads()]
    if not streams and not threads:
        return usual
    if max(load[1] for load in every) == 1:
        threads = (1,)
    return [
        (n, t)
        for t in dict.fromkeys(threads or [load[1] for load in usual])
        for n in dict.fromkeys(streams or [load[0] for load in usual])
    ]


def speed(subject: Subject, case: Case, samples: int) -> float:
    """Draw `samples` of each stream once and return the speed, samples per second over all streams.

    With several blocks the time before the first is left out: an engine packs weights or captures a graph then, which
    is negligible for a long recording. A draw of one block is timed whole.
    """
    sampling = Sampling(engine=case.engine, mode=case.mode, threads=case.threads)
    conditions = [subject.cover(samples)] * case.streams
    lag = subject.cover_lag(samples)
    lags = None if lag is None else [lag] * case.streams
    lengths, seeds = [samples] * case.streams, range(case.streams)
    times, drawn = [time.perf_counter()], [0]
    for blocks in draw(
        subject.wavenet, conditions, subject.hop, lengths, seeds=seeds, sampling=sampling, lags=lags
    ):
        times.append(time.perf_counter())
        drawn.append(sum(map(len, blocks)))
    first = 1 if len(drawn) > 2 else 0
    return sum(drawn[first + 1 :]) / (times[-1] - times[first])


def length(samples_per_s: float, streams: int, seconds: float) -> int:
    """Samples per stream for about `seconds` of `speed`: whole blocks, or less than one."""
    samples = round(samples_per_s * seconds / streams)
    if samples < BLOCK_SAMPLES:
        return max(1, samples)
    # one more, which is not timed
    return (samples // BLOCK_SAMPLES + 1) * BLOCK_SAMPLES


def speeds(
    subjects: Mapping[bool, Subject],
    cases: Sequence[Case],
    *,
    rounds: int,
    seconds: float,
    tick: Callable[[], None],
) -> list[float]:
    """Median speed of each case, samples per second; each round has every case once, so a disturbance falls on all.

    `subjects` are keyed by pitch taps. A first round, of two blocks per case, warms up and sets lengths so that a
    timing takes about `seconds`. `tick` is called after each draw, ``(rounds + 1) * len(cases)`` times.
    """

    def timed(case: Case, samples: int) -> float:
        found = speed(subjects[case.pitch_taps], case, samples)
        tick()
        return found

    lengths = [length(timed(case, 2 * BLOCK_SAMPLES), case.streams, seconds) for case in cases]
    found = [
        [timed(case, samples) for case, samples in zip(cases, lengths, strict=True)]
        for _ in range(rounds)
    ]
    return [statistics.median(rates) for rates in zip(*found, strict=True)]


@torch.inference_mode()
def parallel_logits(
    wavenet: WaveNet, condition: Tensor, hop: int, previous: Tensor, lag: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield logits of the parallel pass, (time, levels) on the CPU, in windows of about `WINDOW_SAMPLES`.

    `condition` is (frames, condition_channels), `previous` int64 (samples,), at most ``hop * frames``, `lag` (frames,).
    """
    batch = previous[None].to(condition.device)
    lags = None if lag is None else lag[None]
    for logits in wavenet.windows(batch, condition[None], hop, WINDOW_SAMPLES, lags):
        yield logits[0].cpu()


def accuracy(
    wavenet: WaveNet, hop: int, engine: Engine, mode: str, passages: Sequence[Passage]
) -> Accuracy:
    """Compare a mode of an engine with the parallel pass, with equal weight for each sample of all passages.

    The engine returns the logits of a passage at once: 1 kB per sample at 256 levels.
    """
    largest, kl, delta, samples = torch.zeros((), dtype=torch.float64), 0.0, 0.0, 0
    for condition, levels, lag in passages:
        previous = wavenet.previous(levels[None])[0]
        found = engine.logits(wavenet, condition, hop, previous, mode, lag)
        start = 0
        for expected in parallel_logits(wavenet, condition, hop, previous, lag):
            stop = start + len(expected)
            ours, target = found[start:stop].double(), levels[start:stop, None].cpu()
            expected = expected.double()
            log_p, log_q = expected.log_softmax(1), ours.log_softmax(1)
            # unlike max, it keeps nan
            largest = torch.maximum(largest, (expected - ours).abs().max())
            kl += float((log_p.exp() * (log_p - log_q)).sum())
            delta += float((log_p - log_q).gather(1, target).sum())
            start = stop
        samples += len(levels)
    return Accuracy(float(largest), kl / samples, delta / samples)


def own_passage(subject: Subject, samples: int) -> Passage:
    """Draw a fixed passage from the model, by the fastest engine here."""
    condition = subject.cover(samples)
    lag = subject.cover_lag(samples)
    blocks = draw(
        subject.wavenet,
        [condition],
        subject.hop,
        [samples],
        seeds=[0],
        lags=None if lag is None else [lag],
    )
    return Passage(condition, torch.cat([block for (block,) in blocks]), lag)


def measure(
    subjects: Mapping[bool, Subject],
    cases: Sequence[Case],
    passages: Mapping[bool, Sequence[Passage]],
    *,
    rounds: int,
    seconds: float,
    tick: Callable[[], None],
) -> list[Row]:
    """Measure the speed of each case and, once per engine, mode and WaveNet, the accuracy; one row per case, in order.

    `subjects` and `passages` are keyed by pitch taps; `cases` are from `plan`, with `BASELINE`; `rounds` and `seconds`
    are as for `speeds`. `tick` is called after each piece of work, `pieces` times.
    """
    rates = dict(
        zip(cases, speeds(subjects, cases, rounds=rounds, seconds=seconds, tick=tick), strict=True)
    )
    baseline = BASELINE if BASELINE in rates else BASELINE._replace(pitch_taps=True)
    accuracies = {}
    for engine, mode, taps in dict.fromkeys(map(_arithmetic, cases)):
        subject = subjects[taps]
        accuracies[engine, mode, taps] = accuracy(
            subject.wavenet, subject.hop, ENGINES[engine], mode, passages[taps]
        )
        tick()
    rows = []
    for case, rate in rates.items():
        error = accuracies[_arithmetic(case)]
        rows.append(
            Row(
                *case,
                samples_per_s=rate,
                x_real_time=rate / subjects[case.pitch_taps].sample_rate,
                x_reference=rate / rates[baseline],
                max_abs_dlogit=error.max_abs_dlogit,
                kl_nats=error.kl_nats,
                delta_nll_nats=error.delta_nll_nats,
            )
        )
    return rows


def pieces(cases: Sequence[Case], rounds: int) -> int:
    """Number of pieces of work in `measure`."""
    return (rounds + 1) * len(cases) + len(set(map(_arithmetic, cases)))


def _arithmetic(case: Case) -> tuple[str, str, bool]:
    return case.engine, case.mode, case.pitch_taps
