"""Figures of single recordings, and of many recordings together with 95 % intervals.

What was not measured is nan. Intervals are bootstraps over recordings with a fixed seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.pitch import Voice, voice_of
from vqspeech.evaluation.judges import Heard
from vqspeech.evaluation.voices import Vector, liken
from vqspeech.evaluation.words import WordErrors, word_errors
from vqspeech.metrics.bootstrap import Interval95, interval_95, resampled_ratios
from vqspeech.metrics.cepstra import mel_cepstral_distortion
from vqspeech.metrics.pitch import semitones
from vqspeech.metrics.voicing import f0_correlation


@dataclass(frozen=True)
class Figures:
    """What one recording scored.

    Attributes
    ----------
    to_target, to_source : float
        Cosines to the centroids of the target and of the source.
    nearest : str
        Speaker of the nearest centroid; empty for none.
    hit : float
        1 where that is the target, else 0; nan where the target has no centroid.
    transcript : str or None
        What the recogniser heard.
    edits, words : int
        Errors in it, and words of the text; both 0 without a text.
    f0_hz, unvoiced : float
        Median F0, and the share of audible frames that are unvoiced.
    semitones : float
        From the target's median F0.
    overall, signal, background : float
        DNSMOS.
    mcd_db : float
        Mel-cepstral distortion to a reading of the same sentence.
    strength, jitter, hnr_db : float
        See `Voicing`.
    f0_correlation : float
        Of log-F0 with the source's, frame by frame.
    spread : float
        Deviation of log-F0 less the target's, in semitones.
    """

    to_target: float = nan
    to_source: float = nan
    nearest: str = ""
    hit: float = nan
    transcript: str | None = None
    edits: int = 0
    words: int = 0
    f0_hz: float = nan
    unvoiced: float = nan
    semitones: float = nan
    overall: float = nan
    signal: float = nan
    background: float = nan
    mcd_db: float = nan
    strength: float = nan
    jitter: float = nan
    hnr_db: float = nan
    f0_correlation: float = nan
    spread: float = nan


@dataclass(frozen=True)
class Summary:
    """What several recordings scored; means unless said otherwise.

    Attributes
    ----------
    recordings : int
        How many.
    to_target, to_source : float
        Cosines.
    nearest_is_target, nearest_interval
        How often the target has the nearest centroid, and its interval.
    word_error, word_error_interval, words
        Edits over words of the texts, all recordings together; its interval; the words.
    f0_hz : float
        Median over the recordings that have a pitch.
    semitones : float
        Median over them of the distance to the target's median, either way.
    pitched : int
        Recordings that have a pitch.
    unvoiced, overall, signal, background, mcd_db, strength, jitter, hnr_db, f0_correlation : float
        As in `Figures`.
    spread : float
        Median of its distance from 0.
    """

    recordings: int
    to_target: float
    to_source: float
    nearest_is_target: float
    nearest_interval: Interval95
    word_error: float
    word_error_interval: Interval95
    words: int
    f0_hz: float
    semitones: float
    pitched: int
    unvoiced: float
    overall: float
    signal: float
    background: float
    mcd_db: float
    strength: float
    jitter: float
    hnr_db: float
    f0_correlation: float
    spread: float


def figures_of(
    heard: Heard,
    *,
    target: str,
    source: str,
    centroids: Mapping[str, Vector],
    text: str = "",
    target_f0_hz: float = nan,
    reference: NDArray[np.float64] | None = None,
    target_voice: Voice | None = None,
    followed: NDArray[np.float32] | None = None,
) -> Figures:
    """Hold what was heard against what should have been; nan for what a judge left out.

    Parameters
    ----------
    heard : Heard
        From `listen`.
    target, source : str
        Whose voice it should be, and whose it was.
    centroids : mapping of str to ndarray
        Of the voices of speakers.
    text : str
        What was said; may be empty.
    target_f0_hz, target_voice : float, Voice
        The target's median F0, and mean and deviation of its log-F0.
    reference : ndarray of float64, shape (frames, cepstra), optional
        Cepstra of a reading of the same sentence.
    followed : ndarray of float32, optional
        Contour of the source, where the recording runs along with it.
    """
    like = liken(heard.vector, centroids, target, source)
    known = text and heard.transcript is not None
    errors = word_errors(text, heard.transcript or "") if known else WordErrors(0, 0)
    f0_hz, unvoiced = heard.pitch or (nan, nan)
    overall, signal, background = heard.opinion or (nan, nan, nan)
    mcd_db = nan
    if reference is not None and heard.cepstra is not None:
        mcd_db = mel_cepstral_distortion(heard.cepstra, reference)
    strength, jitter, hnr_db = heard.voicing or (nan, nan, nan)
    correlation = spread = nan
    if heard.contour is not None:
        if followed is not None:
            correlation = f0_correlation(heard.contour, followed)
        own = voice_of([heard.contour])
        if own is not None and target_voice is not None:
            spread = 12 * (own.deviation - target_voice.deviation)
    return Figures(
        to_target=like.to_target,
        to_source=like.to_source,
        nearest=like.nearest,
        # Silence has no voice, and so not the target's.
        hit=float(like.nearest == target) if target in centroids else nan,
        transcript=heard.transcript,
        edits=errors.edits,
        words=errors.words,
        f0_hz=f0_hz,
        unvoiced=unvoiced,
        semitones=semitones(f0_hz, target_f0_hz),
        overall=overall,
        signal=signal,
        background=background,
        mcd_db=mcd_db,
        strength=strength,
        jitter=jitter,
        hnr_db=hnr_db,
        f0_correlation=correlation,
        spread=spread,
    )


def summarise(found: Sequence[Figures], seed: int = 0) -> Summary:
    """Put the figures of several recordings, or none, together; `seed` is of the bootstraps."""
    hits = [of.hit for of in found if not isnan(of.hit)]
    edits, words = [of.edits for of in found], [of.words for of in found]
    draw = np.random.default_rng(seed)
    return Summary(
        recordings=len(found),
        to_target=_mean([of.to_target for of in found]),
        to_source=_mean([of.to_source for of in found]),
        nearest_is_target=_mean(hits),
        nearest_interval=interval_95(resampled_ratios(hits, [1] * len(hits), draw)),
        word_error=sum(edits) / sum(words) if sum(words) else nan,
        word_error_interval=interval_95(resampled_ratios(edits, words, draw)),
        words=sum(words),
        f0_hz=_median([of.f0_hz for of in found]),
        semitones=_median([abs(of.semitones) for of in found]),
        pitched=sum(not isnan(of.f0_hz) for of in found),
        unvoiced=_mean([of.unvoiced for of in found]),
        overall=_mean([of.overall for of in found]),
        signal=_mean([of.signal for of in found]),
        background=_mean([of.background for of in found]),
        mcd_db=_mean([of.mcd_db for of in found]),
        strength=_mean([of.strength for of in found]),
        jitter=_mean([of.jitter for of in found]),
        hnr_db=_mean([of.hnr_db for of in found]),
        f0_correlation=_mean([of.f0_correlation for of in found]),
        spread=_median([abs(of.spread) for of in found]),
    )


def _mean(values: Sequence[float]) -> float:
    there = [value for value in values if not isnan(value)]
    return float(np.mean(there)) if there else nan


def _median(values: Sequence[float]) -> float:
    there = [value for value in values if not isnan(value)]
    return float(np.median(there)) if there else nan
