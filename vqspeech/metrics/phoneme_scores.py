"""Scores of aligned phones and codes under one policy for silence, each beside its shuffled control.

The mapping from codes to phones is fitted on one list of utterances and scored on another. The control is codes
shuffled in time within each utterance of both lists, with the mapping fitted again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.labels.phones import PHONES
from vqspeech.metrics import contingency as scores
from vqspeech.metrics.bootstrap import Interval95, interval_95, resampled_ratios

UNKNOWN = -1
"""Phone of a frame whose label is outside the phone set; such frames are not scored."""

SHUFFLES = 10
"""Number of shuffles of the control, which for few frames vary."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """Phones and codes of one utterance, frame by frame.

    Attributes
    ----------
    phones : ndarray of int64, shape (frames,)
        Index into `PHONES`, or `UNKNOWN`.
    codes : ndarray of int64, shape (frames,)
        In [0, codebook_size).
    """

    phones: NDArray[np.int64]
    codes: NDArray[np.int64]

    def only(self, kept: NDArray[np.bool_]) -> "Aligned":
        """Keep the frames where `kept` (frames,) is true."""
        return Aligned(self.phones[kept], self.codes[kept])


@dataclass(frozen=True)
class PhoneScores:
    """Scores under one policy for silence; shares in [0, 1], nan where there is nothing to score.

    Attributes
    ----------
    fitted_frames, scored_frames : int
        Frames that the mapping was fitted and scored on.
    map_accuracy, map_accuracy_interval
        Share of frames whose code is mapped to their phone, and its bootstrap 95 % interval over
        utterances.
    chance : float
        Share of the most frequent phone on the scored frames.
    shuffled, shuffled_interval
        Map accuracy of the shuffled control, the mean of `SHUFFLES` shuffles, and its interval over
        shuffles and utterances.
    phone_purity, cluster_purity, pnmi, v_measure : float
        On the scored frames alone; ``..._shuffled`` of the control, the mean again.
    used_codes, perplexity
        Codes seen at least once, and ``2 ** H(code)``, on the scored frames.
    bit_rate, bit_rate_fixed, bit_rate_collapsed : float
        Bits per second of scored speech: at the entropy of the codes, at ``log2 K`` bits each, and
        at their entropy with runs of equal codes within an utterance sent once.
    """

    fitted_frames: int
    scored_frames: int
    map_accuracy: float
    map_accuracy_interval: Interval95
    chance: float
    shuffled: float
    shuffled_interval: Interval95
    phone_purity: float
    phone_purity_shuffled: float
    cluster_purity: float
    cluster_purity_shuffled: float
    pnmi: float
    pnmi_shuffled: float
    v_measure: float
    v_measure_shuffled: float
    used_codes: int
    perplexity: float
    bit_rate: float
    bit_rate_fixed: float
    bit_rate_collapsed: float


def score_phones(
    train: Sequence[Aligned],
    test: Sequence[Aligned],
    n_codes: int,
    frame_rate_hz: float,
    rng: np.random.Generator,
) -> PhoneScores:
    """Fit the mapping on one split, score it on another, and do the same with codes shuffled.

    Parameters
    ----------
    train, test : sequence of Aligned
        Utterances without unknown phones.
    n_codes : int
        Size of the codebook.
    frame_rate_hz : float
        Codes per second.
    rng : numpy.random.Generator
        For the control and the bootstrap.

    Returns
    -------
    PhoneScores
        nan wherever `test` has no frame.
    """
    counts = joint_counts(test, n_codes)
    frames_of = [len(part.codes) for part in test]
    right = _right(train, test, n_codes)
    control_counts, controls_right, control_resampled = [], [], []
    for _ in range(SHUFFLES):
        shuffled_test = _shuffled(test, rng)
        control_counts.append(joint_counts(shuffled_test, n_codes))
        controls_right.append(_right(_shuffled(train, rng), shuffled_test, n_codes))
        control_resampled.append(
            resampled_ratios(controls_right[-1], frames_of, rng, 1000 // SHUFFLES)
        )

    def control(score: Callable[[NDArray[np.int64]], float]) -> float:
        return float(np.mean([score(table) for table in control_counts]))

    code_counts = counts.sum(axis=0)
    frames = int(code_counts.sum())
    runs = np.concatenate([scores.collapse_runs(part.codes) for part in test])
    return PhoneScores(
        fitted_frames=sum(len(part.codes) for part in train),
        scored_frames=frames,
        map_accuracy=_share(right, frames),
        map_accuracy_interval=interval_95(resampled_ratios(right, frames_of, rng)),
        chance=scores.majority_share(np.concatenate([part.phones for part in test])),
        shuffled=_share(np.mean(controls_right, axis=0), frames),
        shuffled_interval=interval_95(np.concatenate(control_resampled)),
        phone_purity=scores.phone_purity(counts),
        phone_purity_shuffled=control(scores.phone_purity),
        cluster_purity=scores.cluster_purity(counts),
        cluster_purity_shuffled=control(scores.cluster_purity),
        pnmi=scores.pnmi(counts),
        pnmi_shuffled=control(scores.pnmi),
        v_measure=scores.v_measure(counts),
        v_measure_shuffled=control(scores.v_measure),
        used_codes=int(np.count_nonzero(code_counts)),
        perplexity=scores.perplexity(code_counts),
        bit_rate=scores.bit_rate(code_counts, frames / frame_rate_hz),
        bit_rate_fixed=frame_rate_hz * log2(n_codes),
        bit_rate_collapsed=scores.bit_rate(
            np.bincount(runs, minlength=n_codes), frames / frame_rate_hz
        ),
    )


def joint_counts(part: Sequence[Aligned], n_codes: int) -> NDArray[np.int64]:
    """Count phones against codes over utterances without unknown phones.

    Parameters
    ----------
    part : sequence of Aligned
        At least one utterance.
    n_codes : int
        Size of the codebook.

    Returns
    -------
    ndarray of int64, shape (len(PHONES), n_codes)
        Frames of each phone with each code.
    """
    phones = np.concatenate([utterance.phones for utterance in part])
    codes = np.concatenate([utterance.codes for utterance in part])
    return scores.contingency(phones, codes, len(PHONES), n_codes)


def _shuffled(part: Sequence[Aligned], rng: np.random.Generator) -> list[Aligned]:
    codes = scores.shuffle_within([utterance.codes for utterance in part], rng)
    return [Aligned(old.phones, new) for old, new in zip(part, codes, strict=True)]


def _right(train: Sequence[Aligned], test: Sequence[Aligned], n_codes: int) -> NDArray[np.int64]:
    mapping = scores.map_codes(joint_counts(train, n_codes))
    return np.array([(mapping[part.codes] == part.phones).sum() for part in test])


def _share(right: NDArray[Any], frames: int) -> float:
    return float(right.sum()) / frames if frames else float("nan")
