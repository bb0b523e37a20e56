"""A spectral head with a conditioner of its own: it learns alone, and the rest of the model stays as it was."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, read_header, save_model
from vqspeech.models.config import ModelConfig
from vqspeech.nn.spectral import SpectralLoss
from vqspeech.training.config import from_mapping
from vqspeech.training.loop import train
from vqspeech.training.start import start, with_pitch, with_speakers, with_spectral_conditioner
from vqspeech.training.validate import scorable, spectral_error

Settings = dict[str, Any]
CPU = torch.device("cpu")
OWN = ("decoder.spectral.", "decoder.spectral_conditioner.")


@pytest.fixture
def spectral_model(tiny_config: ModelConfig) -> Autoencoder:
    """Return a model with pitch and a spectral head that reads the WaveNet's condition."""
    torch.manual_seed(5)
    decoder = {**tiny_config.decoder, "spectral_channels": 8}
    return with_pitch(Autoencoder(replace(tiny_config, decoder=decoder), ["ann", "bob"])).eval()


@pytest.fixture
def spectrum_settings(settings: Settings, spectral_model: Autoencoder, tmp_path: Path) -> Settings:
    """Return settings of a run that learns the spectrum alone."""
    save_model(spectral_model, tmp_path / "spectral.safetensors")
    settings |= {"init": str(tmp_path / "spectral.safetensors"), "learn": "spectrum"}
    settings["model"]["decoder"] |= {"spectral_channels": 8, "spectral_conditioner": 6}
    settings["optimizer"]["steps"] = 0
    settings["spectral"] |= {"weight": 0.0, "learning_rate": 1e-2}
    return settings


def test_the_head_is_a_new_one_and_all_else_is_kept(spectral_model: Autoencoder) -> None:
    """Likelihoods and contours are the same bits; speakers that are added are in its table, too."""
    model = with_spectral_conditioner(spectral_model, 6).eval()
    assert model.decoder.spectral_conditioner is not None
    codes = torch.arange(6)
    for name in model.speakers:
        old, new = (of.condition(codes, name) for of in (spectral_model, model))
        assert torch.equal(new.condition, old.condition)
        assert old.spectrum is not None
        assert new.spectrum is not None
        assert new.spectrum.shape == old.spectrum.shape
        assert not torch.equal(new.spectrum, old.spectrum)
    larger = with_speakers(model, ["eve"]).eval()
    of_all = [larger.condition(codes, name).spectrum for name in ("ann", "bob", "eve")]
    assert torch.equal(of_all[0], model.condition(codes, "ann").spectrum)
    assert not torch.equal(of_all[2], of_all[0])


def test_a_run_learns_the_spectrum_alone(spectrum_settings: Settings) -> None:
    """All other weights stay as they were, so do samples without post-filter; the contour then matters."""
    spectrum_settings["run"]["validate_every"] = 1
    path = train(from_mapping(spectrum_settings))
    assert path is not None
    metrics = json.loads((path.parent / "metrics.json").read_text())
    errors = [
        entry["valid_spectral_nats"]
        for line in (path.parent / "curve.jsonl").read_text().splitlines()
        if "valid_spectral_nats" in (entry := json.loads(line))
    ]
    assert len(errors) > 1
    assert errors[-1] < errors[0]
    assert metrics["spectral_nats"] == read_header(path)["scores"]["spectral_nats"] > 0
    # it is finished, and is left as it is
    written = path.stat().st_mtime_ns
    assert train(from_mapping(spectrum_settings | {"resume": "auto"})) == path
    assert path.stat().st_mtime_ns == written
    model, old = load_model(path), load_model(spectrum_settings["init"])
    before, after = old.state_dict(), model.state_dict()
    for key, weight in after.items():
        # means and deviations of F0 are those of the store
        if not key.startswith((*OWN, "decoder.pitch.voices")):
            known = before[key]
            # the store's third speaker was added
            kept = weight if weight.shape == known.shape else weight[: len(known)]
            assert torch.equal(kept, known), key
    fresh = start(from_mapping(spectrum_settings), model.speakers, CPU).objective.model.state_dict()
    moved = [key for key in after if key.startswith(OWN)]
    assert moved
    assert not any(torch.equal(after[key], fresh[key]) for key in moved)
    codes = torch.arange(6)
    frames = len(codes) * model.hop // model.decoder.condition_hop
    high, low = (model.condition(codes, "bob", torch.full((frames,), f0)) for f0 in (300.0, 80.0))
    assert not torch.equal(high.spectrum, low.spectrum)
    wav = np.random.default_rng(0).normal(0, 0.1, 300).astype(np.float32)
    assert torch.equal(model.encode(wav), old.encode(wav))


def test_only_vectors_of_speakers_learn(spectrum_settings: Settings) -> None:
    """With learn=speakers the table of either conditioner does, and nothing else."""
    spectrum_settings["learn"] = "speakers"
    spectrum_settings["spectral"] |= {"weight": 0.1, "steps": 0}
    model = start(from_mapping(spectrum_settings), ["ann"], CPU).objective.model
    learns = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert learns == {
        "decoder.conditioner.speaker.weight",
        "decoder.spectral_conditioner.conditioner.speaker.weight",
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"init": ""}, "needs a model, given as init, and spectral.steps"),
        ({"spectral": {"steps": 0}}, "needs a model, given as init, and spectral.steps"),
        ({"optimizer": {"steps": 3}}, "give optimizer.steps=0"),
        ({"decoder": {"spectral_conditioner": 0}}, "spectral_conditioner=112"),
        ({"decoder": {"spectral_channels": 0}}, "there is no spectral head"),
    ],
)
def test_settings_that_cannot_be(
    spectrum_settings: Settings, changes: dict[str, Any], said: str
) -> None:
    """One line says what is missing."""
    for name, value in changes.items():
        group = spectrum_settings["model"] if name == "decoder" else spectrum_settings
        group[name] = group[name] | value if isinstance(value, dict) else value
    with pytest.raises(ConfigurationError, match=said):
        start(from_mapping(spectrum_settings), ["ann", "bob"], CPU)


def test_a_decoder_without_head_gets_no_conditioner_for_it(
    known: Path, spectrum_settings: Settings
) -> None:
    """It would condition nothing."""
    spectrum_settings["init"] = str(known)
    with pytest.raises(ConfigurationError, match="init has no spectral head"):
        start(from_mapping(spectrum_settings), ["ann", "bob"], CPU)


def test_the_error_is_that_of_the_loss(spectral_model: Autoencoder, sound_store: Path) -> None:
    """What `SpectralLoss` finds on whole recordings, each frame counted once."""
    model = with_spectral_conditioner(spectral_model, 6).eval()
    store, loss = PackedStore(sound_store), SpectralLoss(model.decoder.spectral.log_mel())
    sums = frames = 0.0
    for i in scorable(store, "valid", model.speakers):
        wav = torch.from_numpy(store.wav(i))
        codes = model.encode(store.wav(i))
        found = model.condition(codes, store.utterances[i].speaker).spectrum[None]
        padded = pad(wav, (0, len(codes) * model.hop - len(wav)))[None]
        inside = torch.arange(found.shape[2])[None] * loss.log_mel.hop < len(wav)
        sums += float(loss(found, padded, inside)) * int(inside.sum())
        frames += int(inside.sum())
    assert spectral_error(model, store, "valid", None) == pytest.approx(sums / frames, rel=1e-5)
