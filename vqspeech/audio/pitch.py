"""Pitch contours: tracking F0 in a recording, cleaning a contour, and moving it to another voice.

A contour is float32, (frames,), Hz, one value per `FRAME_S`, 0 where the frame is unvoiced; frame i covers
[i * FRAME_S, (i + 1) * FRAME_S). The tracker is SwiftF0 (Nieradzik 2025, arXiv 2508.18440), a small convolutional
network with a bounded receptive field, so that blocks of a recording give the contour of the whole.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.errors import VqspeechError

FRAMES_PER_S = 200
"""Frames of a contour per second."""

FRAME_S = 1 / FRAMES_PER_S
"""Seconds per frame of a contour."""

F0_RANGE_HZ = (60.0, 400.0)
"""Search range of the tracker, Hz."""

TRACKER = "swift-f0"
"""Name of the tracker, kept beside tracks."""

_RATE, _HOP, _LEFT, _RIGHT = 16_000, 256, 11, 10
# Frames tracked at a time; with context no more than the tracker itself takes at once.
_WINDOW = 1_500
_LEAST_VOICED_S = 0.1
_SHORTEST_RUN, _LONGEST_GAP, _SMOOTHED = 4, 6, 5
# Bound on the ratio of deviations: few voiced frames give a poor estimate of it.
_MOST_STRETCHED = 2.0


class Voice(NamedTuple):
    """Mean and deviation of the base-2 logarithm of F0 in Hz over a speaker's voiced frames."""

    mean: float
    deviation: float


