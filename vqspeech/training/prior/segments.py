"""Training batches of codes: the data of a step is a pure function of (seed, step, rank)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vqspeech.errors import CorpusError
from vqspeech.training.data.codestore import CodeStore


class CodeBatch(NamedTuple):
    """Segments of code sequences.

    Attributes
    ----------
    codes : Tensor
        int64, (batch, frames); 0 after the end of a short sequence.
    before : Tensor
        int64, (batch,): the code before the segment; the codebook's size at the start of a sequence.
    speaker : Tensor
        int64, (batch,): index of the speaker.
    valid : Tensor
        int64, (batch,): frames inside the sequence.
    """

    codes: Tensor
    before: Tensor
    speaker: Tensor
    valid: Tensor


class CodeSegments(Dataset[CodeBatch]):
    """Batches of the training split, shifted sequences included, by step.

    A point is drawn uniformly over all codes of the split; the segment is the one around it, within the sequence.

    Parameters
    ----------
    store : CodeStore
        The codes.
    steps : int
        Number of steps.
    batch : int
        Segments per step and worker.
    segment : int
        Frames per segment.
    seed : int
        Seed of all draws.
    rank : int
        Number of this worker.

    Raises
    ------
    CorpusError
        There is no training data.
    """

    def __init__(
        self, store: CodeStore, steps: int, batch: int, segment: int, seed: int, rank: int = 0
    ) -> None:
        self.store, self.steps, self.batch, self.segment = store, steps, batch, segment
        self.seed, self.rank = seed, rank
        kept = [s for s in store.sequences if s.split == "train"]
        if not kept:
            raise CorpusError(f"{store.path}: no codes to train on")
        self._offsets = np.array([s.offset for s in kept])
        self._frames = np.array([s.frames for s in kept])
        index = {name: i for i, name in enumerate(store.speakers)}
        self._speakers = np.array([index[s.speaker] for s in kept])
        self._ends = np.cumsum(self._frames)

    def __len__(self) -> int:
        """Return the number of steps."""
        return self.steps

    def __getitem__(self, step: int) -> CodeBatch:
        """Return the batch of a step, on the CPU."""
        draw = np.random.default_rng([self.seed, self.rank, step])
        points = draw.integers(self._ends[-1], size=self.batch)
        chosen = np.searchsorted(self._ends, points, side="right")
        frames = self._frames[chosen]
        within = points - (self._ends[chosen] - frames)
        room = np.maximum(frames - self.segment, 0)
        starts = np.clip(within - draw.integers(self.segment, size=self.batch), 0, room)
        valid = np.minimum(frames, self.segment)
        codes = np.zeros((self.batch, self.segment), np.int64)
        before = np.full(self.batch, self.store.codebook_size)
        for row, (offset, start, length) in enumerate(
            zip(self._offsets[chosen], starts, valid, strict=True)
        ):
            first = offset + start
            codes[row, :length] = self.store.codes[first : first + length]
            if start:
                before[row] = self.store.codes[first - 1]
        arrays: Sequence[np.ndarray] = (codes, before, self._speakers[chosen], valid)
        return CodeBatch(*map(torch.from_numpy, arrays))
