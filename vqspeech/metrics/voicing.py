"""Regularity of voicing: its strength, jitter and harmonics-to-noise ratio; and the correlation of two contours.

Voicing is the autocorrelation of 50 ms under a Hann window over that of the window (Boersma 1993, Accurate short-term
analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound): 1 for a periodic frame,
about 0.3 in noise. Periods are followed by cross-correlation. No pitch tracker is involved.
"""

from itertools import pairwise
from math import nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.pitch import F0_RANGE_HZ

VOICED = 0.45
"""Peak of the autocorrelation above which a frame counts as voiced, as in Praat."""

_WINDOW_S, _STEP_S = 0.05, 0.01
_AUDIBLE_DB = 40.0
# Of two lags with similar peaks the shorter is the period.
_OCTAVE_COST = 0.01
_LARGEST_R = 1 - 1e-6
_LEAST_PERIODS, _LEAST_FRAMES = 10, 20
# Two periods that differ by more are not consecutive.
_MOST_APART = 1.3


class Voicing(NamedTuple):
    """Regularity of the voice in a recording.

    Attributes
    ----------
    strength : float
        Mean over audible frames of the peak of the autocorrelation, counted as 0 below `VOICED`; nan where nothing is
        audible.
    jitter : float
        Mean difference of consecutive periods over the mean period; nan with fewer than 10 of them. Since resonances
        carry over from one period to the next, some 70 % of the jitter of independent periods is found.
    hnr_db : float
        Mean over voiced frames of the harmonics-to-noise ratio ``10 log10(r / (1 - r))``; nan without any.
    """

    strength: float
    jitter: float
    hnr_db: float


def measure_voicing(wav: NDArray[np.float32], sample_rate: int) -> Voicing:
    """Measure the regularity of a voice.

    Parameters
    ----------
    wav : ndarray of float32, shape (samples,)
        Sound in [-1, 1], finite.
    sample_rate : int
        Hz.

    Returns
    -------
    Voicing
        All nan for less sound than one window of 50 ms, and for silence.
    """
    window, step = round(_WINDOW_S * sample_rate), round(_STEP_S * sample_rate)
    sound = np.asarray(wav, dtype=np.float64)
    if len(sound) < window or not np.ptp(sound):
        return Voicing(nan, nan, nan)
    frames = np.lib.stride_tricks.sliding_window_view(sound, window)[::step]
    frames = frames - frames.mean(1, keepdims=True)
    level = np.sqrt(np.square(frames).mean(1))
    audible = level > level.max() * 10 ** (-_AUDIBLE_DB / 20)
    peak, lag = _peaks(frames, sample_rate)
    voiced = audible & (peak > VOICED)
    strength = float(np.where(voiced, peak, 0)[audible].mean())
    ratio = np.minimum(peak[voiced], _LARGEST_R)
    hnr_db = float((10 * np.log10(ratio / (1 - ratio))).mean()) if voiced.any() else nan
    return Voicing(strength, _jitter(sound, voiced, lag, window, step), hnr_db)


def _peaks(
    frames: NDArray[np.float64], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Height and lag in samples of the highest peak of the autocorrelation of each frame."""
    count, window = frames.shape
    # without its ends, where it is 0
    hann = np.hanning(window + 2)[1:-1]
    length = 2 * window
    shortest, longest = (round(sample_rate / f0) for f0 in reversed(F0_RANGE_HZ))

    def correlated(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        spectrum = np.abs(np.fft.rfft(rows, length)) ** 2
        found = np.fft.irfft(spectrum, length)[..., : longest + 2]
        return np.asarray(found / np.maximum(found[..., :1], 1e-20))

    found = correlated(frames * hann) / correlated(hann[None])
    lags = np.arange(shortest, longest + 1)
    inner = found[:, lags]
    cost = _OCTAVE_COST * np.log2(lags / shortest)
    top = (inner >= found[:, lags - 1]) & (inner >= found[:, lags + 1])
    best = np.where(top, inner - cost, -1).argmax(1) + shortest
    rows = np.arange(count)
    before, here, after = (found[rows, best + side] for side in (-1, 0, 1))
    bend = np.minimum(before - 2 * here + after, -1e-12)
    offset = np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    height = np.where(top.any(1), here - 0.25 * (before - after) * offset, 0)
    return np.clip(height, 0, 1), best + offset


def _jitter(
    sound: NDArray[np.float64],
    voiced: NDArray[np.bool_],
    lag: NDArray[np.float64],
    window: int,
    step: int,
) -> float:
    """Mean difference of consecutive periods, each found by cross-correlation, over the mean period."""
    differences: list[float] = []
    periods: list[float] = []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(int), [0]])))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        place, end = first * step + window // 2, (last - 1) * step + window // 2
        # centred on a period's loudest sample; between two it would be a mean of both
        place += int(np.abs(sound[place : place + round(lag[first])]).argmax())
        run: list[float] = []
        while place < end:
            expected = float(lag[min(last - 1, max(first, (place - window // 2) // step))])
            period = _next_period(sound, place, expected)
            if period is None:
                break
            run.append(period)
            place += round(period)
        periods += run
        differences += [abs(a - b) for a, b in pairwise(run) if max(a, b) < _MOST_APART * min(a, b)]
    if len(differences) < _LEAST_PERIODS:
        return nan
    return float(np.mean(differences) / np.mean(periods))


def _next_period(sound: NDArray[np.float64], place: int, expected: float) -> float | None:
    """Samples until the waveform around `place` recurs, between 0.8 and 1.25 of the expected period."""
    half = max(2, round(expected / 2))
    shortest, longest = round(0.8 * expected), round(1.25 * expected)
    begin, end = place - half, place + half
    if begin < 0 or end + longest + 1 > len(sound):
        return None
    now = sound[begin:end]
    later = sound[begin + shortest - 1 : end + longest + 1]
    energy = np.convolve(np.square(later), np.ones(len(now)), "valid")
    found = np.correlate(later, now, "valid") / np.sqrt(np.maximum(energy, 1e-20))
    best = int(found[1:-1].argmax()) + 1
    before, here, after = found[best - 1 : best + 2]
    bend = before - 2 * here + after
    offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return shortest - 1 + best + float(np.clip(offset, -0.5, 0.5))


def f0_correlation(contour: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlation of log-F0 of two contours over frames that are voiced in both.

    Parameters
    ----------
    contour, other : ndarray of float32
        From `vqspeech.audio.pitch.track`, of two parallel recordings; the longer one is cut.

    Returns
    -------
    float
        In [-1, 1]; nan with less than 0.1 s voiced in both, or where one of them is constant.
    """
    frames = min(len(contour), len(other))
    one, two = contour[:frames], other[:frames]
    both = (one > 0) & (two > 0)
    if both.sum() < _LEAST_FRAMES:
        return nan
    one, two = np.log2(one[both], dtype=np.float64), np.log2(two[both], dtype=np.float64)
    if not (one.std() > 1e-9 and two.std() > 1e-9):
        return nan
    return float(np.corrcoef(one, two)[0, 1])
