"""The sound of a store that was prepared in place: read from its recordings when it is asked for."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np

from vqspeech import audio
from vqspeech.audio.reader import SoundReader
from vqspeech.corpus.manifest import Original
from vqspeech.errors import AudioError, CorpusError

KEPT = 32
"""Recordings that each process keeps in memory, the last ones read."""

BLOCK_S = 10.0
"""Seconds of a file decoded at a time."""


class SoundInPlace:
    """All utterances of a store end to end, int16, as `PackedStore.audio` has them: slices are read, nothing is kept.

    A slice raises `CorpusError` where a recording cannot be read or is not the one that was prepared.
    """

    def __init__(
        self, originals: Sequence[Original], samples: Sequence[int], sample_rate: int
    ) -> None:
        self._originals, self._sample_rate = originals, sample_rate
        self._bounds = [0, *accumulate(samples)]

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._bounds[-1]

    def __getitem__(self, span: slice) -> np.ndarray:
        """Return samples of a span with a step of 1, read-only."""
        begin, end, _ = span.indices(len(self))
        found = []
        place = bisect_right(self._bounds, begin) - 1
        while begin < end:
            first, last = self._bounds[place : place + 2]
            wav = _read(self._originals[place], self._sample_rate, last - first)
            found.append(wav[begin - first : end - first])
            begin, place = last, place + 1
        return found[0] if len(found) == 1 else np.concatenate([np.zeros(0, np.int16), *found])


@lru_cache(maxsize=KEPT)
def _read(of: Original, sample_rate: int, samples: int) -> np.ndarray:
    """Read what was kept of a recording when the store was prepared."""
    try:
        # what there was to warn of, preparing has listed
        content = None if of.extent is None else of.extent.read()
        with SoundReader(of.path, lambda _: None, content) as reader:
            wav = np.concatenate(list(reader.blocks(sample_rate, BLOCK_S)))
    except AudioError as error:
        raise CorpusError(f"{error}; it was whole when the store was prepared") from None
    found = audio.to_int16(wav[of.start : of.start + samples]).astype("<i2")
    if not hashlib.sha256(found.tobytes()).hexdigest().startswith(of.digest):
        raise CorpusError(f"{of.path}: changed since the store was prepared; prepare it again")
    found.flags.writeable = False
    return found
