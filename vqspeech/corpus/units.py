"""What an archive is read by: units, which are plain values, and the utterances that they hold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vqspeech import audio
from vqspeech.corpus.places import is_url, opened
from vqspeech.errors import CorpusError

BYTES_PER_SECOND = 32_000
"""Assumed of files that state no durations: 16-bit sound at 16 kHz."""


@dataclass(frozen=True)
class Unit:
    """What is read at a time.

    Attributes
    ----------
    kind : str
        ``file``, ``span``, ``stored``, ``tar``, ``parquet``, ``shar``, or ``refused``: listed, and not to be read.
    path : str
        Of the file, or of the store's folder.
    id, speaker : str
        Of the utterance; of a container empty.
    seconds : float
        How long it is, as far as that is known without reading it.
    index : int
        Of the utterance in the store, or of the row group.
    start_s : float
        Where a span begins; it is `seconds` long.
    reason : str
        Why it is refused.
    """

    kind: str
    path: str
    id: str = ""
    speaker: str = ""
    seconds: float = 0.0
    index: int = 0
    start_s: float = 0.0
    reason: str = ""


class Sound(NamedTuple):
    """An utterance that can be read.

    Attributes
    ----------
    id, speaker : str
        Its names; speaker empty where unknown.
    path : str
        Where it comes from, for people.
    blocks : callable
        Takes a sample rate and returns an iterator of float32 blocks, (samples,), at that rate; see
        `vqspeech.audio.read_blocks`.
    """

    id: str
    speaker: str
    path: str
    blocks: Callable[[int], Iterator[np.ndarray]]


def blocks_of_file(unit: Unit, sample_rate: int) -> Iterator[np.ndarray]:
    """Read a file, or a span of it, at a rate in Hz: float32 blocks, (samples,)."""
    content = None
    if is_url(unit.path):
        with opened(unit.path) as file:
            content = file.read()
    blocks = audio.read_blocks(unit.path, sample_rate, content=content)
    if unit.kind == "file":
        yield from blocks
        return
    begin = round(unit.start_s * sample_rate)
    end, at = begin + round(unit.seconds * sample_rate), 0
    for block in blocks:
        if len(piece := block[max(0, begin - at) : max(0, end - at)]):
            yield piece
        at += len(block)
        if at >= end:
            return
    raise CorpusError(f"{unit.path}: {at} samples, its cut ends after {end}")


def sound_of_bytes(name: str, speaker: str, path: str, content: bytes) -> Sound:
    """Make an utterance of a sound file's bytes; see `Sound`."""
    return Sound(name, speaker, path, lambda rate: audio.read_blocks(path, rate, content=content))


def seconds_of(text: Any) -> float:
    """Read a duration of a table; 0 where there is none."""
    try:
        return max(0.0, float(text))
    except (TypeError, ValueError):
        return 0.0
