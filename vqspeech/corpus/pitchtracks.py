"""Pitch contours of the recordings of a store or pack: tracked once, in parallel, and kept beside it.

A file of tracks is an npz with ``f0_hz``, float32, the contours of all utterances end to end, in their order, one value
per 5 ms and 0 where unvoiced, ceil(seconds / 5 ms) of them each, and ``tracker``, a name. Any tracker may have written
it. Where there is ``utterances_sha256`` too, it is that of the lines ``corpus TAB speaker TAB utterance TAB samples``,
so that a store and its pack may share a file and no other corpus takes it for its own.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech.atomic import write_atomically
from vqspeech.audio import mulaw_decode
from vqspeech.corpus.coded import CodedCorpus, CodedUtterance
from vqspeech.corpus.store import PackedStore, StoredUtterance
from vqspeech.errors import CorpusError
from vqspeech.pitch import FRAMES_PER_S, TRACKER, Voice, frames_of, track, voice_of
from vqspeech.progress import Progress
from vqspeech.workers import usable_threads

FILE = "pitch.npz"
"""Name of a corpus' own tracks, in its folder."""


class PitchTracks:
    """Contours of a corpus.

    Parameters
    ----------
    corpus : PackedStore or CodedCorpus
        The recordings.
    f0_hz : ndarray of float32
        Contours of all utterances, end to end.
    tracker : str
        What found them.

    Attributes
    ----------
    begins : ndarray of int64, shape (utterances + 1,)
        Where the contour of each utterance begins.
    """

    def __init__(
        self, corpus: PackedStore | CodedCorpus, f0_hz: NDArray[np.float32], tracker: str
    ) -> None:
        self.corpus, self.f0_hz, self.tracker = corpus, f0_hz, tracker
        self.begins = np.cumsum([0, *_frames(corpus)])

    def contour(self, index: int) -> NDArray[np.float32]:
        """Contour of the utterance at a place of the corpus, one value per 5 ms."""
        return self.f0_hz[self.begins[index] : self.begins[index + 1]]

    def voices(self) -> dict[str, Voice]:
        """Mean and deviation of log-F0 of each speaker of the training split that is voiced at all."""
        contours: dict[str, list[NDArray[np.float32]]] = {}
        for index, utterance in enumerate(_utterances(self.corpus)):
            if utterance.split == "train":
                contours.setdefault(utterance.speaker, []).append(self.contour(index))
        found = {speaker: voice_of(own) for speaker, own in contours.items()}
        return {speaker: voice for speaker, voice in found.items() if voice is not None}


class BatchContours:
    """Contours of segments of the training split.

    Parameters
    ----------
    tracks : PitchTracks
        Of the corpus that the segments are of.
    hop : int
        Samples of a frame of the condition.
    """

    def __init__(self, tracks: PitchTracks, hop: int) -> None:
        self.hop, self.sample_rate = hop, tracks.corpus.sample_rate
        kept = [i for i, u in enumerate(_utterances(tracks.corpus)) if u.split == "train"]
        self.f0_hz = torch.from_numpy(np.ascontiguousarray(tracks.f0_hz))
        self.begins = torch.from_numpy(tracks.begins[kept])
        self.ends = torch.from_numpy(tracks.begins[np.array(kept) + 1])

    def to(self, device: torch.device) -> "BatchContours":
        """Return the same on a device."""
        moved = object.__new__(BatchContours)
        moved.hop, moved.sample_rate = self.hop, self.sample_rate
        moved.f0_hz, moved.begins, moved.ends = (
            tensor.to(device) for tensor in (self.f0_hz, self.begins, self.ends)
        )
        return moved

    def __call__(self, utterance: Tensor, start: Tensor, segment: int) -> Tensor:
        """Look up the contours of segments.

        Parameters
        ----------
        utterance, start : Tensor
            int64, (batch,): places among the training utterances, and first samples.
        segment : int
            Samples of each.

        Returns
        -------
        Tensor
            float32, (batch, segment / hop): F0 in Hz at the centre of each frame, as `vqspeech.pitch.look_up` finds
            it; 0 beyond the utterance.
        """
        frames = torch.arange(segment // self.hop, device=start.device)
        twice = 2 * start[:, None] + (2 * frames + 1) * self.hop
        place = twice * FRAMES_PER_S // (2 * self.sample_rate) + self.begins[utterance][:, None]
        inside = place < self.ends[utterance][:, None]
        return torch.where(inside, self.f0_hz[torch.where(inside, place, 0)], 0)


def open_tracks(corpus: PackedStore | CodedCorpus, name: str = "auto") -> PitchTracks:
    """Read the tracks of a corpus, or make them.

    Parameters
    ----------
    corpus : PackedStore or CodedCorpus
        The recordings, or their levels.
    name : str
        A file of tracks, which is made where there is none; ``auto`` for the corpus' own.

    Raises
    ------
    CorpusError
        The file is damaged or belongs to another corpus, or cannot be written.
    """
    path = corpus.path / FILE if name == "auto" else Path(name)
    if path.exists():
        return _read(corpus, path)
    if not os.access(_existing(path.parent), os.W_OK):
        raise CorpusError(
            f"{path}: no tracks there, and none can be written; name a file with data.pitch"
        )
    f0_hz = _track(corpus)
    content = {"f0_hz": f0_hz, "tracker": TRACKER, "utterances_sha256": _digest(corpus)}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **{k: np.asarray(v) for k, v in content.items()})  # type: ignore[arg-type]

    write_atomically(path, write)
    return PitchTracks(corpus, f0_hz, TRACKER)


