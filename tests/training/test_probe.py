"""Before training: the batch that is found by trials, and what a run says it will learn from."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric

from vqspeech.errors import ConfigurationError
from vqspeech.training import probe
from vqspeech.training.config import TrainConfig, from_mapping
from vqspeech.training.probe import fitting_batch, plan, samples_per_s
from vqspeech.training.start import start
from vqspeech.training.state import State

Settings = dict[str, Any]


@pytest.fixture
def fabric() -> Fabric:
    """Return one worker on the CPU."""
    return Fabric(accelerator="cpu", devices=1)


@pytest.fixture
def prepared(settings: Settings) -> tuple[TrainConfig, State]:
    """Return a configuration of 8 steps of joint training, 2 x 320 samples each, and its state."""
    config = from_mapping(settings)
    return config, start(config, ["ann", "bob"], torch.device("cpu"))


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ([10, 20, 40, 60, 62, 63, 60, 60], 8),
        ([50, 49, 48, 47], 1),
        ([10, 20, 40, 80, 85, 100, 99, 98], 32),
        ([10, 20, None], 2),
    ],
    ids=["flat", "one", "late", "memory"],
)
def test_the_smallest_batch_within_a_tenth_of_the_best_speed_is_taken(
    prepared: tuple[TrainConfig, State],
    fabric: Fabric,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    speeds: list[float | None],
    expected: int,
) -> None:
    """Powers of two are tried until two of them gain nothing, or memory ends; all that was tried is printed."""

    def measured(*args: Any) -> float:
        speed = speeds[int(args[3]).bit_length() - 1]
        if speed is None:
            raise torch.OutOfMemoryError
        return speed

    monkeypatch.setattr(probe, "samples_per_s", measured)
    assert fitting_batch(*prepared, fabric) == expected
    assert f"data.batch=auto: {expected} " in capsys.readouterr().out


def test_where_nothing_fits_it_is_one_line(
    prepared: tuple[TrainConfig, State], fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment is too long."""

    def full(*_: Any) -> float:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(probe, "samples_per_s", full)
    with pytest.raises(ConfigurationError, match=r"data\.segment=640: a batch of one does not fit"):
        fitting_batch(*prepared, fabric)


@pytest.mark.parametrize("learn", ["all", "decoder"])
def test_speed_is_measured_and_moves_no_weight(
    settings: Settings, fabric: Fabric, learn: str
) -> None:
    """Of both kinds of batch, with sound and with codes; no gradient stays behind."""
    settings["learn"] = learn
    config = from_mapping(settings)
    state = start(config, ["ann", "bob"], torch.device("cpu"))
    before = deepcopy(state.objective.state_dict())
    assert samples_per_s(config, state, fabric, 3, trial_s=0) > 0
    for key, tensor in state.objective.state_dict().items():
        assert torch.equal(tensor, before[key]), key
    assert all(weight.grad is None for weight in state.objective.parameters())


def test_the_plan_names_samples_steps_and_time(
    prepared: tuple[TrainConfig, State], fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By steps, by what is left of them, and by a deadline."""
    config, state = prepared
    monkeypatch.setattr(probe, "samples_per_s", lambda *_, **__: 64.0)
    text = plan(config, state, fabric, float("inf"))
    assert "0.00512 M samples in 8 steps of 2 x 320, after 4 steps of warm start" in text
    assert "about 80 s at 64 samples/s" in text
    assert "codes stay" not in text
    fixed = replace(config, init="vctk", learn="decoder")
    assert "warm start (codes stay those of vctk; learn=all" in plan(fixed, state, fabric, 1e9)
    state.step, state.joined = 10, 4
    assert "0.00128 M samples in 2 steps" in plan(config, state, fabric, float("inf"))
    timed = plan(config, state, fabric, 100.0)
    assert "in 10 steps" in timed
    assert "100 s until it must end" in timed


def test_a_cpu_is_told_of_the_smaller_configuration_where_it_would_take_days(
    prepared: tuple[TrainConfig, State], fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only there."""
    config, state = prepared
    for rate, slow in ((64.0, False), (0.01, True)):
        monkeypatch.setattr(probe, "samples_per_s", lambda *_, rate=rate, **__: rate)
        text = plan(config, state, fabric, float("inf"))
        assert ("experiment=real is the smaller one" in text) == slow
