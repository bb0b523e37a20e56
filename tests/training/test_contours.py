"""A distribution of pitch contours: it learns alone; with the likelihood given a contour it bounds a recording's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vqspeech.audio.mulaw import mulaw_encode
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, read_header, save_model
from vqspeech.models.config import ModelConfig
from vqspeech.training.config import from_mapping
from vqspeech.training.data.pitchtracks import open_tracks
from vqspeech.training.loop import describe, train
from vqspeech.training.start import start, with_contours, with_pitch, with_speakers
from vqspeech.training.validate import contour_error, held_out, scorable

Settings = dict[str, Any]
CPU = torch.device("cpu")


@pytest.fixture
def voiced(tiny_config: ModelConfig) -> Autoencoder:
    """Return a model with pitch and no distribution of contours."""
    torch.manual_seed(5)
    return with_pitch(Autoencoder(tiny_config, ["ann", "bob"])).eval()


@pytest.fixture
def contour_settings(settings: Settings, voiced: Autoencoder, tmp_path: Path) -> Settings:
    """Return settings of a run that learns the distribution alone."""
    save_model(voiced, tmp_path / "voiced.safetensors")
    settings |= {"init": str(tmp_path / "voiced.safetensors"), "learn": "contours"}
    settings["model"]["decoder"] |= {"pitch": True, "contour_channels": 8}
    settings["optimizer"]["steps"] = 0
    settings["spectral"] |= {"weight": 0.0, "learning_rate": 1e-2}
    return settings


def test_a_run_learns_the_distribution_alone(contour_settings: Settings) -> None:
    """All other weights stay as they were; what it finds on valid falls, and its file says what it found on test."""
    contour_settings["run"]["validate_every"] = 1
    path = train(from_mapping(contour_settings))
    assert path is not None
    metrics = json.loads((path.parent / "metrics.json").read_text())
    errors = [
        entry["valid_contour_nats"]
        for line in (path.parent / "curve.jsonl").read_text().splitlines()
        if "valid_contour_nats" in (entry := json.loads(line))
    ]
    assert len(errors) > 1
    assert errors[-1] < errors[0]
    assert metrics["contour_nats"] == read_header(path)["scores"]["contour_nats"] > 0
    before = load_model(contour_settings["init"]).state_dict()
    after = load_model(path).state_dict()
    assert any(key.startswith("decoder.contours.") for key in after)
    for key, weight in after.items():
        # means and deviations of F0 are those of the store
        if not key.startswith(("decoder.contours.", "decoder.pitch.voices")):
            known = before[key]
            # the store's third speaker was added
            assert torch.equal(
                weight[: len(known)] if weight.shape != known.shape else weight, known
            ), key


def test_it_learns_beside_the_decoder(contour_settings: Settings) -> None:
    """A decoder that has one and goes on learning keeps it up to date, new speakers included."""
    contour_settings |= {"learn": "decoder"}
    contour_settings["spectral"]["steps"], contour_settings["optimizer"]["steps"] = 0, 3
    path = train(from_mapping(contour_settings))
    assert path is not None
    fresh = start(from_mapping(contour_settings), ["ann", "bob"], CPU).objective.model
    found = load_model(path).decoder.contours
    assert found is not None
    assert fresh.decoder.contours is not None
    assert not torch.equal(found.output.weight, fresh.decoder.contours.output.weight)
    points = read_header(path)["training"]["curve"]
    assert all(point["contour_cost_nats"] > 0 for point in points)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"init": ""}, "'contours' needs a model, given as init, and spectral.steps"),
        ({"optimizer": {"steps": 3}}, "give optimizer.steps=0"),
        ({"decoder": {"contour_channels": 0}}, "contour_channels=40"),
    ],
)
def test_settings_that_cannot_be(
    contour_settings: Settings, changes: dict[str, Any], said: str
) -> None:
    """One line says what is missing."""
    for name, value in changes.items():
        group = contour_settings["model"] if name == "decoder" else contour_settings
        group[name] = group[name] | value if isinstance(value, dict) else value
    with pytest.raises(ConfigurationError, match=said):
        start(from_mapping(contour_settings), ["ann", "bob"], CPU)


def test_a_decoder_without_pitch_gets_none(known: Path, contour_settings: Settings) -> None:
    """There would be no contour to predict."""
    contour_settings["init"] = str(known)
    with pytest.raises(ConfigurationError, match="is for a decoder that takes pitch"):
        start(from_mapping(contour_settings), ["ann", "bob"], CPU)


def test_contour_and_samples_bound_the_likelihood(voiced: Autoencoder, sound_store: Path) -> None:
    """The contour is measured as coded, samples are given what was measured, and both are divided by the samples."""
    model, store = with_contours(voiced, 8).eval(), PackedStore(sound_store)
    tracks = open_tracks(store)
    found = held_out(model, store, "valid", contour_of=tracks.contour)
    plain = held_out(voiced, store, "valid", contour_of=tracks.contour)
    assert plain.contour_cost_nats is None
    assert found.nats_per_sample == plain.nats_per_sample
    assert found.contour_cost_nats is not None
    assert f"(itself {found.contour_cost_nats:.3f})" in describe(found)
    samples = of_samples = of_contours = frames = 0.0
    for i in scorable(store, "valid", model.speakers):
        of, codes = store.utterances[i], model.encode(store.wav(i))
        hop = model.decoder.condition_hop
        contour = tracks.cut(i, 0, len(codes) * model.hop // hop, hop)
        coded = model.contour_nll(codes, of.speaker, contour)
        assert coded is not None
        nats, given = coded
        levels = mulaw_encode(torch.from_numpy(store.wav(i)), model.config.levels)
        of_samples += float(model.nll(levels, codes, of.speaker, given).double().sum())
        of_contours += float(nats.double().sum())
        samples, frames = samples + len(levels), frames + len(nats)
    assert found.contour_nats == pytest.approx(of_samples / samples)
    assert found.contour_cost_nats == pytest.approx(of_contours / samples)
    error = contour_error(model, store, "valid", tracks)
    assert error == pytest.approx(of_contours / frames, rel=1e-5)


def test_contours_are_drawn_by_seed(voiced: Autoencoder) -> None:
    """The same seed draws the same; a conversion with a drawn contour is a decoding with it."""
    model = with_contours(voiced, 8).eval()
    wav = np.random.default_rng(0).normal(0, 0.1, 2_000).astype(np.float32)
    codes = model.encode(wav)
    one, again, other = (model.contour(codes, "ann", seed=seed) for seed in (0, 0, 1))
    assert one.shape == (len(codes) * model.hop // model.decoder.condition_hop,)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, model.contour(codes, "ann"))
    higher = model.contour(codes, "ann", semitones=12, seed=0)
    torch.testing.assert_close(higher, 2 * one)
    found = model.convert(wav, "ann", pitch="drawn", seed=1)
    assert torch.equal(found, model.decode(codes, "ann", len(wav), seed=1, contour=other))
    larger = with_speakers(model, ["eve"]).eval()
    assert torch.equal(larger.contour(codes, "ann", seed=0), one)
    with pytest.raises(VqspeechError, match="no distribution of pitch contours"):
        voiced.contour(codes, "ann", seed=0)