class Tracker:
    """Tracks F0 in a recording that arrives in pieces; the contour does not depend on the pieces."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._resampler = None
        if sample_rate != _RATE:
            import soxr

            self._resampler = soxr.ResampleStream(sample_rate, _RATE, 1, dtype="float32")
        self._held, self._lead, self._samples = np.zeros(0, np.float32), 0, 0
        self._pitch: list[NDArray[np.float64]] = []
        self._confidence: list[NDArray[np.float64]] = []

    def add(self, piece: ArrayLike) -> None:
        """Add the next piece: float, (samples,), finite."""
        new = np.ascontiguousarray(piece, dtype=np.float32)
        self._samples += len(new)
        self._take(new if self._resampler is None else self._resampler.resample_chunk(new))

    def finish(self) -> NDArray[np.float32]:
        """Return the contour of all that was added, ceil(seconds / FRAME_S) frames."""
        if self._resampler is not None:
            self._take(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        frames = frames_of(self._samples, self.sample_rate)
        if len(self._held):
            self._track(self._held, None)
            self._held = self._held[:0]
        if not self._pitch:
            return np.zeros(frames, np.float32)
        pitch, confidence = np.concatenate(self._pitch), np.concatenate(self._confidence)
        times = np.arange(len(pitch)) * (_HOP / _RATE)
        centres = (np.arange(frames) + 0.5) * FRAME_S
        sure = confidence >= 0.5
        if not sure.any():
            return np.zeros(frames, np.float32)
        voiced = np.interp(centres, times, confidence) >= 0.5
        log_f0 = np.interp(centres, times[sure], np.log2(pitch[sure]))
        return np.where(voiced, np.exp2(log_f0), 0).astype(np.float32)

    def _take(self, new: NDArray[np.float32]) -> None:
        self._held = np.concatenate([self._held, new])
        while len(self._held) >= (self._lead + _WINDOW + _RIGHT) * _HOP:
            self._track(self._held[: (self._lead + _WINDOW + _RIGHT) * _HOP], _WINDOW)
            self._held = self._held[(self._lead + _WINDOW - _LEFT) * _HOP :]
            self._lead = _LEFT

    def _track(self, wav: NDArray[np.float32], frames: int | None) -> None:
        found = _detector().detect(wav, _RATE, *F0_RANGE_HZ)
        stop = None if frames is None else self._lead + frames
        self._pitch.append(found.pitch_hz[self._lead : stop])
        self._confidence.append(found.confidence[self._lead : stop])


@cache
def _detector() -> Any:
    # shared by all threads; onnxruntime is slow to import
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)


def track(wav: ArrayLike, sample_rate: int) -> NDArray[np.float32]:
    """Track F0 in a recording.

    Parameters
    ----------
    wav : array
        Float, (samples,), in [-1, 1].
    sample_rate : int
        Hz.

    Returns
    -------
    ndarray of float32, shape (frames,)
        F0 in Hz per `FRAME_S`, 0 where unvoiced.

    Raises
    ------
    VqspeechError
        `wav` is not one-dimensional and finite.
    """
    sound = np.asarray(wav, dtype=np.float32)
    if sound.ndim != 1 or not np.isfinite(sound).all():
        raise VqspeechError(f"pitch is tracked in finite samples, (samples,); found {sound.shape}")
    tracker = Tracker(sample_rate)
    tracker.add(sound)
    return tracker.finish()


def frames_of(samples: int, sample_rate: int) -> int:
    """Frames of the contour of a recording: those that have begun when it ends."""
    return -(-samples * FRAMES_PER_S // sample_rate)


def look_up(
    contour: NDArray[np.float32], start: int, frames: int, hop: int, sample_rate: int
) -> NDArray[np.float32]:
    """Sample a contour at frames of another length.

    Parameters
    ----------
    contour : ndarray of float32
        One value per `FRAME_S`.
    start : int
        First sample of the first frame.
    frames, hop : int
        Number of frames, and samples per frame.
    sample_rate : int
        Hz.

    Returns
    -------
    ndarray of float32, shape (frames,)
        F0 at the centre of each frame; 0 beyond the end of the contour.
    """
    # integers: a centre may lie on the edge of two values, and then the later one counts
    places = (2 * start + (2 * np.arange(frames) + 1) * hop) * FRAMES_PER_S // (2 * sample_rate)
    inside = places < len(contour)
    found = np.zeros(frames, np.float32)
    found[inside] = contour[places[inside]]
    return found


def voice_of(contours: Iterable[NDArray[np.float32]]) -> Voice | None:
    """Mean and deviation of log-F0; None with less than 0.1 s of voiced frames.

    Values more than an octave from the median are left out: trackers err by octaves.
    """
    voiced = [np.log2(contour[contour > 0], dtype=np.float64) for contour in contours]
    values = np.concatenate(voiced) if voiced else np.zeros(0)
    if len(values) * FRAME_S < _LEAST_VOICED_S:
        return None
    values = values[np.abs(values - np.median(values)) < 1]
    return Voice(float(values.mean()), float(values.std()))


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def smooth(contour: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bridge gaps of up to 30 ms within voiced speech, drop shorter voiced runs, smooth the rest over 25 ms."""
    voiced = contour > 0
    for start, stop in _runs(~voiced):
        if start > 0 and stop < len(contour) and stop - start <= _LONGEST_GAP:
            voiced[start:stop] = True
    known = np.flatnonzero(contour > 0)
    result = np.zeros_like(contour)
    for start, stop in _runs(voiced):
        if stop - start < _SHORTEST_RUN:
            continue
        log_f0 = np.interp(np.arange(start, stop), known, np.log2(contour[known]))
        padded = np.pad(log_f0, _SMOOTHED // 2, mode="edge")
        mean = np.convolve(padded, np.full(_SMOOTHED, 1 / _SMOOTHED), "valid")
        result[start:stop] = np.exp2(mean)
    return result


def move(
    contour: NDArray[np.float32], target: Voice, semitones: float = 0.0
) -> NDArray[np.float32]:
    """Map a contour to the mean and deviation of a voice, then shift it by an interval.

    Parameters
    ----------
    contour : ndarray of float32, shape (frames,)
        The source's, from `smooth`.
    target : Voice
        Target mean and deviation.
    semitones : float
        Shift in addition.

    Returns
    -------
    ndarray of float32, shape (frames,)
        Voiced where `contour` is. With too few voiced frames for a deviation: the target's mean.
    """
    moved = np.zeros_like(contour)
    voiced = contour > 0
    own = voice_of([contour])
    level = np.full(int(voiced.sum()), target.mean)
    if own is not None:
        stretch = target.deviation / max(own.deviation, 1e-3)
        stretch = float(np.clip(stretch, 1 / _MOST_STRETCHED, _MOST_STRETCHED))
        level = target.mean + (np.log2(contour[voiced]) - own.mean) * stretch
    moved[voiced] = np.exp2(level + semitones / 12)
    return moved
