"""A small packed store of tones by speakers who read the same sentences, and judges who hear what was planted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from vqspeech.corpus.manifest import read_manifest
from vqspeech.corpus.prepare import prepare
from vqspeech.corpus.store import PackedStore
from vqspeech.evaluation.judges import Judges
from vqspeech.evaluation.quality import Opinion

RATE = 16000

TONES = {"p225": 200.0, "p226": 120.0, "stranger": 160.0}
"""Speakers, of whom the tiny model knows all but the last, and the pitch of each."""

SENTENCES = ("Hello world.", "The quick brown fox!", "It's 21.")


def tone(f0_hz: float, duration_s: float, seed: int = 0) -> np.ndarray:
    """Make harmonics over faint noise."""
    t = np.arange(round(duration_s * RATE)) / RATE
    sound = sum(np.sin(2 * np.pi * f0_hz * k * t) / k for k in range(1, 9))
    noise = np.random.default_rng(seed).normal(size=len(t))
    return (0.2 * sound + 0.001 * noise).astype(np.float32)


def write_corpus(
    folder: Path,
    *,
    sentences: Sequence[str] = SENTENCES,
    speakers: Sequence[str] = tuple(TONES),
    train_s: float = 6.0,
) -> Path:
    """Write each speaker's train recording, and one of each sentence in test, with a manifest."""
    folder.mkdir(parents=True)
    rows = ["speaker\tutterance\tpath\tsplit\ttext"]
    for place, speaker in enumerate(speakers):
        lengths = [("train", train_s, ""), *(("test", 0.3, text) for text in sentences)]
        for number, (split, duration_s, text) in enumerate(lengths):
            name = f"{speaker}_{number}"
            soundfile.write(
                folder / f"{name}.wav", tone(TONES[speaker], duration_s, 10 * place + number), RATE
            )
            rows.append(f"{speaker}\t{name}\t{name}.wav\t{split}\t{text}")
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def pack(corpus: Path) -> PackedStore:
    """Pack a corpus beside itself."""
    listing = read_manifest(corpus / "manifest.tsv")
    out = prepare(listing, corpus.with_name("store"), workers=1, top_db=None, progress=False)
    return PackedStore(out)


class PitchVoices:
    """Takes the strongest frequency for the voice."""

    def embed(self, wav: np.ndarray, sample_rate: int) -> np.ndarray | None:
        if not wav.any():
            return None
        peak_hz = np.abs(np.fft.rfft(wav)).argmax() * sample_rate / len(wav)
        angle = np.pi / 2 * min(1.0, peak_hz / 400)
        return np.array([np.cos(angle), np.sin(angle)], np.float32)


class Parrot:
    """Hears the same words everywhere."""

    def __init__(self, heard: str = "hello world") -> None:
        self.heard = heard

    def transcribe(self, wav: np.ndarray, sample_rate: int) -> str:
        return self.heard


class Kind:
    """Likes everything."""

    def judge(self, wav: np.ndarray, sample_rate: int) -> Opinion:
        return Opinion(4.0, 4.5, 3.5)


def fake_judges() -> Judges:
    """Return judges that need no package; pitch and distortion are the real ones."""
    return Judges(PitchVoices(), Parrot(), Kind())
