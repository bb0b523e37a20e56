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


def write_store(folder: Path, utterances: Sequence[Spoken], rate: int = RATE) -> Path:
    """Write the four files of a packed store, and the label files beside it."""
    folder.mkdir(parents=True)
    rows, audio, offset = [], [], 0
    for number, spoken in enumerate(utterances):
        samples = np.repeat(np.asarray(spoken.codes, dtype="<i2"), HOP)
        labels = ""
        if spoken.lab is not None:
            labels = f"u{number}.lab"
            (folder / labels).write_text(spoken.lab, encoding="utf-8")
        row = (
            *("made", "s1", f"u{number}", f"u{number}.wav", rate, len(samples) / rate),
            *(spoken.split, labels, "", offset, len(samples), spoken.start_s),
        )
        rows.append("\t".join(str(value) for value in row))
        audio.append(samples)
        offset += len(samples)
    manifest = ("\n".join(["\t".join(COLUMNS.split()), *rows]) + "\n").encode()
    (folder / "manifest.tsv").write_bytes(manifest)
    (folder / "audio.i16").write_bytes(np.concatenate(audio).tobytes())
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
