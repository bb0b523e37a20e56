import math

import numpy as np
import pytest

from vqspeech.errors import VqspeechError
from vqspeech.metrics.pitch import (
    f0_at,
    measure_pitch,
    semitones,
)

RATE = 16000


def voice(f0_hz: float, duration_s: float = 1.5, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Make harmonics up to 4 kHz, falling by 6 dB an octave, swelling as speech does, over faint noise."""
    t = np.arange(round(duration_s * rate)) / rate
    harmonics = np.arange(1, int(min(4000, 0.45 * rate) / f0_hz) + 1)
    sound = (np.sin(2 * np.pi * f0_hz * np.outer(harmonics, t)) / harmonics[:, None]).sum(axis=0)
    noise = np.random.default_rng(seed).normal(size=len(t))
    return (0.2 * sound * (1.1 + np.sin(2 * np.pi * 4 * t)) + 0.001 * noise).astype(np.float32)


@pytest.mark.parametrize(
    ("f0_hz", "rate"),
    [
        *((f0_hz, RATE) for f0_hz in (70, 95, 130, 210, 330)),
        (150, 8000),
        (150, 22050),
        (150, 48000),
    ],
)
def test_pitch_of_a_synthetic_voice(f0_hz: float, rate: int) -> None:
    """A periodic sound with many harmonics has its own pitch at any rate, not an octave of it, within 1 %."""
    assert measure_pitch(voice(f0_hz, rate=rate), rate).median_hz == pytest.approx(f0_hz, rel=0.01)


def test_pitch_is_looked_up_where_it_is() -> None:
    """A voice that jumps has the first pitch before and the second after; silence has none."""
    parts = [voice(110, 0.5), np.zeros(RATE // 2, np.float32), voice(220, 0.5)]
    found = f0_at(np.concatenate(parts), RATE, np.array([0.25, 0.75, 1.25, 9.0]))
    assert found[[0, 2]] == pytest.approx([110, 220], rel=0.02)
    assert math.isnan(found[1])
    assert np.isnan(f0_at(np.ones(10, np.float32), RATE, np.array([0.0]))).all()


def test_missing_fundamental_is_heard() -> None:
    """As over a telephone: harmonics 2 to 8 alone still repeat at the fundamental."""
    t = np.arange(RATE) / RATE
    sound = sum(np.sin(2 * np.pi * 120 * k * t) for k in range(2, 9))
    assert measure_pitch(0.1 * sound.astype(np.float32), RATE).median_hz == pytest.approx(
        120, rel=0.01
    )


def test_median_is_over_voiced_frames() -> None:
    """Silence and noise before and after a voice do not move its pitch."""
    noise = 0.02 * np.random.default_rng(1).normal(size=RATE).astype(np.float32)
    sound = np.concatenate([np.zeros(RATE, np.float32), noise, voice(110), noise])
    assert measure_pitch(sound, RATE).median_hz == pytest.approx(110, rel=0.02)


def test_hum_far_below_the_voice_is_not_heard() -> None:
    """A hum 60 dB down that outlasts the voice does not set the pitch."""
    sound = np.concatenate([voice(110), 0.001 * voice(220, duration_s=4)])
    assert measure_pitch(sound, RATE).median_hz == pytest.approx(110, rel=0.02)


@pytest.mark.parametrize("snr_db", [10, 5])
def test_noisy_voice_keeps_its_pitch(snr_db: float) -> None:
    """White noise at 10 and 5 dB moves the median by less than 4 %."""
    clean = voice(140)
    noise = np.random.default_rng(2).normal(size=len(clean)) * np.sqrt((clean**2).mean())
    noisy = clean + noise.astype(np.float32) * np.float32(10 ** (-snr_db / 20))
    assert measure_pitch(noisy, RATE).median_hz == pytest.approx(140, rel=0.04)


@pytest.mark.parametrize(
    "wav",
    [
        np.zeros(RATE),
        np.full(RATE, 0.3),
        0.1 * np.random.default_rng(0).normal(size=2 * RATE),
        voice(150)[:1000],
        np.zeros(0),
    ],
    ids=["silence", "offset", "noise", "shorter than a window", "empty"],
)
def test_without_voice_there_is_no_pitch(wav: np.ndarray) -> None:
    """Nothing periodic gives nan rather than a number."""
    assert math.isnan(measure_pitch(wav.astype(np.float32), RATE).median_hz)


@pytest.mark.parametrize("wav", [np.array([0.0, np.nan] * 2000), np.zeros((2, 4000))])
def test_what_is_no_recording_is_refused(wav: np.ndarray) -> None:
    """NaN and several channels are errors in one line."""
    with pytest.raises(VqspeechError, match="finite samples of shape"):
        measure_pitch(wav, RATE)


def test_real_voices_differ_in_pitch(real_speech) -> None:
    """The male and the female ARCTIC speaker lie where such voices do."""
    from vqspeech import audio

    found = {}
    for speaker in ("bdl", "slt"):
        wav = audio.read(real_speech / f"arctic/{speaker}/arctic_a0001.flac", RATE)
        found[speaker] = measure_pitch(wav, RATE).median_hz
    assert 90 < found["bdl"] < 155 < 160 < found["slt"] < 240


def test_unvoiced_share_of_a_voice_that_stops() -> None:
    """Noise as long as the voice makes half unvoiced; pure noise is all unvoiced and has no pitch."""
    noise = np.random.default_rng(0).normal(scale=0.2, size=round(1.5 * RATE)).astype(np.float32)
    pitch = measure_pitch(np.concatenate([voice(120), noise]), RATE)
    assert pitch.median_hz == pytest.approx(120, rel=0.02)
    assert pitch.unvoiced == pytest.approx(0.5, abs=0.15)
    alone = measure_pitch(noise, RATE)
    assert math.isnan(alone.median_hz)
    assert alone.unvoiced > 0.9
    assert all(map(math.isnan, measure_pitch(np.zeros(RATE, np.float32), RATE)))


def test_semitones() -> None:
    """An octave up is 12, down -12, none without a pitch."""
    assert semitones(200, 100) == pytest.approx(12)
    assert semitones(100, 200) == pytest.approx(-12)
    assert math.isnan(semitones(math.nan, 100))
    assert math.isnan(semitones(100, 0))
