"""Training batches: the data of a step is a pure function of (seed, step, rank).

`Segments` are of sound, for an encoder that learns; `CodedSegments` of levels and codes, for fixed codes. `Resident`
has either of them on a GPU and gathers batches there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.training.data.coded import CodedCorpus
from vqspeech.training.data.pitchtracks import PitchTracks


class Batch(NamedTuple):
    """Segments of recordings.

    Attributes
    ----------
    pcm : Tensor
        int16, (batch, samples); zeros after the end of a short recording.
    speaker : Tensor
        int64, (batch,): index of the speaker.
    valid : Tensor
        int64, (batch,): samples inside the recording.
    crop : Tensor
        int64, (batch,): first frame of the WaveNet's part.
    contour : Tensor
        float32, (batch, condition frames), Hz, 0 where unvoiced; (batch, 0) without pitch.
    """

    pcm: Tensor
    speaker: Tensor
    valid: Tensor
    crop: Tensor
    contour: Tensor


class CodedBatch(NamedTuple):
    """Segments of recordings with codes; they begin at the start of a code.

    Attributes
    ----------
    levels : Tensor
        uint8, (batch, samples); the level of silence after the end of a short recording.
    codes : Tensor
        int64, (batch, frames); 0 after the end.
    speaker, valid, crop, contour : Tensor
        See `Batch`.
    """

    levels: Tensor
    codes: Tensor
    speaker: Tensor
    valid: Tensor
    crop: Tensor
    contour: Tensor


class Places(NamedTuple):
    """The segments of a batch: arrays of int64, (batch,).

    Attributes
    ----------
    utterance : ndarray
        Index among the training utterances.
    start : ndarray
        First sample of the segment in the utterance.
    speaker, valid, crop : ndarray
        See `Batch`.
    """

    utterance: np.ndarray
    start: np.ndarray
    speaker: np.ndarray
    valid: np.ndarray
    crop: np.ndarray


@dataclass(frozen=True)
class Phase:
    """The shape of the batches of a stretch of training.

    Attributes
    ----------
    steps : int
        Number of steps.
    batch : int
        Segments per step and worker.
    segment : int
        Samples per segment, the encoder's input.
    crop : int
        Samples of it that the WaveNet learns from; 0 leaves the WaveNet out.
    balance : float
        How far speakers are weighted equally, in [0, 1]: the probability of a speaker is proportional to the amount of
        speech to the power of ``1 - balance``.
    """

    steps: int
    batch: int
    segment: int
    crop: int
    balance: float = 0.0


class _Plan:
    """The segments of the batch of a step.

    A point is drawn over all samples of the split, uniformly for a speaker; the segment is the one around it, within
    the recording, so that all samples of a long recording are equally likely, but for its two ends.
    """

    def __init__(
        self,
        corpus: PackedStore | CodedCorpus,
        phases: Sequence[Phase],
        hop: int,
        seed: int,
        rank: int,
        speakers: Sequence[str],
        pitch: tuple[PitchTracks, int] | None,
        *,
        aligned: bool,
    ) -> None:
        self.phases, self.hop, self.seed, self.rank = phases, hop, seed, rank
        self.aligned, self.pitch = aligned, pitch
        utterances: Sequence[Any] = corpus.utterances
        self._indices = [i for i, u in enumerate(utterances) if u.split == "train"]
        self.kept = [utterances[i] for i in self._indices]
        if not self.kept:
            raise CorpusError(f"{corpus.path}: no utterances to train on")
        self._lengths = np.array([u.samples for u in self.kept])
        index = {name: i for i, name in enumerate(speakers)}
        self._speakers = np.array([index[u.speaker] for u in self.kept])
        spoken = np.bincount(self._speakers, self._lengths)
        rarity = self._lengths.sum() / spoken[self._speakers]
        # of each recording, by balance
        self._chances: dict[float, np.ndarray] = {}
        for phase in phases:
            weights = self._lengths * rarity**phase.balance
            self._chances[phase.balance] = weights / weights.sum()
        for phase in phases:
            if phase.segment % hop or phase.crop % hop or phase.crop > phase.segment:
                raise CorpusError(
                    f"segment {phase.segment} and crop {phase.crop} must be whole frames of {hop}"
                    " samples, and the crop no longer than the segment"
                )

    def phase(self, step: int) -> Phase:
        """Return the phase that a step belongs to; steps past the end belong to the last one."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1]

    def places(self, step: int) -> Places:
        """Return the segments of the batch of a step."""
        phase, hop = self.phase(step), self.hop
        draw = np.random.default_rng([self.seed, self.rank, step])
        chosen = draw.choice(len(self._lengths), phase.batch, p=self._chances[phase.balance])
        lengths = self._lengths[chosen]
        within = draw.integers(lengths)
        room = np.maximum(lengths - phase.segment, 0)
        starts = np.clip(within - draw.integers(phase.segment, size=phase.batch), 0, room)
        if self.aligned:
            # to the nearest code, so that the last samples of a recording are used
            starts = (starts + hop // 2) // hop * hop
            starts = np.minimum(starts, (lengths - 1) // hop * hop)
        valid = np.minimum(lengths - starts, phase.segment)
        # rounded up, so that the last samples of a short recording are used
        crop_room = -(np.maximum(valid - phase.crop, 0) // -hop)
        crop = draw.integers(crop_room + 1)
        return Places(chosen, starts, self._speakers[chosen], valid, crop)

    def contours(self, places: Places, segment: int) -> np.ndarray:
        """Return the pitch contours of segments, as a batch has them."""
        if self.pitch is None:
            return np.zeros((len(places.start), 0), np.float32)
        tracks, hop = self.pitch
        rows = zip(places.utterance.tolist(), places.start.tolist(), strict=True)
        return np.stack(
            [tracks.cut(self._indices[i], start, segment // hop, hop) for i, start in rows]
        )


class Segments(Dataset[Batch]):
    """Batches of sound of the training split, by step.

    Parameters
    ----------
    store : PackedStore
        The recordings.
    phases : sequence of Phase
        Shape of the batch at each step.
    hop : int
        Samples per frame; segments and crops are whole frames.
    seed : int
        Seed of all draws.
    rank : int
        Number of this worker.
    speakers : sequence of str, optional
        Names by index in a batch; the store's own by default.
    pitch : tuple of PitchTracks and int, optional
        Contours of the recordings, and samples per frame of a batch's contours.

    Raises
    ------
    CorpusError
        There is no training data, or segment and crop are not whole frames.
    """

    def __init__(
        self,
        store: PackedStore,
        phases: Sequence[Phase],
        hop: int,
        seed: int,
        rank: int = 0,
        speakers: Sequence[str] | None = None,
        pitch: tuple[PitchTracks, int] | None = None,
    ) -> None:
        self.store = store
        names = speakers or store.speakers
        self.plan = _Plan(store, phases, hop, seed, rank, names, pitch, aligned=False)

    def __len__(self) -> int:
        """Return the number of steps of all phases."""
        return sum(phase.steps for phase in self.plan.phases)

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, on the CPU."""
        places, segment = self.plan.places(step), self.plan.phase(step).segment
        pcm = np.zeros((len(places.start), segment), np.int16)
        for row, (place, start, valid) in enumerate(
            zip(places.utterance, places.start, places.valid, strict=True)
        ):
            begin = self.plan.kept[place].offset + start
            pcm[row, :valid] = self.store.audio[begin : begin + valid]
        contour = self.plan.contours(places, segment)
        return Batch(*map(torch.from_numpy, (pcm, *places[2:], contour)))

    def resident(self, device: torch.device) -> "Resident":
        """Return the same batches, gathered on a device."""
        sound = [self.store.audio[u.offset : u.offset + u.samples] for u in self.plan.kept]
        return Resident(self.plan, np.concatenate(sound), 0, None, device)

    @property
    def bytes(self) -> int:
        """Bytes that `resident` takes on the device."""
        return 2 * sum(u.samples for u in self.plan.kept)


class CodedSegments(Dataset[CodedBatch]):
    """Batches of levels and codes of the training split, by step; arguments and errors as for `Segments`."""

    def __init__(
        self,
        corpus: CodedCorpus,
        phases: Sequence[Phase],
        seed: int,
        rank: int = 0,
        speakers: Sequence[str] | None = None,
        pitch: tuple[PitchTracks, int] | None = None,
    ) -> None:
        self.corpus = corpus
        names = speakers or corpus.speakers
        self.plan = _Plan(corpus, phases, corpus.hop, seed, rank, names, pitch, aligned=True)

    def __len__(self) -> int:
        """Return the number of steps of all phases."""
        return sum(phase.steps for phase in self.plan.phases)

    def __getitem__(self, step: int) -> CodedBatch:
        """Return the batch of a step, on the CPU."""
        places, segment, hop = self.plan.places(step), self.plan.phase(step).segment, self.plan.hop
        levels = np.full((len(places.start), segment), self.corpus.quantization // 2, np.uint8)
        codes = np.zeros((len(places.start), segment // hop), np.int64)
        for row, (place, start, valid) in enumerate(
            zip(places.utterance, places.start, places.valid, strict=True)
        ):
            utterance = self.plan.kept[place]
            begin, first = utterance.offset + start, utterance.frame + start // hop
            frames = -(valid // -hop)
            levels[row, :valid] = self.corpus.levels(begin, begin + valid)
            codes[row, :frames] = self.corpus.codes[first : first + frames]
        contour = self.plan.contours(places, segment)
        return CodedBatch(*map(torch.from_numpy, (levels, codes, *places[2:], contour)))

    def resident(self, device: torch.device) -> "Resident":
        """Return the same batches, gathered on a device."""
        kept = self.plan.kept
        levels = [self.corpus.levels(u.offset, u.offset + u.samples) for u in kept]
        codes = [self.corpus.codes[u.frame : u.frame + u.frames] for u in kept]
        return Resident(
            self.plan,
            np.concatenate(levels),
            self.corpus.quantization // 2,
            np.concatenate(codes).astype(np.int16),
            device,
        )

    @property
    def bytes(self) -> int:
        """Bytes that `resident` takes on the device."""
        return sum(u.samples + 2 * u.frames for u in self.plan.kept)


class Resident:
    """The batches of `Segments` or `CodedSegments`, gathered on the device, which has the whole training split.

    `plan` gives the segments of a step; `sound` are int16 samples or uint8 levels of the training utterances, end to
    end, `silence` the value after the end of a recording, `codes` their codes, fewer than 32,768 different ones.
    """

    def __init__(
        self,
        plan: Any,
        sound: np.ndarray,
        silence: int,
        codes: np.ndarray | None,
        device: torch.device,
    ) -> None:
        self.plan, self.silence, self.device = plan, silence, device
        self._sound = torch.from_numpy(sound).to(device)
        self._codes = None if codes is None else torch.from_numpy(codes).to(device)
        samples = np.array([u.samples for u in plan.kept])
        self._offsets = np.cumsum(samples) - samples
        frames = -(samples // -plan.hop)
        self._frames = np.cumsum(frames) - frames

    def __len__(self) -> int:
        """Return the number of steps of all phases."""
        return sum(phase.steps for phase in self.plan.phases)

    def __getitem__(self, step: int) -> Batch | CodedBatch:
        """Return the batch of a step, on the device."""
        places, segment, hop = self.plan.places(step), self.plan.phase(step).segment, self.plan.hop
        begin = self._offsets[places.utterance] + places.start
        first = self._frames[places.utterance] + places.start // hop
        # one copy to the device for all that decides the batch
        start, frame, speaker, valid, crop = self._moved(np.stack([begin, first, *places[2:]]))
        contour = self._moved(self.plan.contours(places, segment))
        sound = _gather(self._sound, start, valid, segment, self.silence)
        if self._codes is None:
            return Batch(sound, speaker, valid, crop, contour)
        frames = torch.div(valid + hop - 1, hop, rounding_mode="floor")
        codes = _gather(self._codes, frame, frames, segment // hop, 0).long()
        return CodedBatch(sound, codes, speaker, valid, crop, contour)

    def _moved(self, array: np.ndarray) -> Tensor:
        """A small array on the device, without waiting for it."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def _gather(flat: Tensor, start: Tensor, valid: Tensor, length: int, filler: int) -> Tensor:
    """Rows of `length` from places of a flat tensor; `filler` from `valid` on."""
    steps = torch.arange(length, device=flat.device)
    places = (start[:, None] + steps).clamp(max=len(flat) - 1)
    return torch.where(steps < valid[:, None], flat[places], filler)
