import math

import numpy as np
import pytest

from vqspeech.errors import VqspeechError
from vqspeech.metrics.cepstra import CEPSTRA, mel_cepstra, mel_cepstral_distortion

RATE = 16000


@pytest.fixture
def speech() -> np.ndarray:
    """A second whose spectrum moves."""
    t = np.arange(RATE) / RATE
    noise = np.random.default_rng(0).normal(size=RATE)
    return (0.1 * np.sin(2 * np.pi * (300 + 900 * t) * t) + 0.01 * noise).astype(np.float32)


def test_a_recording_is_not_far_from_itself(speech: np.ndarray) -> None:
    """The distortion of identical cepstra is 0."""
    cepstra = mel_cepstra(speech, RATE)
    assert cepstra.shape[1] == CEPSTRA
    assert mel_cepstral_distortion(cepstra, cepstra) == 0


def test_a_known_offset_has_the_value_of_the_formula() -> None:
    """Shifting two cepstra of constant frames by 0.3 and 0.4 gives 10 / ln 10 * sqrt(2 * 0.25) dB."""
    first = np.ones((7, CEPSTRA))
    second = first.copy()[:5]
    second[:, 0] += 0.3
    second[:, 4] -= 0.4
    expected = 10 / math.log(10) * math.sqrt(2 * 0.25)
    assert mel_cepstral_distortion(first, second) == pytest.approx(expected)


def test_one_decibel_of_ripple_is_its_root_mean_square(speech: np.ndarray) -> None:
    """An envelope that differs by A dB along one cosine differs by A / sqrt(2) dB on average."""
    first = np.zeros((3, CEPSTRA))
    second = first.copy()
    second[:, 2] = 6 * math.log(10) / 20
    assert mel_cepstral_distortion(first, second) == pytest.approx(6 / math.sqrt(2))


def test_neither_level_nor_tempo_nor_pauses_matter(speech: np.ndarray) -> None:
    """Half as loud, with a pause in it, is as good as the same; another sound is not."""
    own = mel_cepstra(speech, RATE)
    paused = np.concatenate([speech[: RATE // 2], np.zeros(RATE // 2), speech[RATE // 2 :]])
    assert mel_cepstral_distortion(own, mel_cepstra(0.5 * speech, RATE)) == pytest.approx(
        0, abs=1e-3
    )
    near = mel_cepstral_distortion(own, mel_cepstra(paused.astype(np.float32), RATE))
    noise = np.random.default_rng(1).normal(size=RATE).astype(np.float32)
    assert near < 1 < 5 < mel_cepstral_distortion(own, mel_cepstra(0.1 * noise, RATE))


def test_silence_has_no_cepstra() -> None:
    """It has no frames, and is no distance away from anything."""
    silence = mel_cepstra(np.zeros(RATE, np.float32), RATE)
    assert silence.shape == (0, CEPSTRA)
    assert math.isnan(mel_cepstral_distortion(silence, np.ones((3, CEPSTRA))))


def test_what_cannot_be_compared_is_refused() -> None:
    """Other numbers of cepstra, and samples that are not finite, are errors."""
    with pytest.raises(VqspeechError, match="do not compare"):
        mel_cepstral_distortion(np.ones((3, 13)), np.ones((3, 24)))
    with pytest.raises(VqspeechError, match="finite"):
        mel_cepstra(np.array([0.0, np.nan], np.float32), RATE)
