"""``vqspeech train``: how settings are composed, shown and refused; one short run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from labelled_store import Spoken, write_store

from vqspeech.cli.train import compose
from vqspeech.jobs.lock import only_run
from vqspeech.models.checkpoint import read_header

Run = Callable[..., Any]

HERE = ("data.store=store", "run.dir=run")

TINY = (
    *("data.batch=2", "data.segment=640", "data.crop=640", "data.workers=0"),
    *("model.encoder.strides=[8,8]", "model.encoder.channels=[8,8]", "model.encoder.dilations=[1]"),
    *("model.dim=8", "model.bottleneck.codebook_size=8", "model.decoder.dilations=[1,2]"),
    *("model.decoder.residual_channels=8", "model.decoder.gate_channels=8"),
    *("model.decoder.skip_channels=8", "model.decoder.condition_channels=8"),
    *("optimizer.steps=3", "run.accelerator=cpu", "run.threads=1"),
)


def test_show_prints_the_resolved_settings_and_trains_nothing(run: Run, tmp_path: Path) -> None:
    """Groups and overrides are in what is shown, as YAML; no folder is made."""
    done = run("train", "--show", "experiment=mini", *HERE, "optimizer.steps=7")
    assert (done.status, done.err) == (0, "")
    shown = yaml.safe_load(done.out)
    assert shown["optimizer"]["steps"] == 7
    assert shown["data"]["store"] == "store"
    assert shown["model"]["encoder"]["strides"] == [5, 4, 4, 2]
    assert list(tmp_path.iterdir()) == []


def test_shown_settings_are_a_configuration(run: Run, tmp_path: Path) -> None:
    """What ``--show`` prints, as JSON, is a file that ``--config`` takes, and shows again as it is."""
    first = run("train", "--show", *HERE)
    (tmp_path / "config.json").write_text(json.dumps(yaml.safe_load(first.out)))
    second = run("train", "--show", "--config", "config.json")
    assert (second.status, second.err) == (0, "")
    assert second.out == first.out


def test_config_takes_no_settings(run: Run) -> None:
    """Settings beside a resolved file would be ignored, so they are refused."""
    assert "--config takes no key=value" in run("train", "--config", "a.json", "run.seed=1").error


def test_missing_config_is_named(run: Run) -> None:
    """A file that is not there is told by name."""
    assert run("train", "--config", "nowhere.json").error.startswith("nowhere.json: ")


def test_store_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    """The store is looked for before the folder of the run is made."""
    assert run("train", *HERE).error.startswith("store: ")
    assert list(tmp_path.iterdir()) == []


def test_run_ends_with_a_model_file(run: Run, tmp_path: Path) -> None:
    """From settings on the command line to a model file; its config.json starts the same run elsewhere."""
    splits = ("train", "train", "valid", "test")
    write_store(tmp_path / "store", [Spoken(split, range(20), None) for split in splits])
    done = run("train", *HERE, *TINY, "run.validate_every=2")
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1] == "model file: run/model.safetensors"
    assert "bits/sample" in done.out
    assert read_header(tmp_path / "run/model.safetensors")["training"]["steps"] == 3
    config = json.loads((tmp_path / "run/config.json").read_text())
    config["run"]["dir"] = "other"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert run("train", "--config", "config.json").status == 0
    weights = [(tmp_path / name / "metrics.json").read_text() for name in ("run", "other")]
    scores = [{k: v for k, v in json.loads(w).items() if k != "curve"} for w in weights]
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    "folder",
    [
        "20260101",
        "1e5",
        "my run",
        "run (2)",
        "lr=3",
        "Übung",
        "~/run",
        "it's",
        "a\\",
        "a,b",
        "null",
    ],
)
def test_a_folder_is_a_text_however_it_is_spelled(folder: str) -> None:
    """Numbers, dates, spaces, parentheses and quotes need no quoting for Hydra."""
    composed = compose(["data.store=s", f"run.dir={folder}"])
    assert composed["run"]["dir"] == folder
    assert compose(["data.store=s", f'run.dir="{folder.strip(chr(92))}"'])["run"]["dir"] in folder


def test_two_runs_in_one_folder_are_refused(run, tmp_path: Path) -> None:
    """The second is told in one line, and the folder is free again when the first has ended."""
    with only_run(tmp_path / "run"):
        assert "run: another run is writing into this folder" in run("train", *HERE, *TINY).error
    assert not (tmp_path / "run").exists()
