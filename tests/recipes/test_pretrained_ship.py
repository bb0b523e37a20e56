"""Shipping a model: fp16, small, with what it scores and what it was trained on."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import ship
import torch
from labelled_store import Sound, write_sounds
from safetensors.torch import load_file

import vqspeech
from vqspeech.errors import VqspeechError
from vqspeech.models import pretrained
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import read_header, save_model

SCORES = {
    "split": "test",
    "conversion": {"converted": {"wer": 0.123456789, "used": 12, "note": "of 3"}},
    "utterances": [{"utterance": "a", "wer": 0.5}, {"utterance": "b", "wer": 0.25}],
    "rows": [{"system": "untouched", "wer": 0.1}],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two speakers with ten recordings of 1.2 s each, eight of them to train on."""
    draw = np.random.default_rng(0)
    sounds = [
        Sound(name, split, draw.normal(scale=3000, size=19200))
        for name in ("ann", "bea")
        for split in ["train"] * 8 + ["valid", "test"]
    ]
    return write_sounds(tmp_path_factory.mktemp("noise") / "store", sounds)


@pytest.fixture
def trained(tiny_model: Autoencoder, store: Path, tmp_path: Path) -> Path:
    """The file of a model as training writes it."""
    path = tmp_path / "model.safetensors"
    config = {
        "data": {"store": str(store), "batch": 1},
        "run": {"dir": "/somewhere/run7", "precision": "32-true"},
    }
    save_model(tiny_model, path, {"steps": 3, "config": config}, {"held_out": {"perplexity": 9.0}})
    return path


def test_what_is_shipped(trained: Path, tiny_model: Autoencoder, tmp_path: Path) -> None:
    """Weights in fp16, what it says of itself kept, minutes added, folders of the machine left out."""
    out = ship.ship(trained, "vctk", folder=tmp_path / "package")
    assert out == tmp_path / "package/vctk.safetensors"
    assert load_file(out)["encoder.norm.bias"].dtype == torch.float16
    assert vqspeech.load(out).speakers == tiny_model.speakers
    header = read_header(out)
    assert header["scores"] == {"held_out": {"perplexity": 9.0}}
    training = header["training"]
    assert training["steps"] == 3
    assert training["config"] == {
        "data": {"store": "store", "batch": 1},
        "run": {"dir": "run7", "precision": "32-true"},
    }
    ((corpus, minutes),) = training["minutes"].items()
    assert isinstance(corpus, str)
    assert minutes == {"ann": pytest.approx(0.16), "bea": pytest.approx(0.16)}


def test_scores_are_added_to_what_was_shipped(trained: Path, tmp_path: Path) -> None:
    """They come without single recordings; weights, minutes and earlier scores stay, bit by bit."""
    folder, scores = tmp_path / "package", tmp_path / "evaluation.json"
    scores.write_text(json.dumps(SCORES))
    out = ship.ship(trained, "vctk", folder=folder)
    weights, before = load_file(out), read_header(out)
    ship.ship(out, "vctk", evaluation=scores, folder=folder)
    header = read_header(out)
    assert header["training"] == before["training"]
    assert header["scores"] == {
        "held_out": {"perplexity": 9.0},
        "evaluation": {
            "split": "test",
            "conversion": {"converted": {"wer": 0.12346, "used": 12, "note": "of 3"}},
            "rows": [{"system": "untouched", "wer": 0.1}],
        },
    }
    again = load_file(out)
    assert all(torch.equal(again[key], tensor) for key, tensor in weights.items())
    assert ship.ship(out, "vctk", folder=folder).read_bytes() == out.read_bytes()
    assert read_header(out)["scores"] == header["scores"]


def test_a_store_that_is_elsewhere(trained: Path, store: Path, tmp_path: Path) -> None:
    """A model whose store is not here has no minutes; one that is named serves."""
    path = tmp_path / "moved.safetensors"
    header = read_header(trained)["training"] | {"config": {"data": {"store": "/gone/store"}}}
    save_model(vqspeech.load(trained), path, header)
    assert "minutes" not in read_header(ship.ship(path, "vctk", folder=tmp_path))["training"]
    out = ship.ship(path, "vctk", store=store, folder=tmp_path)
    assert read_header(out)["training"]["minutes"]


def test_a_model_that_is_too_large(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused with both figures, and what was there is untouched."""
    out = ship.ship(trained, "vctk", folder=tmp_path)
    before, size = out.read_bytes(), out.stat().st_size
    monkeypatch.setattr(pretrained, "LARGEST", size)
    ship.ship(trained, "vctk", folder=tmp_path)
    monkeypatch.setattr(pretrained, "LARGEST", size - 1)
    with pytest.raises(VqspeechError, match=rf"{size:,} bytes in fp16, .* {size - 1:,} at most"):
        ship.ship(trained, "vctk", folder=tmp_path)
    assert out.read_bytes() == before


def test_a_store_that_has_the_same_name(
    trained: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes once known are not taken anew from whatever lies where a model is shipped again."""
    training = {"minutes": {"a": {"b": 1.0}}, "config": {"data": {"store": store.name}}}
    path = tmp_path / "shipped.safetensors"
    save_model(vqspeech.load(trained), path, training)
    monkeypatch.chdir(store.parent)
    assert read_header(ship.ship(path, "vctk", folder=tmp_path))["training"] == training


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_scores_that_are_none(trained: Path, tmp_path: Path, content: str | None) -> None:
    """A file that is missing, damaged or no object is named, and nothing is shipped."""
    scores = tmp_path / "evaluation.json"
    if content is not None:
        scores.write_text(content)
    with pytest.raises(VqspeechError, match=r"evaluation\.json"):
        ship.ship(trained, "vctk", evaluation=scores, folder=tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_the_command(
    trained: Path, shipped_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """It says what it wrote, with the size beside the largest; an unknown name is one line."""
    monkeypatch.setattr(sys, "argv", ["ship.py", str(trained), "phoneme25"])
    assert ship.main() == 0
    out = shipped_folder / "phoneme25.safetensors"
    assert f"{out}: {out.stat().st_size:,} bytes of 8,000,000" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["ship.py", str(trained), "mine"])
    assert ship.main() == 1
    assert capsys.readouterr().err == "ship: 'mine': shipped models are vctk, phoneme25\n"
