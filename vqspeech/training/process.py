"""What every training run does, whatever it trains: launching, steps until the end or a signal, saving, giving up.

Steps, not epochs; what a step does follows from (seed, step), so a run that was stopped goes on as if it had not been.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.progress import Progress
from vqspeech.training.config import RunConfig
from vqspeech.training.memory import keep_freed_memory
from vqspeech.training.state import State, save_state

BAD_STEPS_IN_A_ROW = 5
"""Steps without a finite gradient, one after another, after which a run gives up."""


class Steps(Protocol):
    """Batches by step."""

    def __len__(self) -> int:
        """Return the number of steps of the run."""

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        """Return the batch of a step, a named tuple, on the CPU."""


class Stepped(NamedTuple):
    """Loss and gradient of a batch, before any weight is moved.

    Attributes
    ----------
    loss : Tensor
        Scalar that was minimised.
    norm : Tensor
        Norm of the gradient.
    amount : int
        Samples or codes of the batch, of this worker.
    told : object
        Whatever `Task.move`, `Task.note` and `Task.scalars` need to know.
    """

    loss: Tensor
    norm: Tensor
    amount: int
    told: Any


@dataclass(frozen=True)
class Task:
    """What is particular to a run.

    Attributes
    ----------
    data : Steps
        Batches, named tuples of tensors, by step; as many as the run has steps.
    workers : int
        Loader processes.
    unit : str
        What `Stepped.amount` counts.
    take : callable
        Takes a batch; returns its loss and gradient.
    move : callable
        Moves the weights, when both were finite on all workers.
    note : callable
        Takes what was done and the amount a second; says what people read while they wait.
    scalars : callable
        Takes the same; names the figures that TensorBoard shows.
    validate : callable
        Takes the writer; judges the run and writes what it has learned so far. Called every ``run.validate_every``
        steps.
    validate_after : int
        Steps before which there is nothing to judge.
    """

    data: Steps
    workers: int
    unit: str
    take: Callable[[Any], Stepped]
    move: Callable[[Stepped], None]
    note: Callable[[Stepped, float], str]
    scalars: Callable[[Stepped, float], dict[str, float | Tensor]]
    validate: Callable[[SummaryWriter], None]
    validate_after: int = 0


def launch(run: RunConfig, strategy: str) -> Fabric:
    """Start the workers.

    Raises
    ------
    ConfigurationError
        The settings of `run` name a device, precision or strategy that is not there.
    """
    try:
        fabric = Fabric(
            accelerator=run.accelerator,
            devices=run.devices,
            precision=run.precision,  # type: ignore[arg-type]
            strategy=strategy,
        )
    except (ValueError, MisconfigurationException) as error:
        raise ConfigurationError(f"run: {' '.join(str(error).split())}") from None
    fabric.launch()
    torch.set_num_threads(run.threads)
    keep_freed_memory()
    return fabric


def seed_of_step(run: RunConfig, fabric: Fabric, step: int) -> None:
    """Give torch's generator a seed of its own, so that what is drawn in a step is a function of it as well."""
    own = np.random.SeedSequence([run.seed, fabric.global_rank, step])
    torch.manual_seed(int(own.generate_state(1)[0]))


def run_steps(fabric: Fabric, run: RunConfig, state: State, task: Task) -> bool:
    """Take all steps that are left, saving ``state.pt`` on the way.

    Parameters
    ----------
    fabric : Fabric
        The workers.
    run : RunConfig
        Where to write, and how often.
    state : State
        Where the run stands; it is moved on.
    task : Task
        What is trained.

    Returns
    -------
    bool
        False when a signal ended the run before its last step.

    Raises
    ------
    VqspeechError
        Loss or gradient have stopped being finite.
    """
    folder = Path(run.dir)
    state_file = folder / "state.pt"
    steps = len(task.data)
    loader: DataLoader[Any] = DataLoader(
        task.data,  # type: ignore[arg-type]
        batch_size=None,
        sampler=range(state.step, steps),
        num_workers=task.workers,
        pin_memory=fabric.device.type == "cuda",
        worker_init_fn=_leave_signals_to_the_main_process,
    )
    bad_steps, saved_at = 0, time.monotonic()
    # one process speaks for all
    events: Any = nullcontext()
    counter: Any = nullcontext()
    if fabric.is_global_zero:
        events = SummaryWriter(str(folder), purge_step=state.step + 1)
        counter = Progress(steps, "steps", "training", initial=state.step)
    with stop_signal() as stop, events as writer, counter as progress:
        for batch in loader:
            began = time.monotonic()
            batch = type(batch)(*(part.to(fabric.device, non_blocking=True) for part in batch))
            stepped = task.take(batch)
            finite = torch.isfinite(stepped.loss.detach()) & torch.isfinite(stepped.norm)
            if _all(fabric, finite):
                task.move(stepped)
                bad_steps = 0
            else:
                state.skipped += 1
                bad_steps += 1
            state.step += 1
            state.samples += stepped.amount * fabric.world_size
            spent_s = time.monotonic() - began
            state.seconds += spent_s
            rate = stepped.amount * fabric.world_size / spent_s
            if progress:
                progress.update(1, f"{task.note(stepped, rate)}, {rate:.3g} {task.unit}/s")
            if writer and state.step % run.log_every == 0:
                for name, value in task.scalars(stepped, rate).items():
                    writer.add_scalar(name, float(value), state.step)

            stopping = not _all(fabric, torch.tensor(not stop.requested, device=fabric.device))
            hopeless = bad_steps >= BAD_STEPS_IN_A_ROW
            due = time.monotonic() - saved_at > run.save_every_s
            validating = state.step % run.validate_every == 0 and state.step > task.validate_after
            if validating and not (stopping or hopeless) and fabric.is_global_zero:
                task.validate(writer)
            if fabric.is_global_zero and (due or validating or stopping or hopeless):
                save_state(state, state_file)
                saved_at = time.monotonic()
            fabric.barrier()
            if hopeless:
                raise VqspeechError(
                    f"{folder}: loss or gradient was not finite in {bad_steps} steps in a row, up to"
                    f" step {state.step}; the weights before them are in {state_file}."
                    " Lower optimizer.learning_rate or look for broken recordings."
                )
            if stopping:
                fabric.print(
                    f"stopped at step {state.step}; resume=auto goes on from there", flush=True
                )
                return False
    return True


def is_finished(state: State, steps: int, model_file: Path) -> bool:
    """Whether an earlier start has written all that a run writes; the metrics come last."""
    metrics = model_file.with_name("metrics.json")
    if state.step < steps or not (model_file.is_file() and metrics.is_file()):
        return False
    return bool(json.loads(metrics.read_text())["steps"] == state.step)


def _all(fabric: Fabric, condition: Tensor) -> bool:
    """Whether a condition holds on every worker."""
    if fabric.world_size == 1:
        return bool(condition)
    return bool(fabric.all_reduce(condition.float(), reduce_op="sum") == fabric.world_size)


class _Stop:
    requested = False

    def request(self, number: int, _: object) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave_signals_to_the_main_process(_: int) -> None:
    """Keep a loader process at work when a signal goes to the whole group, as from `timeout` or a terminal."""
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
