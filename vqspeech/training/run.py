"""A run in progress: its steps until the end, a signal or a deadline; clipping, saving, reporting and giving up.

On a GPU no step waits for the device: values for the host are read every ``run.log_every`` steps.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from vqspeech.errors import VqspeechError
from vqspeech.jobs.atomic import write_file
from vqspeech.jobs.progress import Progress
from vqspeech.training.config import RunConfig
from vqspeech.training.data.segments import Resident
from vqspeech.training.process import Steps, leave_signals_to_the_main_process, stop_signal
from vqspeech.training.schedule import Clock, learning_rate
from vqspeech.training.state import State, save_state

BAD_STEPS_IN_A_ROW = 5
"""Consecutive steps without a finite gradient after which a run gives up."""

CURVE = "curve.jsonl"
"""File in the folder of a run with a JSON object for each logged step and each validation."""


@dataclass(frozen=True)
class Stretch:
    """A part of a run with its own schedule.

    Attributes
    ----------
    first, last : int
        Steps [first, last) of the run; without effect under a deadline.
    begins_s, ends_s : float
        Under a deadline, seconds since the start of the process instead.
    warmup : float
        Share of the stretch in which the learning rate rises.
    """

    first: int
    last: int
    begins_s: float
    ends_s: float
    warmup: float


class Run(AbstractContextManager["Run"]):
    """A run in progress.

    Iterate `steps`, and in each of them compute a gradient, `apply` it and `report` it; saving and the like follow when
    the next step is requested.

    Parameters
    ----------
    fabric : Fabric
        The workers.
    config : RunConfig
        Outputs and intervals.
    state : State
        State of the run; it is updated.
    unit : str
        Unit of training data, samples or codes.
    clip : float
        Largest norm of the gradient over all weights that have one.
    export : callable
        Writes the model so far; called by the first worker whenever it saves the state.
    clock : Clock
        Of the process.

    Attributes
    ----------
    writer : SummaryWriter or None
        TensorBoard's, of the first worker.
    total_steps : int
        Steps of all stretches, for display; 0 for those of the first.
    """

    def __init__(
        self,
        fabric: Fabric,
        config: RunConfig,
        state: State,
        unit: str,
        clip: float,
        export: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.fabric, self.config, self.state, self.unit = fabric, config, state, unit
        self.clip, self.export, self.clock = clip, export, clock
        self.folder = Path(config.dir)
        self.writer: SummaryWriter | None = None
        self.total_steps = 0
        self._stopped = False
        self._progress: Progress | None = None
        device = fabric.device
        self._bad_in_a_row = torch.zeros((), dtype=torch.int64, device=device)
        self._bad = torch.zeros((), dtype=torch.int64, device=device)
        self._bad_counted = 0
        # over all workers: requests to stop, losses that are not finite, and the first worker's clock
        self._control = torch.zeros(3, device=device)
        self._shared_now_s = 0.0
        self._stretch = Stretch(0, 0, 0.0, 0.0, 0.0)

    def __enter__(self) -> Self:
        """Install signal handlers and open the outputs."""
        self._stop_context = stop_signal()
        self._stop = self._stop_context.__enter__()
        if self.fabric.is_global_zero:
            self.writer = SummaryWriter(str(self.folder), purge_step=self.state.step + 1)
            self._cut_curve()
        self._saved_at = time.monotonic()
        self._open_window()
        self._synchronise_clock()
        return self

    def __exit__(self, *error: Any) -> None:
        """Restore signal handlers and close the outputs."""
        if self._progress is not None:
            self._progress.close()
        if self.writer is not None:
            self.writer.close()
        self._stop_context.__exit__(*error)

    @property
    def now_s(self) -> float:
        """Seconds since the start of the first worker's process, the same on all workers."""
        return self.clock.now_s if self.fabric.world_size == 1 else self._shared_now_s

    def was_stopped(self) -> bool:
        """Whether a signal has ended the run before its last step."""
        return self._stopped

    def _goes_on(self) -> bool:
        """Whether the stretch has steps, or time, left, and no stop was requested."""
        if self._stopped:
            return False
        if self.clock.deadline_s:
            return self.now_s < self._stretch.ends_s
        return self.state.step < self._stretch.last

    def learning_rate(self) -> float:
        """Learning rate of this step as a share of the highest."""
        of = self._stretch
        if self.clock.deadline_s:
            done, total = self.now_s - of.begins_s, of.ends_s - of.begins_s
        else:
            done, total = self.state.step - of.first, of.last - of.first
        return learning_rate(done, total, 1.0, of.warmup * total)

    def steps(self, data: Steps, stretch: Stretch, workers: int) -> Iterator[Any]:
        """Yield the remaining batches of a stretch, on this worker's device.

        Parameters
        ----------
        data : Steps
            Batches by step.
        stretch : Stretch
            Range of steps or time.
        workers : int
            Loader processes, where batches are not gathered on the device.

        Yields
        ------
        tuple of Tensor
            A batch.

        Raises
        ------
        VqspeechError
            Loss or gradient are no longer finite, or a worker has ended.
        """
        self._stretch = stretch
        if not self._goes_on():
            return
        self._show()
        requested_s = time.monotonic()
        self._open_window()
        for batch in self._batches(data, workers):
            self._waited_s += time.monotonic() - requested_s
            yield batch
            self._after()
            if not self._goes_on():
                return
            requested_s = time.monotonic()

    def apply(self, loss: Tensor, optimizers: Sequence[Optimizer], *, wait: bool = False) -> bool:
        """Clip the gradient in the weights, over all of them, and update them; return whether they were updated.

        With a loss or gradient that is not finite on any worker nothing is updated. On a GPU without `wait` the
        gradient counts as zero instead, and the result is always true. `optimizers` have all the weights.
        """
        grads = [
            weight.grad
            for optimizer in optimizers
            for group in optimizer.param_groups
            for weight in group["params"]
            if weight.grad is not None
        ]
        self._reduce(grads, loss)
        norm = torch.nn.utils.get_total_norm(grads)
        finite = torch.isfinite(norm) & (self._control[1] == 0)
        self.norm = norm
        self._bad_in_a_row = torch.where(finite, 0, self._bad_in_a_row + 1)
        self._bad += ~finite
        self.state.step += 1
        if (wait or self._on_cpu) and not bool(finite):
            moved = False
        else:
            scale = (self.clip / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(grads, scale)
            if not self._on_cpu:
                for grad in grads:
                    grad.masked_fill_(~finite, 0)
            for optimizer in optimizers:
                optimizer.step()
            moved = True
        for optimizer in optimizers:
            optimizer.zero_grad()
        return moved

    def report(
        self,
        amount: int,
        note: Callable[[], str],
        scalars: Callable[[], dict[str, float | Tensor]],
    ) -> None:
        """Report progress at intervals.

        `amount` is this worker's in this step, in the unit of the run; `note` returns a phrase for the progress line,
        `scalars` the values for TensorBoard and the curve.
        """
        self._window_amount += amount * self.fabric.world_size
        if not self._looks or not self.fabric.is_global_zero:
            return
        spent_s = max(time.monotonic() - self._window_at, 1e-9)
        rate, waiting = self._window_amount / spent_s, self._waited_s / spent_s
        if self._progress is not None:
            late = f", waiting for data {100 * waiting:.0f} % of the time" if waiting > 0.05 else ""
            text = f"{note()}, {rate:.3g} {self.unit}/s{late}"
            at = self.now_s if self.clock.deadline_s else self.state.step
            self._progress.update(int(at) - self._progress.done, text)
        if self.writer is not None and self.state.step % self.config.log_every == 0:
            found = {name: float(value) for name, value in scalars().items()}
            found[f"train/{self.unit}_per_s"] = rate
            found["train/skipped_steps"] = self.state.skipped
            found["train/gradient_norm"] = float(self.norm)
            for name, value in found.items():
                self.writer.add_scalar(name, value, self.state.step)
            plain = {name.removeprefix("train/"): value for name, value in found.items()}
            self.log(plain)

    def log(self, figures: dict[str, Any]) -> None:
        """Append scalars of this step to the curve, on the first worker only."""
        if not self.fabric.is_global_zero:
            return
        entry = {"step": self.state.step, self.unit: self.state.samples, **figures}
        finite = {k: v for k, v in entry.items() if not isinstance(v, float) or math.isfinite(v)}
        with (self.folder / CURVE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite) + "\n")

    def _cut_curve(self) -> None:
        """Drop what the curve has beyond the state, left by a run that was killed: those steps come again."""
        path = self.folder / CURVE
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        kept = [line for line in lines if _step_of(line) <= self.state.step]
        if kept != lines:
            write_file(path, "".join(kept))

    def judge(self, validate: Callable[[SummaryWriter | None], None]) -> None:
        """Validate, on all workers, and save, every ``run.validate_every`` steps; `validate` takes `writer`."""
        hurried = self.fabric.world_size == 1 and self._stop.requested
        if self.state.step % self.config.validate_every or hurried:
            return
        self._close_window()
        validate(self.writer)
        self.save()
        self._open_window()

    def save(self) -> None:
        """Write state and model, on the first worker only."""
        if self.fabric.is_global_zero:
            self._count_bad()
            save_state(self.state, self.folder / "state.pt")
            self.export()
        self._saved_at = time.monotonic()

    @property
    def _on_cpu(self) -> bool:
        return self.fabric.device.type == "cpu"

    @property
    def _looks(self) -> bool:
        """Whether the host reads from the device after this step; the same on all workers."""
        return self._on_cpu or self.state.step % self.config.log_every == 0

    def _batches(self, data: Steps, workers: int) -> Iterator[Any]:
        if isinstance(data, Resident):
            yield from (data[step] for step in count(self.state.step))
            return
        last = 2**62 if self.clock.deadline_s else self._stretch.last
        loader: DataLoader[Any] = DataLoader(
            data,  # type: ignore[arg-type]
            batch_size=None,
            sampler=range(self.state.step, last),
            num_workers=workers,
            pin_memory=not self._on_cpu,
            worker_init_fn=leave_signals_to_the_main_process,
        )
        for batch in loader:
            yield type(batch)(*(part.to(self.fabric.device, non_blocking=True) for part in batch))

    def _show(self) -> None:
        if not self.fabric.is_global_zero or self._progress is not None:
            return
        if self.clock.deadline_s:
            total, begun = int(self.clock.training_ends_s), int(self.now_s)
            self._progress = Progress(total, "s", "training", initial=begun)
        else:
            last = self.total_steps or self._stretch.last
            self._progress = Progress(last, "steps", "training", initial=self.state.step)

    def _reduce(self, grads: list[Tensor], loss: Tensor) -> None:
        """Average gradients and shared values over workers: one all-reduce per step."""
        bad = ~torch.isfinite(loss.detach())
        if self.fabric.world_size == 1:
            self._control[1] = bad
            return
        first = self.fabric.is_global_zero
        local = torch.tensor([float(self._stop.requested), self.clock.now_s if first else 0.0])
        local = local.to(self.fabric.device, non_blocking=True)
        control = torch.stack([local[0], bad.float(), local[1]])
        flat = torch.cat([grad.flatten() for grad in grads] + [control])
        dist.all_reduce(flat)
        *parts, self._control = flat.split([grad.numel() for grad in grads] + [len(control)])
        for grad, part in zip(grads, parts, strict=True):
            torch.div(part.view_as(grad), self.fabric.world_size, out=grad)

    def _synchronise_clock(self) -> None:
        if self.fabric.world_size > 1:
            now = torch.zeros(1, device=self.fabric.device)
            if self.fabric.is_global_zero:
                now += self.clock.now_s
            dist.all_reduce(now)
            self._shared_now_s = float(now)

    def _open_window(self) -> None:
        """Start measuring speed."""
        self._window_at, self._window_amount, self._waited_s = time.monotonic(), 0, 0.0

    def _close_window(self) -> None:
        """Add the time since then to the training time."""
        self.state.seconds += time.monotonic() - self._window_at
        self._window_at = time.monotonic()

    def _count_bad(self) -> None:
        bad = int(self._bad)
        self.state.skipped += bad - self._bad_counted
        self._bad_counted = bad

    def _after(self) -> None:
        """Save at intervals; give up or stop where necessary."""
        stopping, hopeless = False, False
        if self._looks:
            self._count_bad()
            hopeless = int(self._bad_in_a_row) >= BAD_STEPS_IN_A_ROW
            requested = self._stop.requested
            if self.fabric.world_size > 1:
                control = self._control.tolist()
                requested, self._shared_now_s = control[0] > 0, control[2]
            stopping = bool(requested)
        due = time.monotonic() - self._saved_at > self.config.save_every_s
        if due or stopping or hopeless:
            self.save()
        if self._looks:
            self._close_window()
            self._open_window()
        if hopeless:
            raise VqspeechError(
                f"{self.folder}: loss or gradient was not finite in {BAD_STEPS_IN_A_ROW} steps in a row, up to"
                f" step {self.state.step}; the weights before them are in {self.folder / 'state.pt'}."
                " Lower optimizer.learning_rate or check for broken recordings."
            )
        if stopping:
            self._stopped = True
            self.fabric.print(
                f"stopped at step {self.state.step}; resume=auto continues from there", flush=True
            )


def _step_of(line: str) -> float:
    """Return the step of a line of the curve; infinity where the line is not whole."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf
