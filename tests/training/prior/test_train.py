"""Training a prior on the codes of a tiny model: what it writes, how it goes on, what it refuses."""

import json
import os
import signal
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_store import Sound, write_sounds
from torch import Tensor

from vqspeech.codes import shards
from vqspeech.codes.entry import Entry
from vqspeech.codes.record import CodesRecord
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, CorpusError, ModelFileError
from vqspeech.models.checkpoint import load_model, load_prior, read_prior_header
from vqspeech.models.prior import Prior
from vqspeech.training.data.codestore import CodeStore
from vqspeech.training.kinds import configured, run_training
from vqspeech.training.prior import train as prior_loop

Settings = dict[str, Any]
STEPS = 120


@pytest.fixture(scope="session")
def plain_prior_settings(
    plain_settings: Settings, sound_store: Path, tiny_model_file: Path
) -> Settings:
    """Return settings of a run with dropout that takes a second; not to be changed."""
    return {
        "prior": {
            "model": str(tiny_model_file),
            "network": {"width": 16, "dilations": [1, 2]},
            "dropout": 0.1,
            "speaker_dropout": 0.2,
        },
        "data": {
            "store": str(sound_store),
            "codes": "",
            "shifts": 2,
            "batch": 4,
            "segment": 30,
            "workers": 0,
        },
        "optimizer": {
            "steps": STEPS,
            "learning_rate": 1e-2,
            "warmup": 2,
            "betas": [0.9, 0.99],
            "clip": 1.0,
            "average": 0.9,
        },
        "resume": "auto",
        "run": {**plain_settings["run"], "validate_every": 40, "validate_s": 60.0},
    }


@pytest.fixture
def settings(plain_prior_settings: Settings, tmp_path: Path) -> Settings:
    """Return settings for one test, which may change them; the run goes into the test's folder."""
    own = deepcopy(plain_prior_settings)
    own["run"]["dir"] = str(tmp_path / "run")
    return own


