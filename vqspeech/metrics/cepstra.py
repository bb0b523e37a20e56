"""Mel-cepstral distortion: distance of the spectral envelopes of two readings of a sentence, in dB.

Cepstra are those of log mel spectra (80 bands up to half the sample rate, Hann windows of 25 ms every 10 ms), not of
SPTK's mel-generalised analysis: compare values with each other, not with papers. c0, the level, is left out. So are
frames more than 40 dB below the loudest of their recording: pauses differ between readers.
"""

import math

import numpy as np
from numpy.typing import NDArray

from vqspeech.errors import VqspeechError

CEPSTRA = 24
"""Number of cepstra: c1 to c24."""

_BANDS = 80
_WINDOW_S, _STEP_S = 0.025, 0.01
_AUDIBLE_DB = 40.0
# Keeps the logarithm of digital silence finite; 100 dB below full scale.
_FLOOR = 1e-10


def mel_cepstra(wav: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    r"""Compute mel cepstra of the audible frames of a recording.

    With :math:`|X_m|` the amplitude in band m of M, :math:`c_k = \frac{2}{M} \sum_m \ln|X_m|
    \cos(\pi k (m + 1/2) / M)`, so that :math:`\ln|X| = c_0/2 + \sum_k c_k \cos k\omega`.

    Parameters
    ----------
    wav : ndarray of float32, shape (samples,)
        Sound in [-1, 1].
    sample_rate : int
        Hz.

    Returns
    -------
    ndarray of float64, shape (frames, 24)
        c1 to c24 every 10 ms where the sound is within 40 dB of its loudest; no frames for silence.

    Raises
    ------
    VqspeechError
        When `wav` is not one-dimensional and finite.
    """
    import librosa

    sound = np.asarray(wav, np.float32)
    if sound.ndim != 1 or not np.isfinite(sound).all():
        raise VqspeechError("cepstra are taken of finite samples of shape (samples,)")
    window = round(_WINDOW_S * sample_rate)
    if not sound.any():
        return np.empty((0, CEPSTRA))
    power = librosa.feature.melspectrogram(
        y=sound,
        sr=sample_rate,
        n_fft=1 << (window - 1).bit_length(),
        win_length=window,
        hop_length=round(_STEP_S * sample_rate),
        n_mels=_BANDS,
        norm=None,
    ).T.astype(np.float64)
    level = power.sum(axis=1)
    audible = level > level.max() * 10 ** (-_AUDIBLE_DB / 10)
    amplitude = 0.5 * np.log(np.maximum(power[audible], _FLOOR))
    angles = np.arange(1, CEPSTRA + 1) * math.pi * (np.arange(_BANDS)[:, None] + 0.5) / _BANDS
    return amplitude @ (np.cos(angles) * 2 / _BANDS)


def mel_cepstral_distortion(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    r"""Mean distance of two sequences of cepstra along the path that warps one onto the other.

    Of two frames it is :math:`\frac{10}{\ln 10} \sqrt{2 \sum_{k \ge 1} (c_k - c'_k)^2}` (Kubichek, "Mel-cepstral
    distance measure for objective speech quality assessment", IEEE PACRIM 1993): the root mean square difference of the
    log envelopes, in dB.

    Parameters
    ----------
    first, second : ndarray of float64, shape (frames, cepstra)
        From `mel_cepstra`; the lengths may differ.

    Returns
    -------
    float
        dB; 0 for equal sequences, nan when one has no frames.

    Raises
    ------
    VqspeechError
        When the numbers of cepstra differ.
    """
    if first.shape[1:] != second.shape[1:]:
        raise VqspeechError(f"cepstra of shapes {first.shape} and {second.shape} do not compare")
    if not len(first) or not len(second):
        return math.nan
    from vqspeech.metrics.dtw import warped_distances

    squares = ((first[:, None] - second[None]) ** 2).sum(axis=-1)
    cost = 10 / math.log(10) * np.sqrt(2 * squares)
    return float(
        warped_distances(cost, np.array([0, len(first)]), np.array([0, len(second)]))[0, 0]
    )
