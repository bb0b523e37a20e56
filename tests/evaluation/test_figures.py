import math
from dataclasses import asdict

import numpy as np
import pytest

from vqspeech.evaluation.figures import Figures, figures_of, summarise
from vqspeech.evaluation.judges import Heard
from vqspeech.evaluation.quality import Opinion
from vqspeech.metrics.pitch import Pitch

A, B = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)


def test_what_was_heard_is_held_against_what_should_be() -> None:
    """Voice, words, pitch, quality and distortion of one recording, each against its own truth."""
    pytest.importorskip("jiwer", reason="needs jiwer (the extra `eval`)")
    cepstra = np.ones((4, 24))
    heard = Heard(A, "hello word", Pitch(200.0, 0.4), Opinion(3.0, 3.5, 4.0), cepstra)
    found = figures_of(
        heard,
        target="a",
        source="b",
        centroids={"a": A, "b": B},
        text="Hello, world!",
        target_f0_hz=100.0,
        reference=cepstra,
    )
    expected = Figures(
        *(1.0, 0.0, "a", 1.0, "hello word", 1, 2, 200.0, 0.4, 12.0, 3.0, 3.5, 4.0, 0.0)
    )
    # From Python 3.13 on, == of dataclasses takes no nan for itself.
    np.testing.assert_equal(asdict(found), asdict(expected))


def test_judges_left_out_leave_nothing() -> None:
    """Without judges nothing is measured; a target without a centroid is neither hit nor missed."""
    nobody = Heard(None, None, None, None, None)
    found = figures_of(nobody, target="a", source="b", centroids={}, text="Hello.")
    assert (found.words, found.transcript, found.nearest) == (0, None, "")
    assert all(map(math.isnan, (found.hit, found.to_target, found.f0_hz, found.overall)))


def test_silence_is_not_the_target() -> None:
    """A recording without a voice counts as a miss."""
    silent = Heard(None, "", None, None, None)
    assert figures_of(silent, target="a", source="b", centroids={"a": A}).hit == 0


def test_word_error_is_of_all_words_together() -> None:
    """One error in one word and none in nine are 10 %, not 50 %; the interval holds it and goes up to 100 %."""
    found = summarise([Figures(edits=1, words=1), Figures(edits=0, words=9)])
    assert found.word_error == pytest.approx(0.1)
    assert found.word_error_interval == (0.0, 1.0)
    assert found.words == 10


def test_more_errors_than_words_stay_as_they_are() -> None:
    """Word error is not cut at 100 %."""
    assert summarise([Figures(edits=9, words=3)]).word_error == 3


def test_the_interval_of_hits_is_that_of_coin_flips() -> None:
    """Of 100 recordings half hit: 95 % of bootstraps lie about 0.4 to 0.6, the same ones every time."""
    found = [Figures(hit=float(i % 2)) for i in range(100)]
    low, high = summarise(found).nearest_interval
    assert (low, high) == pytest.approx((0.4, 0.6), abs=0.03)
    assert summarise(found).nearest_is_target == 0.5
    assert summarise(found).nearest_interval == (low, high)


def test_pitch_is_a_median_of_those_that_have_one() -> None:
    """Whispers are counted apart; distance counts either way."""
    hertz = [(100.0, -2.0), (110.0, 1.0), (math.nan, math.nan)]
    found = summarise([Figures(f0_hz=f0, semitones=of) for f0, of in hertz])
    assert (found.f0_hz, found.semitones, found.pitched, found.recordings) == (105, 1.5, 2, 3)


def test_nothing_measured_is_nothing() -> None:
    """No recordings, and recordings without figures, give nan and raise nothing."""
    for found in (summarise([]), summarise([Figures(), Figures()])):
        assert all(
            map(
                math.isnan,
                (found.to_target, found.nearest_is_target, found.word_error, found.f0_hz),
            )
        )
