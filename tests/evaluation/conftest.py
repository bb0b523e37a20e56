from collections.abc import Callable

import numpy as np
import pytest

RATE = 22050
"""What espeak-ng speaks at."""


@pytest.fixture(scope="session")
def say() -> Callable[[str, str], np.ndarray]:
    """Speak a text in one of espeak-ng's voices."""
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader (the extra `mini`)")
    from vqspeech.corpus.espeak import Synthesizer, Voice

    def speak(text: str, variant: str = "en-us") -> np.ndarray:
        # The library speaks for whoever started it last, who may be another test.
        synthesizer = Synthesizer()
        assert synthesizer.sample_rate == RATE
        synthesizer.choose(Voice("somebody", variant))
        return synthesizer.speak(text, seed=0).pcm.astype(np.float32) / 32768

    return speak
