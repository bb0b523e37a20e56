"""Pitch contours of the recordings of a store: tracked once, in parallel, and kept beside it.

A file of tracks is an npz with ``f0_hz``, float32, the contours of all utterances end to end in the order of the store,
one value per 5 ms and 0 where unvoiced, ceil(seconds / 5 ms) of them each; ``manifest_sha256``, that of the store's
manifest; and ``tracker``, a name. Any tracker may have written it.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.pitch import TRACKER, Voice, frames_of, look_up, track, voice_of
from vqspeech.corpus.store import PackedStore, StoredUtterance
from vqspeech.errors import CorpusError
from vqspeech.jobs.atomic import write_atomically
from vqspeech.jobs.progress import Progress
from vqspeech.jobs.workers import usable_threads
from vqspeech.training.data.coded import CodedCorpus, CodedUtterance

FILE = "pitch.npz"
"""File of a store's own tracks in its folder."""


class PitchTracks:
    """Contours, end to end in `f0_hz`, of all utterances of a store or a pack; `tracker` is the tracker's name."""

    def __init__(
        self, store: PackedStore | CodedCorpus, f0_hz: NDArray[np.float32], tracker: str
    ) -> None:
        self.store, self.f0_hz, self.tracker = store, f0_hz, tracker
        self._begins = np.cumsum([0, *(_frames(store, i) for i in range(len(store.utterances)))])

    def contour(self, index: int) -> NDArray[np.float32]:
        """Contour of the utterance at a place of the store, one value per 5 ms."""
        return self.f0_hz[self._begins[index] : self._begins[index + 1]]

    def cut(self, index: int, start: int, frames: int, hop: int) -> NDArray[np.float32]:
        """F0 in Hz, (frames,), at the centre of frames of `hop` samples from sample `start` on; 0 past the end."""
        return look_up(self.contour(index), start, frames, hop, self.store.sample_rate)

    def voices(self) -> dict[str, Voice]:
        """Mean and deviation of log-F0 of each speaker of the training split that is voiced at all."""
        found = {}
        utterances: Sequence[StoredUtterance | CodedUtterance] = self.store.utterances
        for speaker in self.store.speakers:
            contours = [
                self.contour(i)
                for i, u in enumerate(utterances)
                if u.split == "train" and u.speaker == speaker
            ]
            voice = voice_of(contours)
            if voice is not None:
                found[speaker] = voice
        return found


def _frames(store: PackedStore | CodedCorpus, index: int) -> int:
    return frames_of(store.utterances[index].samples, store.sample_rate)


def open_tracks(store: PackedStore | CodedCorpus, name: str = "auto") -> PitchTracks:
    """Read the tracks of a store, or make them; `name` is a file, or ``auto`` for the store's own.

    `CorpusError` where the file is damaged, of another store, or cannot be written.
    """
    path = store.path / FILE if name == "auto" else Path(name)
    if path.exists():
        return _read(store, path)
    if not isinstance(store, PackedStore):
        raise CorpusError(
            f"{path}: no tracks there, and a pack has no sound to make them of; pack the store with them"
        )
    if not os.access(_existing(path.parent), os.W_OK):
        raise CorpusError(
            f"{path}: no tracks there, and none can be written; name a file with data.pitch"
        )
    contours = _track(store)
    content = {
        "f0_hz": contours,
        "manifest_sha256": np.array(store.manifest_sha256),
        "tracker": np.array(TRACKER),
    }

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **content)  # type: ignore[arg-type]

    write_atomically(path, write)
    return PitchTracks(store, contours, TRACKER)


def _existing(folder: Path) -> Path:
    return folder if folder.exists() or folder == folder.parent else _existing(folder.parent)


def _track(store: PackedStore) -> NDArray[np.float32]:
    """Track all recordings, on all cores: the tracker lets other threads run."""
    with (
        Progress(len(store), "utterances", "tracking pitch") as bar,
        ThreadPoolExecutor(usable_threads()) as pool,
    ):

        def one(index: int) -> NDArray[np.float32]:
            return track(store.wav(index), store.sample_rate)

        found = []
        for contour in pool.map(one, range(len(store))):
            found.append(contour)
            bar.update()
    return np.concatenate(found)


def _read(store: PackedStore | CodedCorpus, path: Path) -> PitchTracks:
    try:
        with np.load(path, allow_pickle=False) as file:
            f0_hz = file["f0_hz"]
            digest, tracker = str(file["manifest_sha256"]), str(file["tracker"])
    except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
        raise CorpusError(
            f"{path}: not a file of pitch tracks ({error}); delete it to have them made"
        ) from None
    if digest != store.manifest_sha256:
        raise CorpusError(
            f"{path}: tracks of another store than {store.path}; delete them to have them made anew"
        )
    frames = sum(_frames(store, i) for i in range(len(store.utterances)))
    if f0_hz.shape != (frames,) or f0_hz.dtype != np.float32:
        raise CorpusError(
            f"{path}: f0_hz is {f0_hz.dtype} of shape {f0_hz.shape}, expected float32 ({frames},)"
        )
    if not (np.isfinite(f0_hz).all() and (f0_hz >= 0).all()):
        raise CorpusError(f"{path}: f0_hz holds values that are no frequencies")
    return PitchTracks(store, f0_hz, tracker)
