import math
from collections.abc import Callable

import numpy as np
import pytest

from vqspeech.evaluation.voices import Resemblyzer, centroid, liken

A, B = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)


def test_a_centroid_is_the_direction_of_the_mean() -> None:
    """It lies between its vectors and has length 1."""
    assert centroid([A, B]) == pytest.approx([math.sqrt(0.5)] * 2)
    assert centroid([A]) == pytest.approx(A)


def test_the_nearest_of_planted_voices() -> None:
    """A vector at 30° to one voice and 60° to another is nearer to the first, with those cosines."""
    vector = np.array([math.cos(math.pi / 6), math.sin(math.pi / 6)], np.float32)
    like = liken(vector, {"b": B, "a": A}, target="a", source="b")
    assert like.nearest == "a"
    assert (like.to_target, like.to_source) == pytest.approx((math.sqrt(3) / 2, 0.5))


def test_speakers_without_a_centroid_have_no_cosine() -> None:
    """Of a source nobody has learned nothing is said, and silence is near nobody."""
    like = liken(A, {"a": A}, target="a", source="stranger")
    assert like.nearest == "a"
    assert math.isnan(like.to_source)
    nobody = liken(None, {"a": A}, target="a", source="a")
    assert nobody.nearest == ""
    assert math.isnan(nobody.to_target)
    assert liken(A, {}, "a", "a").nearest == ""


@pytest.fixture(scope="module")
def voices() -> Resemblyzer:
    pytest.importorskip("resemblyzer", reason="needs resemblyzer (the extra `eval`)")
    return Resemblyzer()


def test_resemblyzer_tells_voices_apart(
    voices: Resemblyzer, say: Callable[..., np.ndarray]
) -> None:
    """Another sentence in the same voice is nearer than another voice."""

    def embed(variant: str, text: str) -> np.ndarray:
        vector = voices.embed(say(text, variant), 22050)
        assert vector is not None
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        return vector

    text = "We may never learn who wrote the letter."
    low, high = embed("en-us+m3", text), embed("en-us+f2", text)
    again = embed("en-us+m3", "The harbour was closed on account of the storm.")
    assert again @ low > again @ high


def test_resemblyzer_takes_whatever_there_is(voices: Resemblyzer) -> None:
    """Silence has no voice; noise and a few samples have some vector and raise nothing."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=16000).astype(np.float32)
    assert voices.embed(np.zeros(16000, np.float32), 16000) is None
    for wav in (noise, noise[:50], noise[:9000]):
        vector = voices.embed(wav, 16000)
        assert vector is None or vector.shape == (256,)
