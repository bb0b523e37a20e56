"""What codes and conditions carry of words: sound from a spectrogram, and the table."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import spectrum
import torch
from labelled_store import Sound, write_sounds

from vqspeech.corpus.store import PackedStore
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import save_model
from vqspeech.models.config import ModelConfig
from vqspeech.nn.spectral import LogMel


def test_sound_has_the_spectrum_it_is_made_of() -> None:
    """A gliding tone in noise, with its phases lost, comes back with the bands it had rather than with their mean."""
    time = torch.arange(16000) / 16000
    glide = torch.sin(2 * math.pi * (300 * time + 400 * time**2))
    noise = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    log_mel = LogMel(16000, 80)
    wanted = log_mel((0.3 * glide + 0.01 * noise)[None])[0].numpy()
    wav = spectrum.sound_of(wanted, log_mel)
    wav = np.pad(wav, (0, 16000))[:16000]
    found = log_mel(torch.from_numpy(wav)[None])[0].numpy()
    assert np.abs(found - wanted)[:, 5:-5].mean() < np.abs(wanted - wanted.mean()).mean() / 3


class Listener:
    """Hears nothing but the last word, whatever is said."""

    def transcribe(self, wav: np.ndarray, sample_rate: int) -> str:
        """Return what it always hears."""
        assert wav.dtype == np.float32
        assert sample_rate == 16000
        return "three"


@pytest.fixture
def store(tmp_path: Path) -> PackedStore:
    """Return a store of two speakers who say three words each."""
    draw = np.random.default_rng(0)
    sounds = [
        Sound(name, "train", draw.normal(scale=3000, size=6000), text=f"one {name} three")
        for name in ("ann", "bob")
    ]
    return PackedStore(write_sounds(tmp_path / "store", sounds))


def test_a_row_for_each_model(
    store: PackedStore,
    tiny_config: ModelConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Words lost of the recordings, of their spectrograms, and of predicted ones; a model without a head is refused."""
    asked_for: list[set[str]] = []

    def judges(without: set[str], recogniser: None) -> SimpleNamespace:
        asked_for.append(without)
        return SimpleNamespace(recogniser=Listener())

    monkeypatch.setattr(spectrum, "open_judges", judges)
    torch.manual_seed(0)
    decoder = {**tiny_config.decoder, "spectral_channels": 8}
    for name, config in (
        ("with", replace(tiny_config, decoder=decoder)),
        ("without", tiny_config),
    ):
        save_model(Autoencoder(config, store.speakers), tmp_path / name)
    asked = ["spectrum.py", "--store", str(store.path), "--speakers", "ann,bob", "--split"]
    monkeypatch.setattr(sys, "argv", [*asked, "train", "--count", "2", str(tmp_path / "with")])
    assert spectrum.main() == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0].strip() for row in rows][:2] == ["recordings", "true spectrogram"]
    assert float(rows[2][1]) > 0.1
    assert asked_for == [{"speakers", "pitch", "quality", "distortion"}]
    assert all(cell.strip().endswith("% of 6") for cell in rows[2][2:])
    monkeypatch.setattr(sys, "argv", [*asked, "train", str(tmp_path / "without")])
    assert spectrum.main() == 1
    assert "its decoder has no spectral head" in capsys.readouterr().err
