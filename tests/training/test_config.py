"""Settings: there and back through JSON, and every mistake named at once."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from one_line import one_line

from vqspeech.errors import ConfigurationError
from vqspeech.training.config import from_mapping, read_config
from vqspeech.training.data.segments import Phase

Settings = dict[str, Any]


def _set(settings: Settings, key: str, value: Any) -> None:
    *groups, name = key.split(".")
    for group in groups:
        settings = settings[group]
    settings[name] = value


def test_there_and_back(settings: Settings, tmp_path: Path) -> None:
    """Mapping to dataclass to JSON to dataclass changes nothing."""
    config = from_mapping(settings)
    assert asdict(config) == settings
    path = tmp_path / "config.json"
    path.write_text(json.dumps(asdict(config)))
    assert read_config(path) == config


def test_whole_numbers_may_stand_for_numbers(settings: Settings) -> None:
    """A rate written as 1 is the float 1.0."""
    settings["optimizer"]["clip"] = 1
    clip = from_mapping(settings).optimizer.clip
    assert (clip, type(clip)) == (1.0, float)


def test_all_mistakes_are_named_at_once(settings: Settings) -> None:
    """Unknown, missing and mistyped settings of several groups come in one line."""
    settings["colour"] = "red"
    settings["data"]["batches"] = settings["data"].pop("batch")
    settings["run"]["threads"] = "two"
    settings["run"]["compile"] = 1
    settings["run"]["seed"] = True
    settings["optimizer"]["betas"] = 0.9
    settings["spectral"] = 3
    settings["model"]["encoder"] = [4, 4]
    with pytest.raises(ConfigurationError) as error:
        from_mapping(settings)
    line = str(error.value)
    assert "\n" not in line
    assert sorted(line.split("; ")) == [
        "colour: no such setting",
        "data.batch: missing",
        "data.batches: no such setting",
        "model.encoder: expected a group of settings",
        "optimizer.betas: 0.9 is not a list of numbers",
        "run.compile: 1 is not of type bool",
        "run.seed: True is not of type int",
        "run.threads: 'two' is not of type int",
        "spectral: expected a group of settings",
    ]


def test_former_names_are_refused_with_the_new_one(settings: Settings) -> None:
    """A key of before is not taken in silence, and the line says what it is called now."""
    settings["wavenet"] = "vctk"
    settings["data"]["history_noise"] = 4.0
    with pytest.raises(ConfigurationError) as error:
        from_mapping(settings)
    assert sorted(str(error.value).split("; ")) == [
        "data.history_noise: now data.input_noise",
        "wavenet: now init_wavenet",
    ]


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("data.batch", 0, "data.batch: 0 is less than 1"),
        ("data.workers", -1, "data.workers: -1 is less than 0"),
        ("run.seed", -1, "run.seed: -1 is less than 0"),
        ("run.log_every", 0, "run.log_every: 0 is less than 1"),
        ("run.validate_every", 0, "run.validate_every: 0 is less than 1"),
        ("optimizer.learning_rate", float("nan"), "optimizer.learning_rate: nan is less than 0"),
        ("optimizer.betas", [0.9], r"optimizer.betas: \[0.9\] are not two numbers"),
        ("optimizer.betas", [0.9, 1.0], r"optimizer.betas: .* are not two numbers"),
        ("optimizer.average", 1.5, r"optimizer.average: 1.5 is not in \[0, 1\]"),
        ("jitter", -0.1, r"jitter: -0.1 is not in \[0, 1\]"),
        ("resume", "maybe", "resume: 'maybe' is neither auto nor never"),
        ("model.bottleneck.kind", "vp", "bottleneck: kind 'vp' is not one of vq, vq_ema"),
        ("model.encoder.stride", 2, "encoder: unknown setting 'stride'"),
        ("model.encoder.channels", [8], "as many channels as strides are needed"),
        ("model.decoder.upsample", 3, "upsample 3 does not divide the hop 16"),
    ],
)
def test_impossible_values_are_refused_in_one_line(
    settings: Settings, key: str, value: Any, complaint: str
) -> None:
    """A value that no run can be made from names its setting before anything is read or written."""
    _set(settings, key, value)
    with one_line(ConfigurationError, match=complaint):
        from_mapping(settings)


def test_phases_leave_out_an_absent_warm_start(settings: Settings) -> None:
    """Warm start, then joint training; without steps of the first, the second alone."""
    warm, joint = from_mapping(settings).phases()
    assert warm == Phase(steps=4, batch=2, segment=640, crop=0)
    assert joint == Phase(steps=8, batch=2, segment=640, crop=320)
    settings["spectral"]["steps"] = 0
    assert from_mapping(settings).phases() == [joint]


@pytest.mark.parametrize("content", [None, "", "{", "[1]", b"\xff\xfe"])
def test_unreadable_files_are_named(tmp_path: Path, content: str | bytes | None) -> None:
    """A missing file, one that is no JSON and one that is no mapping are each told in one line."""
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with one_line(ConfigurationError, start=str(path)):
        read_config(path)
