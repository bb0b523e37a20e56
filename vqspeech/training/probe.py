"""Speed of a training step by batch size, measured before training begins."""

import time

import torch
from lightning.fabric import Fabric

from vqspeech.errors import ConfigurationError
from vqspeech.training.config import TrainConfig
from vqspeech.training.data.segments import Batch, CodedBatch
from vqspeech.training.state import State

GOOD_ENOUGH = 0.9
"""Share of the best speed that the batch must reach."""

LARGEST = 1024
"""Largest batch that is tried."""

LONG_S = 2 * 86400
"""Longest training on a CPU without the advice to use a GPU."""

TRIAL_S = 1.0
"""Seconds of trials per batch size."""


def samples_per_s(
    config: TrainConfig, state: State, fabric: Fabric, batch: int, trial_s: float = TRIAL_S
) -> float:
    """Samples per second that the WaveNet learns from with `batch` segments; no weight is moved.

    Forward and backward, eager, for `trial_s` seconds, at least two passes. `torch.OutOfMemoryError` where the batch
    does not fit the device.
    """
    device, crop = fabric.device, config.data.crop
    data, codes_learn = _noise(config, state, device, batch), config.learn == "all"
    times: list[float] = []
    while len(times) < 2 or (sum(times) < trial_s and len(times) < 20):
        began = time.monotonic()
        with fabric.autocast():
            loss = state.objective(data, crop, codes_learn).total
        loss.backward()
        state.objective.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.monotonic() - began)
    # the first pass allocates and initialises
    return batch * crop / min(times[1:])


def _noise(
    config: TrainConfig, state: State, device: torch.device, batch: int
) -> Batch | CodedBatch:
    """A batch of joint training, of noise: with codes where they will be given."""
    model, segment = state.objective.model, config.data.segment
    decoder = model.decoder
    row = torch.zeros(batch, dtype=torch.int64, device=device)
    frames = segment // decoder.condition_hop if decoder.pitch is not None else 0
    rest = (row, row + segment, row, torch.full((batch, frames), 120.0, device=device))
    draw = torch.Generator(device).manual_seed(0)
    pcm = torch.randint(-8192, 8192, (batch, segment), generator=draw, device=device)
    if not config.codes_given(model):
        return Batch(pcm.to(torch.int16), *rest)
    codes = torch.zeros(batch, segment // model.hop, dtype=torch.int64, device=device)
    return CodedBatch((pcm % model.config.levels).to(torch.uint8), codes, *rest)


def fitting_batch(config: TrainConfig, state: State, fabric: Fabric) -> int:
    """Find the smallest batch, of powers of two, within a tenth of the best speed.

    `ConfigurationError` where not even one segment fits the device.
    """
    speeds: dict[int, float] = {}
    batch = 1
    while batch <= LARGEST:
        try:
            speeds[batch] = samples_per_s(config, state, fabric, batch)
        except torch.OutOfMemoryError:
            break
        best = max(speeds.values())
        # two sizes in a row without a gain: larger ones have none either
        if batch >= 4 and max(speeds[batch], speeds[batch // 2]) < best:
            break
        batch *= 2
    torch.cuda.empty_cache()
    if not speeds:
        raise ConfigurationError(
            f"data.segment={config.data.segment}: a batch of one does not fit into the memory of {fabric.device}"
        )
    chosen = min(b for b, speed in speeds.items() if speed >= GOOD_ENOUGH * max(speeds.values()))
    tried = ", ".join(f"{b}: {speed:.3g}" for b, speed in speeds.items())
    fabric.print(f"data.batch=auto: {chosen} (samples/s by batch, eager: {tried})", flush=True)
    return chosen


def plan(config: TrainConfig, state: State, fabric: Fabric, left_s: float) -> str:
    """Report the amount of training data of a run and its approximate time, over all workers.

    The batch size is set; `left_s` are the seconds until training must end, infinite where steps decide.
    """
    if not config.optimizer.steps:
        spectral = config.spectral
        return (
            f"to learn from: {spectral.steps:,} steps of {spectral.batch} x {spectral.segment:,} samples, without the"
            " WaveNet"
        )
    batch, crop, workers = int(config.data.batch), config.data.crop, fabric.world_size
    rate = samples_per_s(config, state, fabric, batch, trial_s=0) * workers
    a_step = batch * crop * workers
    done = max(0, state.step - state.joined) if state.joined >= 0 else 0
    steps = config.optimizer.steps - done
    if left_s < float("inf"):
        steps, length = int(left_s * rate / a_step), f"{_long(left_s)} until it must end"
    else:
        length = f"about {_long(steps * a_step / rate)}"
    slow = ""
    if fabric.device.type == "cpu" and steps * a_step / rate > LONG_S:
        slow = (
            "\nno GPU is used, and this configuration is for one: experiment=real is the smaller one for a CPU"
            " (--config real of the recipe)"
        )
    warm = ""
    if state.joined < 0 and config.spectral.steps:
        warm = f", after {config.spectral.steps:,} steps of warm start"
        if config.init and config.learn != "all":
            warm += f" (codes stay those of {config.init}; learn=all moves them)"
    return (
        f"to learn from: {_many(steps * a_step)} samples in {steps:,} steps of {batch * workers} x {crop:,}{warm};"
        f" {length} at {rate:.3g} samples/s (measured on two steps, not compiled, on {workers} x {fabric.device.type})"
        f"{slow}"
    )


def _many(samples: float) -> str:
    return f"{samples / 1e9:.3g} G" if samples >= 1e8 else f"{samples / 1e6:.3g} M"


def _long(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.0f} s"