def _existing(folder: Path) -> Path:
    return folder if folder.exists() or folder == folder.parent else _existing(folder.parent)


def _utterances(
    corpus: PackedStore | CodedCorpus,
) -> Sequence[StoredUtterance | CodedUtterance]:
    return corpus.utterances


def _frames(corpus: PackedStore | CodedCorpus) -> list[int]:
    return [frames_of(u.samples, corpus.sample_rate) for u in _utterances(corpus)]


def _digest(corpus: PackedStore | CodedCorpus) -> str:
    lines = (f"{u.corpus}\t{u.speaker}\t{u.utterance}\t{u.samples}\n" for u in _utterances(corpus))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _wav(corpus: PackedStore | CodedCorpus, index: int) -> NDArray[np.float32]:
    if isinstance(corpus, PackedStore):
        return corpus.wav(index)
    of = corpus.utterances[index]
    levels = torch.from_numpy(corpus.levels(of.offset, of.offset + of.samples))
    return np.asarray(mulaw_decode(levels.long(), corpus.quantization).numpy())


def _track(corpus: PackedStore | CodedCorpus) -> NDArray[np.float32]:
    """Track all recordings, on all cores: the tracker lets other threads run."""
    places = range(len(corpus.utterances))
    with (
        Progress(len(places), "utterances", "tracking pitch") as bar,
        ThreadPoolExecutor(usable_threads()) as pool,
    ):
        found = []
        for contour in pool.map(lambda i: track(_wav(corpus, i), corpus.sample_rate), places):
            found.append(contour)
            bar.update()
    return np.concatenate(found)


def _read(corpus: PackedStore | CodedCorpus, path: Path) -> PitchTracks:
    try:
        with np.load(path, allow_pickle=False) as file:
            f0_hz, tracker = file["f0_hz"], str(file["tracker"])
            digest = str(file["utterances_sha256"]) if "utterances_sha256" in file else None
    except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
        raise CorpusError(
            f"{path}: not a file of pitch tracks ({error}); delete it to have them made"
        ) from None
    if digest not in (None, _digest(corpus)):
        raise CorpusError(
            f"{path}: tracks of another corpus than {corpus.path}; delete them to have them made anew"
        )
    frames = sum(_frames(corpus))
    if f0_hz.shape != (frames,) or f0_hz.dtype != np.float32:
        raise CorpusError(
            f"{path}: f0_hz is {f0_hz.dtype} of shape {f0_hz.shape}, expected float32 ({frames},)"
        )
    if not (np.isfinite(f0_hz).all() and (f0_hz >= 0).all()):
        raise CorpusError(f"{path}: f0_hz holds values that are no frequencies")
    return PitchTracks(corpus, f0_hz, tracker)
