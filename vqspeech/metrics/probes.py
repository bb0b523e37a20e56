"""Information in codes besides phones: the speaker (`speaker_probe`, `speaker_leakage`) and F0 (`pitch_probe`).

Speaker-independent codes score near the baselines: a speaker probe near 1 / speakers, a leakage near its shuffled
control, a pitch probe near 0. `mean_speaker_probe` and `phone_probe` are for vectors, of codes or without any. Each
function is pure; its seed decides folds, shuffles and bootstrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.metrics.bootstrap import Interval95, interval_95, resampled_ratios
from vqspeech.metrics.contingency import mutual_information, pnmi, shuffle_within

SHUFFLES = 5
"""Number of shuffles of each control, which is their mean."""


@dataclass(frozen=True)
class SpeakerProbe:
    """Accuracy of a linear classifier of the speaker of an utterance.

    Attributes
    ----------
    accuracy, interval
        Share of utterances classified correctly when left out of the fit, in [0, 1], and its bootstrap 95 % interval
        over utterances.
    chance : float
        1 / speakers.
    shuffled : float
        Accuracy with speakers permuted over the utterances, fitted again: above chance where some speakers have more
        utterances than others.
    speakers, utterances : int
        Classified.
    """

    accuracy: float
    interval: Interval95
    chance: float
    shuffled: float
    speakers: int
    utterances: int


@dataclass(frozen=True)
class PhoneProbe:
    """Accuracy of a linear classifier of the phone of a frame.

    Attributes
    ----------
    accuracy, interval
        Share of scored frames classified correctly, in [0, 1], and its bootstrap 95 % interval over utterances.
    chance : float
        Share of the most frequent phone on the scored frames.
    shuffled : float
        Accuracy with vectors shuffled in time within each utterance, fitted again.
    fitted_frames, scored_frames : int
        Frames with a phone.
    """

    accuracy: float
    interval: Interval95
    chance: float
    shuffled: float
    fitted_frames: int
    scored_frames: int


@dataclass(frozen=True)
class PitchProbe:
    """Share of the variance of log F0 that the codes explain.

    Attributes
    ----------
    r2, interval
        Coefficient of determination on the scored frames and its bootstrap 95 % interval over utterances: 1 for all, 0
        for the mean as prediction, below 0 for less.
    shuffled : float
        The same for codes shuffled in time within each utterance, fitted again: what the codes' distribution over the
        utterance, and so its speaker, explains.
    fitted_frames, scored_frames : int
        Voiced frames.
    """

    r2: float
    interval: Interval95
    shuffled: float
    fitted_frames: int
    scored_frames: int


@dataclass(frozen=True, eq=False)
class SpeakerLeakage:
    """Information of a single code about the speaker.

    Attributes
    ----------
    speakers : tuple of str
        Names of the rows.
    counts : ndarray of int64, shape (speakers, n_codes)
        Frames of each speaker with each code.
    information_bits : float
        Mutual information of speaker and code, bits per frame.
    share : float
        ``I(speaker; code) / H(speaker)``, in [0, 1]; nan for a single speaker.
    shuffled : float
        The share with speakers permuted over the utterances: few utterances differ by their content.
    by_code_bits : ndarray of float64, shape (n_codes,)
        Each code's part of `information_bits`, at least 0.
    """

    speakers: tuple[str, ...]
    counts: NDArray[np.int64]
    information_bits: float
    share: float
    shuffled: float
    by_code_bits: NDArray[np.float64]


def histograms(codes: Sequence[ArrayLike], n_codes: int) -> NDArray[np.int64]:
    """Count the codes of each utterance.

    Parameters
    ----------
    codes : sequence of array_like of int, each of shape (frames,)
        Codes of each utterance, in [0, n_codes).
    n_codes : int
        Size of the codebook.

    Returns
    -------
    ndarray of int64, shape (utterances, n_codes)
        How often each utterance has each code.
    """
    counted = [np.bincount(np.asarray(c, np.int64), minlength=n_codes) for c in codes]
    return np.array(counted, dtype=np.int64).reshape(len(codes), n_codes)


def speaker_probe(
    counts: ArrayLike, speakers: Sequence[str], *, folds: int = 5, seed: int = 0
) -> SpeakerProbe:
    """Classify the speaker by the share of each code in an utterance.

    Multinomial logistic regression (scikit-learn, L2 penalty 1) on standardised shares, cross-validated: each utterance
    is classified by a model fitted without it.

    Parameters
    ----------
    counts : array_like of int, shape (utterances, n_codes)
        From `histograms`. Utterances without codes are left out.
    speakers : sequence of str, length utterances
        Speaker of each. Speakers with a single utterance are left out.
    folds : int
        Parts of the cross-validation; fewer where a speaker has fewer utterances.
    seed : int
        Of folds, shuffles and bootstrap.

    Returns
    -------
    SpeakerProbe
        Scores are nan where fewer than two speakers are left.
    """
    table, names = np.asarray(counts, dtype=np.float64), np.asarray(speakers, dtype=str)
    _paired(table, names)
    kept = table.sum(axis=1) > 0
    shares = table[kept] / table[kept].sum(axis=1, keepdims=True)
    return mean_speaker_probe(shares, names[kept].tolist(), folds=folds, seed=seed)


def mean_speaker_probe(
    means: ArrayLike, speakers: Sequence[str], *, folds: int = 5, seed: int = 0
) -> SpeakerProbe:
    """Classify the speaker by one vector per utterance, with the classifier of `speaker_probe`.

    For means over the frames of an utterance, of latents or spectral features.

    Parameters
    ----------
    means : array_like of float, shape (utterances, dim)
        One row per utterance.
    speakers, folds, seed
        See `speaker_probe`.

    Returns
    -------
    SpeakerProbe
        Scores are nan where fewer than two speakers are left.
    """
    table, names = np.asarray(means, dtype=np.float64), np.asarray(speakers, dtype=str)
    _paired(table, names)
    of_each = dict(zip(*np.unique(names, return_counts=True), strict=True))
    kept = np.array([of_each[name] > 1 for name in names], dtype=bool)
    table, names = table[kept], names[kept]
    n_speakers = len(np.unique(names))
    if n_speakers < 2:
        nan = float("nan")
        return SpeakerProbe(nan, interval_95([]), nan, nan, n_speakers, len(names))
    rng = np.random.default_rng(seed)
    right = _named_right(table, names, folds, seed)
    shuffled = [
        _named_right(table, rng.permutation(names), folds, seed).mean() for _ in range(SHUFFLES)
    ]
    return SpeakerProbe(
        accuracy=float(right.mean()),
        interval=interval_95(resampled_ratios(right, np.ones(len(right)), rng)),
        chance=1 / n_speakers,
        shuffled=float(np.mean(shuffled)),
        speakers=n_speakers,
        utterances=len(names),
    )


def speaker_leakage(counts: ArrayLike, speakers: Sequence[str], *, seed: int = 0) -> SpeakerLeakage:
    """Measure the mutual information of code and speaker, normalised by the speaker's entropy.

    Code j's part is ``sum_s p(s, j) log2(p(s, j) / (p(s) p(j)))``: the divergence of its speakers from all speakers.

    Parameters
    ----------
    counts : array_like of int, shape (utterances, n_codes)
        From `histograms`.
    speakers : sequence of str, length utterances
        Speaker of each.
    seed : int
        Of the control.

    Returns
    -------
    SpeakerLeakage
        Information and shares are nan without frames.
    """
    table, names = np.asarray(counts, dtype=np.int64), np.asarray(speakers, dtype=str)
    _paired(table, names)
    rng = np.random.default_rng(seed)
    joint = _summed(table, names)
    shuffled = [pnmi(_summed(table, rng.permutation(names))) for _ in range(SHUFFLES)]
    return SpeakerLeakage(
        speakers=tuple(str(name) for name in np.unique(names)),
        counts=joint,
        information_bits=mutual_information(joint),
        share=pnmi(joint),
        shuffled=float(np.mean(shuffled)),
        by_code_bits=_by_code_bits(joint),
    )


def phone_probe(
    train: Sequence[tuple[ArrayLike, ArrayLike]],
    test: Sequence[tuple[ArrayLike, ArrayLike]],
    *,
    seed: int = 0,
) -> PhoneProbe:
    """Classify the phone of a frame by its vector, and score on other utterances.

    Multinomial logistic regression (scikit-learn, L2 penalty 1) on standardised vectors, quantized or not.

    Parameters
    ----------
    train, test : sequence of (vectors, phones)
        Of each utterance: vectors (frames, dim), and the number of a phone for each frame, negative for frames to leave
        out.
    seed : int
        Of the shuffle and the bootstrap.

    Returns
    -------
    PhoneProbe
        Scores are nan where a side has no frames left, or one phone only to fit.

    Raises
    ------
    ValueError
        When vectors and phones differ in length.
    """
    rng = np.random.default_rng(seed)
    fitted, scored = ([_counting(*pair) for pair in part] for part in (train, test))
    sizes = [sum(len(phones) for _, phones in part) for part in (fitted, scored)]
    seen = np.unique(np.concatenate([phones for _, phones in fitted])) if fitted else ()
    if 0 in sizes or len(seen) < 2:
        nan = float("nan")
        return PhoneProbe(nan, interval_95([]), nan, nan, sizes[0], sizes[1])
    right = _phones_right(fitted, scored)
    counts = np.unique(np.concatenate([phones for _, phones in scored]), return_counts=True)[1]
    shuffled = _phones_right(
        *([(rng.permutation(v), phones) for v, phones in part] for part in (fitted, scored))
    )
    of_each = [len(phones) for _, phones in scored]
    return PhoneProbe(
        accuracy=float(right.sum() / sizes[1]),
        interval=interval_95(resampled_ratios(right, of_each, rng)),
        chance=float(counts.max() / sizes[1]),
        shuffled=float(shuffled.sum() / sizes[1]),
        fitted_frames=sizes[0],
        scored_frames=sizes[1],
    )


def pitch_probe(
    train: Sequence[tuple[ArrayLike, ArrayLike]],
    test: Sequence[tuple[ArrayLike, ArrayLike]],
    n_codes: int,
    *,
    seed: int = 0,
) -> PitchProbe:
    """Predict log F0 from the code of the frame and score it on other utterances.

    A code predicts the mean log F0 of its voiced training frames, shrunk towards the mean of all by one frame's weight
    (ridge regression on one-hot codes, penalty 1); a code not seen there predicts the mean of all. ``R² = 1 - sum (y -
    prediction)² / sum (y - mean y)²``. To score intonation alone, divide F0 by each speaker's geometric mean first.

    Parameters
    ----------
    train, test : sequence of (codes, f0_hz)
        Of each utterance, both of shape (frames,): codes in [0, n_codes), and F0 in Hz, nan or 0 where unvoiced.
    n_codes : int
        Size of the codebook.
    seed : int
        Of shuffles and bootstrap.

    Returns
    -------
    PitchProbe
        Scores are nan where a side has no voiced frame or the scored frames one pitch only.

    Raises
    ------
    ValueError
        When codes and F0 differ in length or a code is out of range.
    """
    rng = np.random.default_rng(seed)
    fitted, scored = ([_voiced(*pair, n_codes) for pair in part] for part in (train, test))
    fitted_y, scored_y = (
        np.concatenate([y for _, y in part]) if part else np.empty(0) for part in (fitted, scored)
    )
    sizes = len(fitted_y), len(scored_y)
    nan = float("nan")
    if 0 in sizes or np.ptp(scored_y) == 0:
        return PitchProbe(nan, interval_95([]), nan, *sizes)
    # Of each utterance: what the mean of the scored frames leaves unexplained.
    total = np.array([((y - scored_y.mean()) ** 2).sum() for _, y in scored])

    def unexplained(
        fitted_codes: list[NDArray[np.int64]], scored_codes: list[NDArray[np.int64]]
    ) -> NDArray[np.float64]:
        codes = np.concatenate(fitted_codes)
        deviations = np.bincount(codes, fitted_y - fitted_y.mean(), minlength=n_codes)
        table = fitted_y.mean() + deviations / (np.bincount(codes, minlength=n_codes) + 1)
        return np.array(
            [((y - table[c]) ** 2).sum() for c, (_, y) in zip(scored_codes, scored, strict=True)]
        )

    left = unexplained([c for c, _ in fitted], [c for c, _ in scored])
    shuffled = [
        unexplained(
            shuffle_within([c for c, _ in fitted], rng), shuffle_within([c for c, _ in scored], rng)
        ).sum()
        for _ in range(SHUFFLES)
    ]
    return PitchProbe(
        r2=float(1 - left.sum() / total.sum()),
        interval=interval_95(1 - resampled_ratios(left, total, rng)),
        shuffled=float(1 - np.mean(shuffled) / total.sum()),
        fitted_frames=sizes[0],
        scored_frames=sizes[1],
    )


def _classifier() -> Any:
    # Imported on use: it takes half a second.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _named_right(
    table: NDArray[np.float64], names: NDArray[np.str_], folds: int, seed: int
) -> NDArray[np.bool_]:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    fewest = int(np.unique(names, return_counts=True)[1].min())
    parts = StratifiedKFold(min(folds, fewest), shuffle=True, random_state=seed)
    named: NDArray[np.bool_] = cross_val_predict(_classifier(), table, names, cv=parts) == names
    return named


_Frames = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Vectors and phones of an utterance."""


