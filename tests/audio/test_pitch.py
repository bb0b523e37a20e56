"""Contours: the tracker on tones whose pitch is known, the same bits in pieces, cleaning and moving."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vqspeech.audio.pitch import Tracker, Voice, look_up, move, smooth, track, voice_of
from vqspeech.errors import VqspeechError

RATE = 16_000


def buzz(f0_hz: NDArray[np.float64], rate: int = RATE) -> NDArray[np.float32]:
    """Pulses of a pitch per sample, through a formant, with a little noise."""
    phase = np.cumsum(f0_hz / rate)
    pulses = np.diff(np.floor(phase), prepend=0)
    time = np.arange(rate // 50) / rate
    formant = np.exp(-time * 400) * np.cos(2 * np.pi * 600 * time)
    sound = np.convolve(pulses, formant)[: len(pulses)]
    noise = np.random.default_rng(0).standard_normal(len(sound))
    return (0.3 * sound + 0.001 * noise).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_a_known_pitch_is_found(rate: int) -> None:
    """Within 3 % in the middle of the sound, nothing in noise after it; one value per 5 ms."""
    spoken = buzz(np.linspace(100, 160, 2 * rate), rate)
    noise = 0.01 * np.random.default_rng(1).standard_normal(rate)
    contour = track(np.concatenate([spoken, noise]), rate)
    assert contour.dtype == np.float32
    assert len(contour) == 600
    times = (np.arange(600) + 0.5) * 0.005
    inside = (times > 0.1) & (times < 1.9)
    expected = 100 + 30 * times
    assert (np.abs(contour / expected - 1)[inside] < 0.03).mean() > 0.95
    assert (contour[times > 2.1] > 0).mean() < 0.1


@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 30 * RATE), max_size=4))
def test_pieces_give_the_bits_of_the_whole(cuts: list[int]) -> None:
    """Longer than a window of the tracker, cut anywhere."""
    wav = buzz(120 + 30 * np.sin(np.arange(30 * RATE) / 9000))
    tracker = Tracker(RATE)
    for piece in np.split(wav, sorted(cuts)):
        tracker.add(piece)
    np.testing.assert_array_equal(tracker.finish(), track(wav, RATE))


@pytest.mark.parametrize("samples", [1, 79, 81, 255, 300, 2000])
def test_short_and_silent_sounds(samples: int) -> None:
    """Silence is unvoiced, and a recording of any length has a frame for each 5 ms begun."""
    contour = track(np.zeros(samples), RATE)
    assert contour.tolist() == [0] * -(-samples // 80)


def test_what_is_no_sound() -> None:
    """Samples that are not finite, or not in a row, are refused."""
    with pytest.raises(VqspeechError, match="finite"):
        track(np.array([0.0, np.nan]), RATE)
    with pytest.raises(VqspeechError, match="finite"):
        track(np.zeros((2, 100)), RATE)


def test_look_up_takes_centres() -> None:
    """Frames of 10 ms take the second of two values, frames of 4 ms the nearest, and none follow the end."""
    contour = np.array([1, 2, 3, 4], np.float32)
    assert look_up(contour, 0, 3, 160, RATE).tolist() == [2, 4, 0]
    assert look_up(contour, 0, 5, 64, RATE).tolist() == [1, 2, 3, 3, 4]
    assert look_up(contour, 80, 2, 80, RATE).tolist() == [2, 3]


def test_voice_by_hand() -> None:
    """Mean and deviation of octaves; unvoiced frames and octave errors do not count, too few voiced give none."""
    contour = np.array([100, 200, 0] * 20, np.float32)
    found = voice_of([contour, contour])
    assert found is not None
    assert found.mean == pytest.approx(np.log2(100) + 0.5)
    assert found.deviation == pytest.approx(0.5)
    assert voice_of([contour[:9]]) is None
    assert voice_of([]) is None
    wrong = np.concatenate([np.full(100, 100, np.float32), np.full(5, 390, np.float32)])
    found = voice_of([wrong])
    assert found is not None
    assert found.mean == pytest.approx(np.log2(100))


def test_smoothing_closes_gaps_and_drops_specks() -> None:
    """A gap of 30 ms is bridged along the logarithm, one of 35 ms is not, and 15 ms of voice alone are dropped."""
    contour = np.zeros(80, np.float32)
    contour[5:20], contour[26:40], contour[47:60] = 100, 200, 200
    contour[70:73] = 150
    found = smooth(contour)
    assert (found[5:40] > 0).all()
    assert found[22] == pytest.approx(100 * 2 ** (3 / 7), rel=0.02)
    assert not found[40:47].any()
    assert (found[47:60] > 0).all()
    assert not found[65:].any()
    assert not smooth(np.zeros(9, np.float32)).any()


def test_a_moved_contour_has_the_statistics_of_its_target() -> None:
    """Mean and deviation of log-F0 are the target's, then semitones are added; voicing stays."""
    rng = np.random.default_rng(0)
    contour = np.exp2(np.log2(110) + 0.2 * rng.standard_normal(500)).astype(np.float32)
    contour[::7] = 0
    moved = move(contour, Voice(np.log2(210), 0.15), semitones=2)
    np.testing.assert_array_equal(moved > 0, contour > 0)
    octaves = np.log2(moved[moved > 0])
    assert octaves.mean() == pytest.approx(np.log2(210) + 2 / 12, abs=0.02)
    assert octaves.std() == pytest.approx(0.15, rel=0.05)


def test_hardly_any_voice_is_moved_to_the_mean() -> None:
    """With less than 0.1 s voiced there is no deviation to keep, and a flat voice is stretched at most twice."""
    few = np.array([0, 90, 95, 0], np.float32)
    np.testing.assert_allclose(move(few, Voice(7.0, 0.3)), [0, 128, 128, 0])
    flat = np.full(100, 100, np.float32)
    flat[::2] = 101
    moved = move(flat, Voice(7.0, 0.3))
    assert np.log2(moved.max() / moved.min()) == pytest.approx(2 * np.log2(1.01), rel=0.01)
