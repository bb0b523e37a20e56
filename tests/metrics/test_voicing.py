"""Strength of voicing, jitter and noise on sounds whose values are known."""

from math import isnan

import numpy as np
import pytest
from numpy.typing import NDArray

from vqspeech.metrics.voicing import f0_correlation, measure_voicing

RATE = 16_000


def pulses(periods: NDArray[np.float64]) -> NDArray[np.float64]:
    """Formants set off once a period, in samples; each pulse at its exact place."""
    places = np.cumsum(periods)
    length = int(places[-1]) + 400
    spectrum = np.zeros(length // 2 + 1, np.complex128)
    turn = -2j * np.pi * np.arange(length // 2 + 1) / length
    for place in places:
        spectrum += np.exp(turn * place)
    hz = np.arange(length // 2 + 1) * RATE / length
    formant = 1 / (1 + ((hz - 600) / 150) ** 2) + 0.5 / (1 + ((hz - 1500) / 200) ** 2)
    return np.asarray(np.fft.irfft(spectrum * formant, length))[: int(places[-1])]


@pytest.mark.parametrize("f0_hz", [80.0, 133.3, 310.0])
def test_a_regular_voice_is_strong_and_steady(f0_hz: float) -> None:
    """Repeating to the sample: strength near 1, jitter below 0.2 %, hardly any noise."""
    found = measure_voicing(pulses(np.full(int(1.5 * f0_hz), RATE / f0_hz)), RATE)
    assert found.strength > 0.97
    assert found.jitter < 0.002
    assert found.hnr_db > 20


@pytest.mark.parametrize("jitter", [0.01, 0.03])
def test_jitter_is_that_of_the_periods(jitter: float) -> None:
    """Of independent periods between 60 % and all is found, and less jitter gives less."""
    rng = np.random.default_rng(0)
    periods = 120 * (1 + jitter * rng.standard_normal(300))
    found = measure_voicing(pulses(periods), RATE)
    expected = np.abs(np.diff(periods)).mean() / periods.mean()
    assert 0.6 * expected < found.jitter < expected


@pytest.mark.parametrize("snr_db", [5, 10, 15])
def test_harmonics_to_noise_ratio_is_the_one_that_was_mixed(snr_db: int) -> None:
    """White noise at a known ratio is found within 1.5 dB, and takes strength away."""
    voice = pulses(np.full(300, 100.0))
    noise = np.random.default_rng(0).standard_normal(len(voice))
    noise *= voice.std() / noise.std() / 10 ** (snr_db / 20)
    found = measure_voicing(voice + noise, RATE)
    assert found.hnr_db == pytest.approx(snr_db, abs=1.5)
    assert found.strength == pytest.approx(1 / (1 + 10 ** (-snr_db / 10)), abs=0.05)


def test_noise_has_hardly_any_voicing_and_silence_none() -> None:
    """White noise is unvoiced but for a few frames; silence, and too little sound, have no figure."""
    noise = np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    found = measure_voicing(0.1 * noise, RATE)
    assert found.strength < 0.1
    assert isnan(found.jitter)
    for wav in (np.zeros(RATE, np.float32), noise[:700]):
        assert all(map(isnan, measure_voicing(wav, RATE)))


def test_half_a_recording_voiced_has_half_the_strength() -> None:
    """What is audible and not voiced counts as 0; what is inaudible does not count."""
    voice = pulses(np.full(160, 100.0))
    noise = np.random.default_rng(0).standard_normal(len(voice)) * voice.std()
    found = measure_voicing(np.concatenate([voice, noise, np.zeros(len(voice))]), RATE)
    assert found.strength == pytest.approx(0.5, abs=0.08)


def test_correlation_of_contours_by_hand() -> None:
    """1 for a contour that is moved in height, -1 for its mirror, none where there is too little of both."""
    contour = np.exp2(np.linspace(7, 8, 60)).astype(np.float32)
    contour[::9] = 0
    assert f0_correlation(contour, 1.5 * contour) == pytest.approx(1, abs=1e-5)
    mirror = np.where(contour > 0, 30000 / np.maximum(contour, 1), 0).astype(np.float32)
    assert f0_correlation(contour, mirror) == pytest.approx(-1, abs=1e-5)
    assert isnan(f0_correlation(contour[:15], contour))
    assert isnan(f0_correlation(contour, np.where(contour > 0, 100, 0).astype(np.float32)))
