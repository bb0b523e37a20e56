"""The parallel half of preparing a corpus: reading, trimming and packing recordings, part by part.

A part is done when its description (``.json``) exists; it is written after the samples, atomically.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech import audio
from vqspeech.audio.reader import FAR_BEYOND
from vqspeech.corpus.manifest import Extent
from vqspeech.errors import AudioError, CorpusError, VqspeechError
from vqspeech.jobs.atomic import write_file
from vqspeech.jobs.workers import map_unordered, serve

MARGIN_S = 0.1

BURST_DB = 20.0
SPOKEN_S = 0.2

_UNSCALED = "integers stored as floats? divide them by 32768"

_FRAME_S, _HOP_S = 0.025, 0.005


@dataclass(frozen=True)
class Part:
    """One task of a worker.

    Attributes
    ----------
    path : Path
        Its sound file; the description beside it ends in ``.json``.
    sources : tuple of Path and Extent or None
        Recordings, in order: a sound file, or what names the recording and where in a tar it is.
    sample_rate : int
        Of the result, Hz.
    top_db : float or None
        Edges this much below the loudest moment are trimmed; None keeps everything.
    in_place : bool
        Whether the samples are described and not written.
    """

    path: Path
    sources: tuple[tuple[Path, Extent | None], ...]
    sample_rate: int
    top_db: float | None
    in_place: bool = False


def trim(wav: np.ndarray, sample_rate: int, top_db: float) -> tuple[int, int]:
    """Return the first sample and the end of a recording without silence at its edges; (0, 0) if every sample is zero.

    Silence is `top_db` below the loudest 25 ms; a margin of `MARGIN_S` stays. Where the loudest is a burst, `BURST_DB`
    above the level reached for `SPOKEN_S` in all, that level counts instead: a thump would turn the speech into
    silence.
    """
    frame, hop = max(1, round(_FRAME_S * sample_rate)), max(1, round(_HOP_S * sample_rate))
    power, starts, ends = _powers(wav, frame, hop)
    loudest = power.max()
    if loudest <= 0:
        return 0, 0
    lasting = _lasting(power)
    if lasting < loudest * 10 ** (-BURST_DB / 10):
        loudest = lasting
    loud = np.flatnonzero(power > loudest * 10 ** (-top_db / 10))
    margin = round(MARGIN_S * sample_rate)
    first, last = int(starts[loud[0]]) - margin, int(ends[loud[-1]]) + margin
    return max(0, first), min(len(wav), last)


def _powers(wav: np.ndarray, frame: int, hop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the energy of each frame, its start and its end."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(wav, dtype=np.float64))])
    starts = np.arange(0, max(len(wav) - frame, 0) + hop, hop)
    ends = np.minimum(starts + frame, len(wav))
    return energy[ends] - energy[np.minimum(starts, len(wav))], starts, ends


def _lasting(power: np.ndarray) -> float:
    """Return the power reached for `SPOKEN_S` in all, or for half of a shorter recording."""
    count = min(round(SPOKEN_S / _HOP_S), max(1, len(power) // 2))
    return float(np.partition(power, len(power) - count)[len(power) - count])


def _cut_away(wav: np.ndarray, start: int, end: int, sample_rate: int) -> str:
    """Return a warning if the trimmed edges are more than noise: well above their floor for long enough."""
    frame, hop = max(1, round(_FRAME_S * sample_rate)), max(1, round(_HOP_S * sample_rate))
    for name, edge in (("before", wav[:start]), ("after", wav[end:])):
        power, _, _ = _powers(edge, frame, hop)
        floor = float(np.quantile(power, 0.1))
        if len(edge) > sample_rate and _lasting(power) > 10 ** (BURST_DB / 10) * floor > 0:
            return f"{len(edge) / sample_rate:.1f} s {name} the loud part were trimmed and may hold quiet speech"
    return ""


def pack(part: Part) -> int:
    """Read, trim and pack the recordings of one part, write its two files, and return the number of recordings read."""
    # Named by process: an orphaned worker may still write the part that a new run starts.
    temporary = part.path.with_suffix(f".partial-{os.getpid()}")
    found: list[dict[str, Any]] = []
    with temporary.open("wb") as file:
        for source, extent in part.sources:
            headers: list[audio.AudioInfo] = []
            try:
                with audio.warnings_kept() as warnings:
                    content = None if extent is None else extent.read()
                    blocks = audio.read_blocks(
                        source, part.sample_rate, opened=headers.append, content=content
                    )
                    wav = np.concatenate(list(blocks))
            except (AudioError, CorpusError) as error:
                found.append({"reason": str(error).removeprefix(f"{source}: ")})
                continue
            start, end = (0, len(wav))
            if part.top_db is not None:
                start, end = trim(wav, part.sample_rate, part.top_db)
                warnings += filter(None, [_cut_away(wav, start, end, part.sample_rate)])
            if (peak := float(np.abs(wav).max())) > FAR_BEYOND:
                found.append({"reason": f"values up to {peak:.3g}, far beyond 1: {_UNSCALED}"})
                continue
            if end == start:
                found.append({"reason": "nothing but silence"})
                continue
            samples = audio.to_int16(wav[start:end]).astype("<i2").tobytes()
            if not part.in_place:
                file.write(samples)
            rate = headers[0].sample_rate
            row = {"rate": rate, "samples": end - start, "start": start, "warnings": warnings}
            found.append(row | {"sha256": hashlib.sha256(samples).hexdigest()})
    temporary.replace(part.path)
    text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
    write_file(part.path.with_suffix(".json"), text)
    return len(found)


def pack_all(parts: Sequence[Part], workers: int) -> Iterator[int]:
    """Pack parts in several processes (0 or 1: in this one); yield the number of recordings of each part, in any order.

    Raises `CorpusError` if a worker dies, `OSError` if the parts cannot be written.
    """
    if workers <= 1:
        level = logging.getLogger("vqspeech").level
        _quiet()
        try:
            yield from map(pack, parts)
        finally:
            logging.getLogger("vqspeech").setLevel(level)
        return
    tasks = [
        [
            str(part.path),
            [
                [str(path), extent and [str(extent.file), *extent[1:]]]
                for path, extent in part.sources
            ],
            part.sample_rate,
            part.top_db,
            part.in_place,
        ]
        for part in parts
    ]
    try:
        for _, (count, errno, reason) in map_unordered(__name__, tasks, workers):
            if errno is not None:
                raise OSError(errno, reason)
            yield count
    except VqspeechError as error:
        raise CorpusError(str(error)) from None


def _pack_task(task: Any) -> tuple[int, int | None, str | None]:
    """Pack a part; return its number of recordings, or why it could not be written."""
    path, listed, *settings = task
    sources = tuple(
        (Path(source), extent and Extent(Path(extent[0]), *extent[1:])) for source, extent in listed
    )
    try:
        return pack(Part(Path(path), sources, *settings)), None, None
    except OSError as error:
        return 0, error.errno, error.strerror


def _quiet() -> None:
    """Suppress warnings about single files: a corpus has thousands of them, all alike."""
    logging.getLogger("vqspeech").setLevel(logging.ERROR)


if __name__ == "__main__":
    _quiet()
    serve(_pack_task)
