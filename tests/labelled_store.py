"""A packed store whose samples spell out codes, and a model that reads them off."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE = 16000
HOP = 160

COLUMNS = "corpus speaker utterance path rate seconds split labels text offset samples start_s"


@dataclass(frozen=True)
class Spoken:
    """One utterance: the code of each frame, and the text of its label file or None."""

    split: str
    codes: Sequence[int]
    lab: str | None
    start_s: float = 0.0


def lab_of(phones: Sequence[str], start_s: float = 0.0) -> str:
    """Label each frame, the first one starting at `start_s`."""
    start, length = round(start_s * 1e7), HOP * 10_000_000 // RATE
    lines = [
        f"{start + i * length} {start + (i + 1) * length} {phone}" for i, phone in enumerate(phones)
    ]
    return "\n".join(lines) + "\n"


class ReadingModel:
    """Encodes a frame as its first sample."""

    sample_rate = RATE
    hop = HOP

    def __init__(self, codebook_size: int = 8) -> None:
        self.codebook_size = codebook_size

    def encode(self, wav: np.ndarray) -> np.ndarray:
        return np.rint(wav[:: self.hop] * 32768).astype(np.int64)


@dataclass(frozen=True)
class Sound:
    """One utterance as the samples that a store holds."""

    speaker: str
    split: str
    samples: np.ndarray
    labels: str = ""
    start_s: float = 0.0
    text: str = ""


def write_store(folder: Path, utterances: Sequence[Spoken], rate: int = RATE) -> Path:
    """Write the four files of a packed store, and the label files beside it."""
    folder.mkdir(parents=True)
    sounds = []
    for number, spoken in enumerate(utterances):
        labels = ""
        if spoken.lab is not None:
            labels = f"u{number}.lab"
            (folder / labels).write_text(spoken.lab, encoding="utf-8")
        samples = np.repeat(np.asarray(spoken.codes, dtype="<i2"), HOP)
        sounds.append(Sound("s1", spoken.split, samples, labels, spoken.start_s))
    return write_sounds(folder, sounds, rate)


def write_sounds(folder: Path, sounds: Sequence[Sound], rate: int = RATE) -> Path:
    """Write the files of a packed store of given samples."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, offset = [], 0
    for number, sound in enumerate(sounds):
        count = len(sound.samples)
        row = (
            *("made", sound.speaker, f"u{number}", f"u{number}.wav", rate, count / rate),
            *(sound.split, sound.labels, sound.text, offset, count, sound.start_s),
        )
        rows.append("\t".join(str(value) for value in row))
        offset += count
    manifest = ("\n".join(["\t".join(COLUMNS.split()), *rows]) + "\n").encode()
    (folder / "manifest.tsv").write_bytes(manifest)
    audio = np.concatenate([sound.samples for sound in sounds]).astype("<i2")
    (folder / "audio.i16").write_bytes(audio.tobytes())
    index = {
        "format": "vqspeech-store",
        "version": 1,
        "sample_rate": rate,
        "samples": offset,
        "utterances": len(rows),
        "root": str(folder),
        "corpus": "made",
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
    }
    (folder / "store.json").write_text(json.dumps(index))
    return folder
