"""Whose voice it is: vectors of voices, the centroid of each speaker, cosines to them.

A centroid is the mean of the vectors of a speaker's recordings, each of length 1, itself of length 1
(Wan et al., "Generalized end-to-end loss for speaker verification", 2018).
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import resample

_RATE = 16000
# What is left of a recording without its silences must be this long, else all of it is taken.
_LEAST_S = 0.5

Vector = NDArray[np.float32]


class Voices(Protocol):
    """What makes a vector of a voice."""

    def embed(self, wav: NDArray[np.float32], sample_rate: int) -> Vector | None:
        """Make a vector of length 1 of a recording (samples,); None where there is no sound."""


@dataclass(frozen=True)
class Likeness:
    """A voice beside those of known speakers.

    Attributes
    ----------
    to_target, to_source : float
        Cosine to the centroid of the speaker it should be, and of the one it was made from; nan
        where there is none.
    nearest : str
        Speaker of the nearest centroid; empty where there is no sound.
    """

    to_target: float
    to_source: float
    nearest: str


def centroid(vectors: Sequence[Vector]) -> Vector:
    """Average vectors (dim,) of one speaker, each of length 1, to one of length 1."""
    mean = np.mean(vectors, axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def liken(
    vector: Vector | None, centroids: Mapping[str, Vector], target: str, source: str
) -> Likeness:
    """Hold a voice, from `Voices.embed`, against the centroids of all speakers.

    Speakers without a centroid are allowed; of several that are equally near the first is taken.
    """
    if vector is None or not centroids:
        return Likeness(math.nan, math.nan, "")
    cosines = {name: float(vector @ of) for name, of in centroids.items()}
    return Likeness(
        cosines.get(target, math.nan),
        cosines.get(source, math.nan),
        max(cosines, key=cosines.__getitem__),
    )


class Resemblyzer:
    """The d-vectors of resemblyzer 0.1.4, whose weights come with it; on the CPU.

    Silences are cut as its ``preprocess_wav`` does, except where next to nothing would be left.
    """

    def __init__(self) -> None:
        # It imports what other packages no longer want to be imported.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from resemblyzer import VoiceEncoder, preprocess_wav
        self._encoder = VoiceEncoder("cpu", verbose=False)
        self._prepare = preprocess_wav

    def embed(self, wav: NDArray[np.float32], sample_rate: int) -> Vector | None:
        """Make a vector of a recording (samples,)."""
        sound = resample(wav, sample_rate, _RATE)
        if not sound.any():
            return None
        with warnings.catch_warnings():
            # The same package again, when it averages over no window.
            warnings.simplefilter("ignore")
            speech = self._prepare(sound) if len(sound) >= _LEAST_S * _RATE else sound
            if len(speech) < _LEAST_S * _RATE:
                speech = sound
            vector = self._encoder.embed_utterance(speech)
        return vector if np.isfinite(vector).all() else None
