from dataclasses import fields

import numpy as np
import pytest

from vqspeech.metrics.phoneme_scores import Aligned, PhoneScores, score_phones


def test_control_shuffles_frames_and_not_utterances() -> None:
    """Codes that only tell which utterance it is score the same shuffled as not."""
    rng = np.random.default_rng(0)
    part = [Aligned(np.full(30, phone), np.full(30, phone)) for phone in rng.integers(4, size=20)]
    scores = score_phones(part, part, 4, 100.0, rng)
    assert scores.map_accuracy == scores.shuffled == 1
    assert scores.pnmi == pytest.approx(scores.pnmi_shuffled) == pytest.approx(1)


def test_every_field_is_described() -> None:
    """The docstring of the scores names each of them or its control's rule."""
    text = PhoneScores.__doc__ or ""
    described = [f for f in fields(PhoneScores) if not f.name.endswith("_shuffled")]
    assert [f.name for f in described if f.name not in text] == []
