"""Perturbation: what is moved moves by the factor asked for, what must stay in place stays."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vqspeech.metrics.pitch import measure_pitch
from vqspeech.training.perturb import Perturbation

RATE = 16000
ALL = {
    "share": 1.0,
    "pitch_semitones": 4.0,
    "formant_percent": 15.0,
    "colour_db": 6.0,
    "level_db": 6.0,
    "noise_db": 15.0,
}
NONE = dict.fromkeys(ALL, 0.0) | {"share": 1.0}


def _vowel(pitch_hz: float = 125.0, formant_hz: float = 1000.0, seconds: float = 1.0) -> Tensor:
    """Harmonics under one broad formant."""
    time = np.arange(round(seconds * RATE)) / RATE
    wav = np.zeros_like(time)
    for hz in np.arange(pitch_hz, RATE / 2, pitch_hz):
        height = np.exp(-0.5 * ((hz - formant_hz) / 300) ** 2) + 1e-3
        wav += height * np.cos(2 * np.pi * hz * time + hz)
    return torch.from_numpy(0.3 * wav / np.abs(wav).max()).float()[None]


def _centre(wav: Tensor) -> float:
    """Centre of the amplitude spectrum in Hz: where the formant is."""
    spectrum = torch.fft.rfft(wav[0, 4000:12000] * torch.hann_window(8000)).abs()
    hz = torch.linspace(0, RATE / 2, len(spectrum))
    near = hz < 3000
    return float((spectrum * hz)[near].sum() / spectrum[near].sum())


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_pitch_moves_by_its_factor_and_formants_stay(factor: float) -> None:
    """Pitch within 3 %; the formant within 8 % of where it was."""
    perturbation = Perturbation(RATE, **NONE)
    moved = perturbation._move(_vowel(), factor, 1.0)
    assert measure_pitch(moved[0].numpy(), RATE).median_hz == pytest.approx(125 * factor, rel=0.03)
    assert _centre(moved) == pytest.approx(_centre(_vowel()), rel=0.08)


@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_formants_move_by_their_factor_and_pitch_stays(factor: float) -> None:
    """The formant moves the right way by at least half of what was asked for, pitch by less than 3 %."""
    perturbation = Perturbation(RATE, **NONE)
    moved = perturbation._move(_vowel(), 1.0, factor)
    assert measure_pitch(moved[0].numpy(), RATE).median_hz == pytest.approx(125, rel=0.03)
    shift = _centre(moved) / _centre(_vowel()) - 1
    assert 0.5 < shift / (factor - 1) < 1.5


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_events_stay_where_they_were(factor: float) -> None:
    """A burst between two silences is still within 10 ms of its place."""
    wav = torch.zeros(1, RATE)
    wav[:, 7900:8100] = _vowel()[:, :200]
    moved = Perturbation(RATE, **NONE)._move(wav, factor, 1.0)
    energy = moved[0].square()
    centre = float((energy * torch.arange(RATE)).sum() / energy.sum())
    assert abs(centre - 8000) < 160


def test_shape_is_kept_and_batches_differ() -> None:
    """Any length, also shorter than a window; each call draws anew, and a seed repeats it."""
    perturbation = Perturbation(RATE, **ALL)
    for samples in (1, 100, 512, 513, 5000):
        assert perturbation(torch.randn(3, samples)).shape == (3, samples)
    wav = _vowel().expand(2, -1)
    torch.manual_seed(7)
    first, second = perturbation(wav), perturbation(wav)
    torch.manual_seed(7)
    again = perturbation(wav)
    assert torch.equal(first, again)
    assert not torch.allclose(first, second, atol=1e-3)
    assert torch.isfinite(first).all()


def test_share_is_the_share_of_changed_batches() -> None:
    """Of 400 batches about a quarter is changed; with a share of 0 none."""
    torch.manual_seed(0)
    wav = torch.randn(1, 600)
    some = Perturbation(RATE, **(ALL | {"share": 0.25}))
    changed = sum(not torch.equal(some(wav), wav) for _ in range(400))
    assert 70 < changed < 130
    none = Perturbation(RATE, **(ALL | {"share": 0.0}))
    assert all(torch.equal(none(wav), wav) for _ in range(20))


def test_without_anything_to_move_the_recording_comes_back() -> None:
    """All ranges 0: analysis and synthesis cancel, but for the two ends."""
    wav = _vowel()
    same = Perturbation(RATE, **NONE)(wav)
    assert (same - wav)[:, 512:-512].abs().max() < 1e-3


def test_noise_stays_within_its_ratios() -> None:
    """White noise alone: between 15 and 55 dB below the recording."""
    torch.manual_seed(1)
    wav = _vowel()
    noisy = Perturbation(RATE, **(NONE | {"noise_db": 15.0}))
    for _ in range(10):
        noise = (noisy(wav) - wav)[:, 512:-512]
        ratio_db = 20 * float(torch.log10(wav.std() / noise.std()))
        assert 14 < ratio_db < 56