@pytest.fixture(scope="module")
def finished(plain_prior_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return the settings of a complete run."""
    own = deepcopy(plain_prior_settings)
    own["run"] |= {"dir": str(tmp_path_factory.mktemp("run")), "listen_s": 0.01}
    _run(own)
    return own


def _run(settings: Settings) -> Path | None:
    return run_training(configured(settings))


def _folder(settings: Settings) -> Path:
    return Path(settings["run"]["dir"])


def _state(settings: Settings) -> dict[str, Any]:
    return torch.load(_folder(settings) / "state.pt", weights_only=True)


def test_it_learns_and_says_so_beside_simpler_models(finished: Settings) -> None:
    """metrics.json and the file's header have the bits of the test split, below those without context."""
    metrics = json.loads((_folder(finished) / "metrics.json").read_text())
    assert (metrics["split"], metrics["steps"]) == ("test", STEPS)
    assert metrics["uniform"] == 4.0
    assert metrics["codes_a_second"] == 1000.0
    assert metrics["prior"] < metrics["unigram"] < 4.0
    assert metrics["bigram"] < metrics["unigram"]
    assert {"nobody", "trigram", "sequences", "codes"} <= metrics.keys()
    header = read_prior_header(_folder(finished) / "prior.safetensors")
    assert header["scores"]["held_out"].items() <= metrics.items()
    assert header["training"]["config"] == finished
    assert header["training"]["codes_seen"] == header["training"]["steps"] * 4 * 30


def test_events_hold_figures_and_what_was_drawn(
    finished: Settings, events: Callable[[Path], Any]
) -> None:
    """TensorBoard shows the loss of every step, bits of every validation, and a sound."""
    found = events(_folder(finished))
    assert [e.step for e in found.Scalars("train/bits_per_code")] == [*range(1, STEPS + 1)]
    assert [e.step for e in found.Scalars("valid/bits_per_code")] == [40, 80, 120]
    assert [e.length_frames for e in found.Audio("valid/drawn")] == [160] * 3


def test_the_file_is_what_was_best_on_the_validation_split(finished: Settings) -> None:
    """The curve has a point for each validation; the file is of the step that had the lowest."""
    curve = _state(finished)["curve"]
    assert [entry["step"] for entry in curve] == [40, 80, 120]
    best = min(curve, key=lambda entry: entry["bits_per_code"])
    header = read_prior_header(_folder(finished) / "prior.safetensors")
    assert header["training"]["steps"] == best["step"]
    assert header["training"]["curve"] == curve


def test_a_worse_validation_keeps_the_better_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is exported does not get worse on the validation split, also after a stop."""
    found = iter([2.0, 1.0, 3.0, 4.0])
    monkeypatch.setattr(prior_loop, "bits_per_code", lambda *_, **__: next(found))
    monkeypatch.setattr(prior_loop, "_finish", lambda *_: None)
    settings["optimizer"]["steps"] = 100
    _run(settings)
    header = read_prior_header(_folder(settings) / "prior.safetensors")
    assert header["training"]["steps"] == 80
    assert [entry["step"] for entry in _state(settings)["curve"]] == [40, 80, 100]


def test_the_prior_knows_whose_codes_it_learned(finished: Settings) -> None:
    """Codebook, speakers and unigram are those of the codes."""
    prior = load_prior(_folder(finished) / "prior.safetensors")
    store = CodeStore(_folder(finished) / "codes")
    assert prior.codebook_id == store.codebook_id
    assert prior.speakers == ("ann", "bob", "eve")
    assert float(prior.unigram.exp().sum()) == pytest.approx(1)
    seen = torch.bincount(
        torch.cat([torch.from_numpy(codes) for codes in store.split("train")]), minlength=16
    )
    assert int(prior.unigram.argmax()) == int(seen.argmax())


def test_a_finished_run_has_nothing_left_to_do(
    finished: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started again, it scores nothing, writes nothing and returns its file."""
    before = {path: path.stat().st_mtime_ns for path in _folder(finished).iterdir()}
    monkeypatch.setattr(prior_loop, "held_out_codes", None)
    assert _run(finished) == _folder(finished) / "prior.safetensors"
    assert {path: path.stat().st_mtime_ns for path in _folder(finished).iterdir()} == before


def _stop_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Have a signal arrive while a step is taken."""
    forward = prior_loop.PriorObjective.forward
    taken = []

    def stopping(self: Any, batch: Any) -> Tensor:
        taken.append(1)
        if len(taken) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, batch)

    patch.setattr(prior_loop.PriorObjective, "forward", stopping)


def _tensors(value: Any, where: str = "") -> dict[str, Tensor]:
    if isinstance(value, Tensor):
        return {where: value}
    items = enumerate(value) if isinstance(value, list) else value.items()
    found = {}
    for key, item in items:
        if isinstance(item, Tensor | dict | list):
            found |= _tensors(item, f"{where}.{key}")
    return found


def test_stopped_and_resumed_is_bitwise_what_a_straight_run_gives(
    settings: Settings, finished: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after 50 of 120 steps by SIGTERM and started again: weights, moments and averages are the same bits."""
    settings["run"]["validate_every"] = 40
    with monkeypatch.context() as patch:
        _stop_at(patch, 50)
        assert _run(settings) is None
    assert _state(settings)["step"] == 50
    assert not (_folder(settings) / "metrics.json").exists()
    assert _run(settings) is not None
    found, expected = (_tensors(_state(of)) for of in (settings, finished))
    assert found.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []
    files = [(_folder(of) / "metrics.json").read_text() for of in (settings, finished)]
    timeless = [{k: v for k, v in json.loads(text).items() if k != "curve"} for text in files]
    assert timeless[0] == timeless[1]


def test_resuming_on_other_codes_is_refused(settings: Settings, tmp_path: Path) -> None:
    """The codes of a run are those it began with: of another store, and of the state if they are kept elsewhere."""
    settings["optimizer"]["steps"] = 3
    _run(settings)
    settings["optimizer"]["steps"] = 4
    draw = np.random.default_rng(0)
    sounds = [
        Sound(speaker, split, draw.integers(-3000, 3000, 900))
        for speaker in ("ann", "bob", "eve")
        for split in ("train", "valid", "test")
    ]
    settings["data"]["store"] = str(write_sounds(tmp_path / "other", sounds))
    with pytest.raises(CorpusError, match="codes whose manifest_sha256 is"):
        _run(settings)
    settings["data"]["codes"] = str(_folder(settings) / "other")
    with pytest.raises(ModelFileError, match="trained on other codes"):
        _run(settings)


def test_shards_of_codes_train_a_prior(
    settings: Settings, sound_store: Path, tmp_path: Path
) -> None:
    """With ``data.store`` a folder of shards, the prior learns from them and is scored as from a store."""
    model, store = load_model(settings["prior"]["model"]), PackedStore(sound_store)
    entries = []
    for index, u in enumerate(store.utterances):
        codes = model.encode(store.wav(index)).tolist()
        record = CodesRecord.of(model, codes, u.samples, str(u.path), "tiny")
        entries.append(Entry(f"{u.speaker}/{u.utterance}", u.speaker, record))
    (tmp_path / "shards").mkdir()
    shards.write(tmp_path / "shards", 0, entries, "km")
    settings["data"]["store"] = str(tmp_path)
    path = _run(settings)
    assert path is not None
    assert load_prior(path).speakers == tuple(store.speakers)
    metrics = json.loads((_folder(settings) / "metrics.json").read_text())
    assert metrics["split"] == "test"
    assert metrics["prior"] < metrics["uniform"]


def test_half_precision_learns_too(settings: Settings, finished: Settings) -> None:
    """Under bf16, as on a GPU, the same steps end near the same likelihood, with weights of 32 bits."""
    settings["run"]["precision"] = "bf16-mixed"
    path = _run(settings)
    assert path is not None
    found, expected = (
        json.loads((_folder(of) / "metrics.json").read_text()) for of in (settings, finished)
    )
    assert found["prior"] == pytest.approx(expected["prior"], abs=0.05)
    assert {tensor.dtype for tensor in load_prior(path).state_dict().values()} == {torch.float32}


def test_averaged_weights_are_judged_without_dropout(settings: Settings) -> None:
    """What is exported is in evaluation mode while it is judged, and is the average."""
    settings["optimizer"]["steps"] = 5
    path = _run(settings)
    assert path is not None
    prior, state = load_prior(path), _state(settings)
    average = {k.removeprefix("module."): v for k, v in state["average"].items()}
    for key, tensor in prior.state_dict().items():
        assert torch.equal(tensor, average[key]), key
    (entry,) = state["curve"]
    store = CodeStore(_folder(settings) / "codes")
    places = prior_loop.chosen(store, "valid", 60.0)
    assert prior_loop.bits_per_code(prior, store, places) == entry["bits_per_code"]
    assert isinstance(prior, Prior)


@pytest.mark.parametrize(
    ("group", "change", "expected"),
    [
        ("prior", {"speaker_dropout": 1.5}, "prior.speaker_dropout: 1.5 is not in [0, 1]"),
        ("prior", {"dropout": -0.1}, "prior.dropout: -0.1 is less than 0"),
        ("prior", {"network": {"width": 8}}, "missing setting 'dilations'"),
        ("prior", {"network": {"width": 8, "dilations": [0]}}, "at least one, each from 1"),
        (
            "prior",
            {"network": {"width": 8, "dilations": [1], "heads": 2}},
            "unknown setting 'heads'",
        ),
        ("data", {"shifts": 0}, "data.shifts: 0 is less than 1"),
        ("data", {"batch": "x"}, "data.batch: 'x' is not of type int"),
        ("optimizer", {"betas": [0.9]}, "are not two numbers in [0, 1)"),
        ("run", {"devices": 0}, "run.devices: 0 is less than 1"),
    ],
)
def test_impossible_settings(
    settings: Settings, group: str, change: Settings, expected: str
) -> None:
    """They are named before anything is written."""
    settings[group] |= change
    with pytest.raises(ConfigurationError) as error:
        configured(settings)
    assert expected in str(error.value)
    assert not _folder(settings).exists()
