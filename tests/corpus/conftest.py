"""Small recordings and trees of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vqspeech import audio

RATE = 16000


def _record(path: Path, text: str | None = None, seconds: float = 0.3, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE))
    audio.write(path, noise, RATE)
    if text is not None:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def record() -> Callable[..., Path]:
    """Return a function that writes a short noise, with a text beside it if one is given."""
    return _record


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Return a folder of three speakers who read six sentences, each in an order of their own."""
    sentences = [f"Sentence number {number}." for number in range(6)]
    for shift, speaker in enumerate(("ann", "bob", "çelik")):
        for number in range(6):
            path = tmp_path / "people" / speaker / f"{speaker}_{number:03d}.wav"
            _record(path, sentences[(number + shift) % 6], seed=6 * shift + number)
    return tmp_path / "people"
