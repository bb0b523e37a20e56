"""k steps, stop, resume and n - k steps give bitwise what n steps give, whatever stopped them."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from vqspeech.training.config import from_mapping
from vqspeech.training.loop import train

Settings = dict[str, Any]
WARM, STEPS = 6, 60


def _launch(config: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "vqspeech.training", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _wait_for_new_state(process: subprocess.Popen, state: Path, before: int) -> None:
    """Return as soon as the run has saved a state after the one of time `before`."""
    while not state.exists() or state.stat().st_mtime_ns <= before:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.001)


def _finish(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


@pytest.fixture(scope="module")
def long_settings(plain_settings: Settings) -> Settings:
    """Return settings of a run that is long enough to be stopped on its way; each step is saved."""
    own = deepcopy(plain_settings)
    own["spectral"]["steps"], own["optimizer"]["steps"] = WARM, STEPS - WARM
    own["run"]["save_every_s"] = 0
    # Codes die and are revived on the way, so that revival is part of what must come out the same.
    own["model"]["bottleneck"]["dead_below"] = 0.5
    return own


def _content(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "state.pt", weights_only=True)


def _differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """Names of all entries that are not bitwise equal."""
    if isinstance(expected, torch.Tensor):
        return [] if torch.equal(found, expected) else [where]
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        return [d for k in expected for d in _differences(found[k], expected[k], f"{where}.{k}")]
    if isinstance(expected, list):
        assert len(found) == len(expected)
        pairs = zip(found, expected, strict=True)
        return [d for i, (f, e) in enumerate(pairs) for d in _differences(f, e, f"{where}.{i}")]
    return [] if found == expected else [where]


@pytest.fixture(scope="module")
def straight(long_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return the last state of a run that was left alone."""
    own = deepcopy(long_settings)
    folder = tmp_path_factory.mktemp("straight")
    own["run"]["dir"] = str(folder)
    train(from_mapping(own))
    return _content(folder)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_and_killed_runs_end_bitwise_like_one_that_was_left_alone(
    long_settings: Settings,
    straight: Settings,
    tmp_path: Path,
    write_settings: Callable[[Settings], Path],
    workers: int,
) -> None:
    """SIGKILL, resume, SIGTERM, resume, each in a new process: the state is that of a straight run."""
    own, folder = deepcopy(long_settings), tmp_path / "broken"
    own["run"]["dir"], own["data"]["workers"] = str(folder), workers
    config, state = write_settings(own), folder / "state.pt"

    killed = _launch(config)
    _wait_for_new_state(killed, state, 0)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait(60) == -signal.SIGKILL
    killed_at = _content(folder)["step"]
    assert 1 <= killed_at < STEPS

    stopped = _launch(config)
    _wait_for_new_state(stopped, state, state.stat().st_mtime_ns)
    # to the whole group, as `timeout` and batch systems send it: the loader's workers get it too
    os.killpg(stopped.pid, signal.SIGTERM)
    (told,) = re.findall(r"stopped at step (\d+); resume=auto", _finish(stopped))
    stopped_at = _content(folder)["step"]
    assert killed_at < stopped_at == int(told) < STEPS
    assert not (folder / "metrics.json").exists()

    assert "test: " in _finish(_launch(config))
    resumed = _content(folder)
    assert resumed["step"] == straight["step"] == STEPS
    timeless = [{k: v for k, v in c.items() if k != "seconds"} for c in (resumed, straight)]
    assert _differences(*timeless) == []