def _counting(vectors: ArrayLike, phones: ArrayLike) -> _Frames:
    rows, numbers = np.asarray(vectors, dtype=np.float32), np.asarray(phones, dtype=np.int64)
    if rows.ndim != 2 or numbers.shape != rows.shape[:1]:
        raise ValueError(f"vectors {rows.shape} against phones {numbers.shape}; one each a frame")
    return rows[numbers >= 0], numbers[numbers >= 0]


def _phones_right(fitted: Sequence[_Frames], scored: Sequence[_Frames]) -> NDArray[np.int64]:
    """Number of frames of each scored utterance classified correctly."""
    classifier = _classifier()
    classifier.fit(*(np.concatenate(part) for part in zip(*fitted, strict=True)))
    return np.array(
        [(classifier.predict(v) == phones).sum() if len(v) else 0 for v, phones in scored]
    )


def _summed(table: NDArray[np.int64], names: NDArray[np.str_]) -> NDArray[np.int64]:
    found = [table[names == name].sum(axis=0) for name in np.unique(names)]
    return np.array(found, dtype=np.int64).reshape(len(found), table.shape[1])


def _by_code_bits(joint: NDArray[np.int64]) -> NDArray[np.float64]:
    total = joint.sum()
    if not total:
        return np.zeros(joint.shape[1])
    independent = joint.sum(axis=1, keepdims=True) * (joint.sum(axis=0) / total)
    ratios = np.divide(joint, independent, out=np.ones(joint.shape), where=joint > 0)
    return np.maximum((joint / total * np.log2(ratios)).sum(axis=0), 0.0)


def _voiced(
    codes: ArrayLike, f0_hz: ArrayLike, n_codes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Codes and log F0 of the voiced frames."""
    indices, pitch = np.asarray(codes, dtype=np.int64), np.asarray(f0_hz, dtype=np.float64)
    if indices.shape != pitch.shape or indices.ndim != 1:
        raise ValueError(f"codes {indices.shape} against F0 {pitch.shape}; one each a frame")
    if indices.size and not 0 <= indices.min() <= indices.max() < n_codes:
        raise ValueError(
            f"codes run from {indices.min()} to {indices.max()}, expected [0, {n_codes})"
        )
    voiced = pitch > 0
    return indices[voiced], np.log(pitch[voiced])


def _paired(table: NDArray[np.generic], names: NDArray[np.str_]) -> None:
    if table.ndim != 2 or len(table) != len(names):
        raise ValueError(
            f"counts of shape {table.shape} against {len(names)} speakers; one row each utterance"
        )
