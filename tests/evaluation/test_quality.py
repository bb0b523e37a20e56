from collections.abc import Callable

import numpy as np
import pytest
from judged_corpus import RATE, tone

from vqspeech.evaluation.quality import Dnsmos


@pytest.fixture(scope="module")
def listeners() -> Dnsmos:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (the extra `eval`)")
    pytest.importorskip("speechmos", reason="needs speechmos (the extra `eval`)")
    return Dnsmos()


def test_dnsmos_likes_speech_better_than_noise(
    listeners: Dnsmos, say: Callable[..., np.ndarray]
) -> None:
    """Synthesised speech scores above the same speech in loud noise, all of it within 1 and 5."""
    clean = say("The harbour was closed on account of the storm.")
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(clean)).astype(np.float32)
    good = listeners.judge(clean, 22050)
    bad = listeners.judge(clean + noise, 22050)
    assert good is not None and bad is not None
    assert 5 > good.overall > bad.overall + 0.5
    assert good.background > bad.background > 0.5


def test_dnsmos_takes_whatever_there_is(listeners: Dnsmos) -> None:
    """Beyond full scale, short, silent: an opinion; without samples: none."""
    assert listeners.judge(9 * tone(200, 0.2), RATE) is not None
    assert listeners.judge(np.zeros(10, np.float32), RATE) is not None
    assert listeners.judge(np.zeros(0, np.float32), RATE) is None
