"""The state of a run: all that the next step depends on, in one file of plain values and tensors.

Data and jitter of a step follow from (seed, step), so no generator's state is kept.
"""

import io
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from vqspeech.errors import ModelFileError
from vqspeech.jobs.atomic import write_file
from vqspeech.training.schedule import average_decay

FORMAT, VERSION = "vqspeech-state", 4
COUNTS = ("step", "skipped", "samples", "seconds", "curve", "joined", "batch")
"""Entries of a state that are plain values."""


class RunningAverage(nn.Module):
    """A running average of weights, see `average_decay`, that starts as a copy of them.

    Unlike `torch.optim.swa_utils.AveragedModel` it counts on the host, so that an update waits for no GPU. `module` is
    the copy with averaged weights and the buffers of the last update; `n_averaged`, int64 on the CPU, counts updates.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        self.module, self.decay = deepcopy(module), decay
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.int64))
        self.n_averaged: Tensor

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the weights of a module of the same shape."""
        count = int(self.n_averaged)
        share = 1 - average_decay(count, self.decay) if count else 1.0
        torch._foreach_lerp_(list(self.module.parameters()), list(module.parameters()), share)
        for own, other in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(other)
        self.n_averaged += 1


@dataclass
class State:
    """A run between two steps.

    Attributes
    ----------
    objective : Module
        Module that is trained under its loss; its attribute ``model``, with ``speakers``, is the result.
    optimizers : list of Optimizer
        Of its weights.
    average : RunningAverage
        Running average of the decoder, or of the prior.
    step : int
        Steps done.
    skipped : int
        Of these, steps without an update because loss or gradient was not finite.
    samples : int
        Samples that the WaveNet has learned from, or codes of a prior, over all workers.
    seconds : float
        Time spent in training steps, over all starts.
    curve : list of dict
        One entry of plain values per validation.
    joined : int
        Step at which the WaveNet began to learn; -1 before.
    batch : int
        Segments per step and worker, where training has chosen them; else 0.
    """

    objective: Any
    optimizers: list[Optimizer]
    average: RunningAverage
    step: int = 0
    skipped: int = 0
    samples: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    joined: int = -1
    batch: int = 0


def save_state(state: State, path: Path) -> None:
    """Write a state atomically; `ModelFileError` where the file cannot be written."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "speakers": list(state.objective.model.speakers),
        "objective": state.objective.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in state.optimizers],
        "average": state.average.state_dict(),
        **{name: getattr(state, name) for name in COUNTS},
    }
    # In memory first: torch reports a full disk as an unexpected position.
    packed = io.BytesIO()
    torch.save(content, packed)
    try:
        write_file(path, packed.getvalue())
    except OSError as error:
        raise ModelFileError(f"{path}: could not be written ({error.strerror})") from None


def _first_misfit(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    for key in sorted(set(found) | set(expected)):
        if key not in expected:
            return f"{key} found, the configured model has none of that name"
        if key not in found:
            return f"{key} missing"
        if found[key].shape != expected[key].shape:
            return (
                f"{key} has shape {tuple(found[key].shape)},"
                f" the configured model has {tuple(expected[key].shape)}"
            )
    return None


def resume(fabric: Fabric, state: State, path: Path) -> bool:
    """Fill a state on all workers from a file of the first worker; return whether there is one.

    Raises `ModelFileError`; see `read_state` and `fill_state`.
    """
    content = read_state(path) if fabric.is_global_zero and path.exists() else None
    content = fabric.broadcast(content)
    if content is not None:
        fill_state(state, content, path)
    return content is not None


def read_state(path: Path) -> dict[str, Any]:
    """Read a state file; `ModelFileError` where it is damaged, or has anything but plain values and tensors."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises a dozen types for damaged files, and UnpicklingError for anything that would run code
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelFileError(
            f"{path}: not a training state that can be read safely ({reason})"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelFileError(f"{path}: not a vqspeech training state")
    version = content.get("version")
    if not isinstance(version, int) or version != VERSION:
        found = version if isinstance(version, int) else f"of type {type(version).__name__}"
        raise ModelFileError(f"{path}: state version {found} found, {VERSION} expected")
    missing = [
        key
        for key in ("speakers", "objective", "optimizers", "average", *COUNTS)
        if key not in content
    ]
    if missing:
        raise ModelFileError(f"{path}: a training state without {', '.join(missing)}")
    return content


def fill_state(state: State, content: Mapping[str, Any], path: Path) -> None:
    """Fill a state with the content of a file.

    Raises `ModelFileError` where it belongs to another configuration, and the state is unchanged; or where it is
    inconsistent, and the state must not be used.
    """
    try:
        _fill(state, content, path)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        # torch's errors for optimizers and averages of another shape
        reason = " ".join(str(error).split())
        raise ModelFileError(
            f"{path}: a training state that contradicts itself ({reason})"
        ) from None


def _fill(state: State, content: Mapping[str, Any], path: Path) -> None:
    """Put values that are all there into a state; those of another run are refused before any is moved."""
    speakers = list(state.objective.model.speakers)
    if content["speakers"] != speakers:
        raise ModelFileError(
            f"{path}: speakers {', '.join(map(str, content['speakers']))}, the store has"
            f" {', '.join(speakers)}; use another run.dir for another store"
        )
    misfit = _first_misfit(content["objective"], state.objective.state_dict())
    if misfit:
        raise ModelFileError(f"{path}: {misfit}; use another run.dir for another model")
    state.objective.load_state_dict(content["objective"])
    for optimizer, values in zip(state.optimizers, content["optimizers"], strict=True):
        optimizer.load_state_dict(values)
    state.average.load_state_dict(content["average"])
    for name in COUNTS:
        found, expected = type(content[name]), type(getattr(state, name))
        if found is not expected and {found, expected} != {int, float}:
            raise TypeError(f"{name} is {content[name]!r}")
        setattr(state, name, content[name])
