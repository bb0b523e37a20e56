"""Training batches: the data of a step is a pure function of (seed, step, rank) and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vqspeech.corpus.pitchtracks import PitchTracks
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError


class Batch(NamedTuple):
    """Segments of recordings.

    Attributes
    ----------
    pcm : Tensor
        int16, (batch, samples); zeros after the end of a short recording.
    speaker : Tensor
        int64, (batch,): index of the speaker.
    valid : Tensor
        int64, (batch,): samples that are recording.
    crop : Tensor
        int64, (batch,): frame at which the part for the WaveNet starts.
    contour : Tensor
        float32, (batch, condition frames), Hz, 0 where unvoiced: pitch contours; (batch, 0) where there are none.
    """

    pcm: Tensor
    speaker: Tensor
    valid: Tensor
    crop: Tensor
    contour: Tensor


@dataclass(frozen=True)
class Phase:
    """The shape of the batches of a stretch of training.

    Attributes
    ----------
    steps : int
        Number of steps.
    batch : int
        Segments a step and worker.
    segment : int
        Samples of a segment, which the encoder reads.
    crop : int
        Samples of it that the WaveNet learns from; 0 leaves the WaveNet out.
    balance : float
        How far speakers are made equal, in [0, 1]: the chance of one is in proportion to how much there is of them to
        the power of ``1 - balance``. 0 sees every sample equally often, 1 every speaker.
    """

    steps: int
    batch: int
    segment: int
    crop: int
    balance: float = 0.0


class Segments(Dataset[Batch]):
    """Batches of the training split, by step.

    A point is drawn over all samples of the split, those of one speaker being equally likely; the segment is the one
    around it, as far as the recording goes, so that the samples of a long recording are seen equally often, but for its
    two ends.

    Parameters
    ----------
    store : PackedStore
        The recordings.
    phases : sequence of Phase
        What a batch is at each step.
    hop : int
        Samples a frame; segments and crops are whole frames.
    seed : int
        Seed of all draws.
    rank : int
        Number of this worker.
    speakers : sequence of str, optional
        Names by the index that a batch gives them; the store's own without.
    pitch : tuple of PitchTracks and int, optional
        Contours of the store, and samples of a frame of those that a batch gets.
    """

    def __init__(
        self,
        store: PackedStore,
        phases: list[Phase],
        hop: int,
        seed: int,
        rank: int = 0,
        speakers: Sequence[str] | None = None,
        pitch: tuple[PitchTracks, int] | None = None,
    ) -> None:
        self.pitch, self._places = pitch, store.indices("train")
        self.store, self.phases, self.hop, self.seed, self.rank = store, phases, hop, seed, rank
        indices = store.indices("train")
        if len(indices) == 0:
            raise CorpusError("the store has no utterances to train on")
        kept = [store.utterances[i] for i in indices]
        self._offsets = np.array([u.offset for u in kept])
        self._lengths = np.array([u.samples for u in kept])
        index = {name: i for i, name in enumerate(speakers or store.speakers)}
        self._speakers = np.array([index[u.speaker] for u in kept])
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

    def __len__(self) -> int:
        """Return the number of steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def phase(self, step: int) -> Phase:
        """Return the phase that a step belongs to; steps past the end belong to the last one."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1]

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, on the CPU."""
        phase, hop = self.phase(step), self.hop
        draw = np.random.default_rng([self.seed, self.rank, step])
        chosen = draw.choice(len(self._lengths), phase.batch, p=self._chances[phase.balance])
        within = draw.integers(self._lengths[chosen])
        room = np.maximum(self._lengths[chosen] - phase.segment, 0)
        starts = np.clip(within - draw.integers(phase.segment, size=phase.batch), 0, room)
        valid = np.minimum(self._lengths[chosen], phase.segment)
        # rounded up, so that the last samples of a short recording have their turn
        crop_room = -(np.maximum(valid - phase.crop, 0) // -hop)
        crop = draw.integers(crop_room + 1)
        pcm = np.zeros((phase.batch, phase.segment), np.int16)
        for row, (begin, length) in enumerate(
            zip(self._offsets[chosen] + starts, valid, strict=True)
        ):
            pcm[row, :length] = self.store.audio[begin : begin + length]
        return Batch(
            torch.from_numpy(pcm),
            torch.from_numpy(self._speakers[chosen]),
            torch.from_numpy(valid),
            torch.from_numpy(crop),
            torch.from_numpy(self._contours(self._places[chosen], starts, phase.segment)),
        )

    def _contours(self, places: np.ndarray, starts: np.ndarray, segment: int) -> np.ndarray:
        if self.pitch is None:
            return np.zeros((len(places), 0), np.float32)
        tracks, hop = self.pitch
        rows = zip(places.tolist(), starts.tolist(), strict=True)
        return np.stack([tracks.cut(place, start, segment // hop, hop) for place, start in rows])
