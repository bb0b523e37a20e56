"""The surroundings of a run: workers, the seed of a step, placement of data, and signals.

Steps, not epochs; a step follows from (seed, step), so a resumed run is equal to one that was never stopped.
"""

import json
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.training.config import RunConfig
from vqspeech.training.data.segments import CodedSegments, Segments
from vqspeech.training.memory import keep_freed_memory
from vqspeech.training.state import State

RESIDENT_SHARE = 0.25
"""Largest share of a GPU's free memory for training data."""


class Steps(Protocol):
    """Batches by step."""

    def __len__(self) -> int:
        """Return the number of steps of the run."""

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        """Return the batch of a step, a named tuple."""


def launch(run: RunConfig) -> Fabric:
    """Start the workers, or join those that torchrun or Slurm has started.

    Raises `ConfigurationError` where a device or precision is not available, or other workers were started than `run`
    needs.
    """
    wanted = run.devices * run.nodes
    started = _started_workers()
    if started not in (None, wanted):
        raise ConfigurationError(
            f"run.devices={run.devices} and run.nodes={run.nodes} ask for {wanted} workers, {started} were started;"
            " give torchrun or Slurm as many tasks as devices times nodes"
        )
    try:
        fabric = Fabric(
            accelerator=run.accelerator,
            devices=run.devices,
            num_nodes=run.nodes,
            precision=run.precision,  # type: ignore[arg-type]
            strategy="ddp" if wanted > 1 else "auto",
        )
    except (ValueError, MisconfigurationException) as error:
        raise ConfigurationError(f"run: {' '.join(str(error).split())}") from None
    fabric.launch()
    torch.set_num_threads(run.threads)
    if fabric.device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    keep_freed_memory()
    return fabric


@contextmanager
def lost_workers(folder: str) -> Iterator[None]:
    """Turn what any collective raises when a worker has ended, in whatever part of a step, into a `VqspeechError`."""
    try:
        yield
    except RuntimeError as error:
        frames = traceback.walk_tb(error.__traceback__)
        if not any(
            frame.f_globals["__name__"].startswith("torch.distributed") for frame, _ in frames
        ):
            raise
        raise VqspeechError(
            f"{folder}: another worker has ended or cannot be reached ({str(error).splitlines()[0][:120]});"
            " start all of them again with resume=auto"
        ) from None


def _started_workers() -> int | None:
    """Number of workers that torchrun or Slurm has started; None without them."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    # a job step: what runs in the batch script itself, or in an interactive shell, is alone
    if "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in (
        "bash",
        "interactive",
    ):
        tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS")
        return int(tasks) if tasks else None
    return None


def seed_of_step(run: RunConfig, fabric: Fabric, step: int) -> None:
    """Seed torch's generator for a step, so that its draws are a function of (seed, step) too."""
    own = np.random.SeedSequence([run.seed, fabric.global_rank, step])
    torch.manual_seed(int(own.generate_state(1)[0]))


def placed(segments: Segments | CodedSegments, resident: str, device: torch.device) -> Steps:
    """Return batches gathered on the device for `yes`, or `auto` and a GPU with room; else on the CPU."""
    if resident == "auto":
        room = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
        resident = "yes" if segments.bytes < RESIDENT_SHARE * room else "no"
    return segments.resident(device) if resident == "yes" else segments


def is_finished(state: State, steps: int, model_file: Path) -> bool:
    """Whether an earlier start has written all files; the metrics come last."""
    metrics = model_file.with_name("metrics.json")
    if state.step < steps or not (model_file.is_file() and metrics.is_file()):
        return False
    return bool(json.loads(metrics.read_text())["steps"] == state.step)


class _Stop:
    requested = False

    def request(self, number: int, _: object) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def leave_signals_to_the_main_process(_: int) -> None:
    """Ignore signals to the whole process group in a loader process, as from `timeout` or a terminal."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stop_signal() -> Iterator[_Stop]:
    """Turn SIGTERM and the first Ctrl-C into a request that is read between steps."""
    stop = _Stop()
    before = {
        number: signal.signal(number, stop.request) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
