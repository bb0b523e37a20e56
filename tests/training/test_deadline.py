"""Training against the clock, which is a fake one but for the last test: each step takes a second."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vqspeech.errors import ConfigurationError
from vqspeech.models.checkpoint import read_header
from vqspeech.training import loop
from vqspeech.training.config import from_mapping
from vqspeech.training.loop import train
from vqspeech.training.schedule import (
    RESERVED_LEAST_S,
    RESERVED_MOST_S,
    RESERVED_SHARE,
    Clock,
    process_age_s,
)

Settings = dict[str, Any]
DEADLINE_S = 75.0
ENDS_S = DEADLINE_S * (1 - RESERVED_SHARE)


class Fake(Clock):
    """A clock that others move."""

    def __init__(self, deadline_s: float, now_s: float = 0.0) -> None:
        super().__init__(deadline_s)
        self.at_s = now_s

    @property
    def now_s(self) -> float:
        return self.at_s


@pytest.fixture
def timed(settings: Settings) -> Settings:
    """Return settings with a deadline, whose steps would take the tenth part of it."""
    settings["run"] |= {"deadline_s": DEADLINE_S, "validate_every": 25}
    settings["optimizer"] |= {"steps": 20, "warmup": 2}
    settings["spectral"]["steps"] = 0
    return settings


def _rates(
    monkeypatch: pytest.MonkeyPatch, clock: Fake, stop_at: int | None = None
) -> list[tuple[float, float]]:
    """Let each step take a second of `clock`; return, filled on the way, the time and the learning rate of each."""
    seen: list[tuple[float, float]] = []
    step = loop._step

    def timed_step(config: Any, state: Any, *rest: Any) -> None:
        if state.step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        step(config, state, *rest)
        seen.append((clock.at_s, state.optimizers[0].param_groups[0]["lr"]))
        clock.at_s += 1

    monkeypatch.setattr(loop, "Clock", lambda _: clock)
    monkeypatch.setattr(loop, "_step", timed_step)
    return seen


def test_rate_follows_the_share_of_time_and_reaches_0_at_the_end(
    timed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rises over the same share as by steps, however many those are, then falls; time for scores is left."""
    clock = Fake(DEADLINE_S, 10)
    seen = _rates(monkeypatch, clock)
    assert train(from_mapping(timed)) is not None
    times, rates = zip(*seen, strict=True)
    assert len(rates) == ENDS_S - 10
    highest = timed["optimizer"]["learning_rate"]
    assert max(rates) == pytest.approx(highest)
    top = rates.index(max(rates))
    assert times[top] - 10 == pytest.approx(0.1 * (ENDS_S - 10), abs=1)
    assert list(rates[:top]) == sorted(rates[:top])
    assert list(rates[top:]) == sorted(rates[top:], reverse=True)
    assert rates[-1] < 1e-3 * highest
    folder = Path(timed["run"]["dir"])
    assert json.loads((folder / "metrics.json").read_text())["steps"] == len(rates)


def test_warm_start_and_joint_training_share_the_time_as_their_steps(
    timed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The WaveNet begins to learn after a quarter of the time where a quarter of the steps is warm start."""
    timed["optimizer"]["steps"], timed["spectral"]["steps"] = 60, 20
    seen = _rates(monkeypatch, Fake(DEADLINE_S))
    train(from_mapping(timed))
    state = torch.load(Path(timed["run"]["dir"]) / "state.pt", weights_only=True)
    assert state["joined"] == pytest.approx(ENDS_S / 4, abs=1)
    assert state["step"] == len(seen) == ENDS_S


def test_a_run_that_is_resumed_has_the_clock_of_its_new_process(
    timed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, it goes on with its weights and with a rise and a fall in the time that is there now."""
    with monkeypatch.context() as patch:
        first = _rates(patch, Fake(DEADLINE_S), stop_at=20)
        assert train(from_mapping(timed)) is None
    assert len(first) == 21
    timed["run"]["deadline_s"] = 2 * DEADLINE_S
    second = _rates(monkeypatch, Fake(2 * DEADLINE_S))
    assert train(from_mapping(timed)) is not None
    assert len(second) == int(2 * ENDS_S)
    assert second[0][1] < second[10][1]
    assert second[-1][1] < 1e-3 * timed["optimizer"]["learning_rate"]
    state = torch.load(Path(timed["run"]["dir"]) / "state.pt", weights_only=True)
    assert state["step"] == len(first) + len(second)


def test_scoring_gets_the_time_that_is_left(
    timed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither validation nor the last scores may outlast the deadline."""
    clock = Fake(DEADLINE_S)
    _rates(monkeypatch, clock)
    given: list[float] = []
    held_out = loop.held_out

    def remember(*args: Any, time_s: float, **others: Any) -> Any:
        assert time_s < DEADLINE_S - clock.at_s
        given.append(time_s)
        return held_out(*args, **others)

    monkeypatch.setattr(loop, "held_out", remember)
    train(from_mapping(timed))
    assert len(given) == 3
    assert given == sorted(given, reverse=True)
    assert given[-1] > 0


def test_a_model_that_there_is_no_time_to_score_is_there(
    timed: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run ends well, with its weights and state and without scores; a line for each split says so."""
    _rates(monkeypatch, Fake(DEADLINE_S))
    held_out = loop.held_out
    monkeypatch.setattr(loop, "held_out", lambda *args, **_: held_out(*args, time_s=-1.0))
    file = train(from_mapping(timed))
    assert file is not None
    assert read_header(file)["scores"] == {}
    assert not file.with_name("metrics.json").exists()
    assert file.with_name("state.pt").is_file()
    printed = capsys.readouterr().out
    assert printed.count("no utterance of split 'valid' could be scored in 0 s") == 2
    assert printed.count("no utterance of split 'test' could be scored in 0 s") == 1


def test_time_kept_back_is_a_share_within_bounds() -> None:
    """Of minutes some seconds, of days two minutes, and nothing without a deadline."""
    assert Clock(60).training_ends_s == 60 - RESERVED_LEAST_S
    assert Clock(1000).training_ends_s == 1000 * (1 - RESERVED_SHARE)
    assert Clock(86400).training_ends_s == 86400 - RESERVED_MOST_S
    assert Clock().training_ends_s == Clock().scoring_left_s == float("inf")


def test_the_clock_began_with_the_process() -> None:
    """Imports count: what was done before the clock was made is in it."""
    assert 0 < process_age_s() < 86400
    before, now, after = process_age_s(), Clock(60).now_s, process_age_s()
    tick = 0.02
    assert before - tick <= now <= after + tick


def test_a_deadline_that_leaves_no_time_is_refused(settings: Settings) -> None:
    """Loading and scoring take some seconds."""
    settings["run"]["deadline_s"] = 5.0
    with pytest.raises(ConfigurationError, match=r"run\.deadline_s: 5"):
        from_mapping(settings)


@pytest.mark.slow
def test_the_real_clock_ends_a_run(
    settings: Settings, write_settings: Callable[[Settings], Path]
) -> None:
    """Whatever its steps: with a deadline only time ends it. How well it is kept, benchmarks/deadlines.py measures."""
    settings["run"]["deadline_s"] = 30.0
    done = subprocess.run(
        [sys.executable, "-m", "vqspeech.training", str(write_settings(settings))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (Path(settings["run"]["dir"]) / "model.safetensors").is_file()
