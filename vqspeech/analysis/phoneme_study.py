"""The phoneme study of van den Oord et al. 2017, section 4.3: what codes learned without labels say of phones.

Labelled utterances of a packed store are encoded; the phone of a frame is the label at its centre.
Each code is mapped to its most likely phone on the train split and the mapping is scored on the
test split, once with silence and once without the frames labelled so. Beside every score stands the
same score of a control: codes shuffled in time within each utterance of both splits, fitted anew.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vqspeech.analysis.material import Material, choose_material, utterance_labels
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.labels.frames import Interval, frame_centres_s, labels_at
from vqspeech.labels.phones import PHONE_INDEX, SILENCE, to_arpabet
from vqspeech.metrics.contingency import map_codes
from vqspeech.metrics.phoneme_scores import (
    UNKNOWN,
    Aligned,
    PhoneScores,
    joint_counts,
    score_phones,
)


class Coder(Protocol):
    """What the study needs to know of codes."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def hop(self) -> int:
        """Samples a code."""

    @property
    def codebook_size(self) -> int:
        """Number of different codes."""


class Encoder(Coder, Protocol):
    """What makes codes of recordings."""

    @property
    def encode(self) -> Callable[[NDArray[np.float32]], Any]:
        """Turns (samples,) into int64 codes (frames,)."""


@dataclass(frozen=True, eq=False)
class PhonemeStudy:
    """A model's codes against the phones of a corpus.

    Attributes
    ----------
    sample_rate, hop, frame_rate_hz, codebook_size
        Of the model.
    fitted_utterances, scored_utterances : int
        Utterances that the mapping was fitted and scored on.
    with_silence, without_silence : PhoneScores
        Scores over all frames, and over those not labelled as silence.
    mapping : ndarray of int64, shape (codebook_size,)
        Index into `PHONES` of each code, fitted with silence.
    counts : ndarray of int64, shape (len(PHONES), codebook_size)
        Frames of each phone with each code, scored split, with silence.
    unmapped : dict of str to int
        Labels outside the phone set and the frames left out for them.
    skipped : tuple of str
        One line for each label file that could not be read.
    """

    sample_rate: int
    hop: int
    frame_rate_hz: float
    codebook_size: int
    fitted_utterances: int
    scored_utterances: int
    with_silence: PhoneScores
    without_silence: PhoneScores
    mapping: NDArray[np.int64]
    counts: NDArray[np.int64]
    unmapped: dict[str, int]
    skipped: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class AlignedCorpus:
    """Phones and codes of the utterances that a mapping is fitted and scored on.

    Attributes
    ----------
    fitted, scored : tuple of int
        Places in the store of the utterances of `train` and of `test`.
    train, test : tuple of Aligned
        One an utterance; phones are `UNKNOWN` where a label is outside the phone set.
    unmapped : dict of str to int
        Labels outside the phone set and their frames.
    skipped : tuple of str
        One line for each label file that could not be read.
    """

    fitted: tuple[int, ...]
    scored: tuple[int, ...]
    train: tuple[Aligned, ...]
    test: tuple[Aligned, ...]
    unmapped: dict[str, int]
    skipped: tuple[str, ...]


def align_corpus(
    model: Coder,
    store: PackedStore,
    material: Material,
    codes_of: Callable[[int], NDArray[np.int64]],
    progress: Callable[[int, int], None] | None = None,
) -> AlignedCorpus:
    """Look up the phone of each frame of labelled utterances, beside the codes that `codes_of` gives for their places.

    Raises
    ------
    ConfigurationError
        When the model and the store have different sample rates.
    CorpusError
        When no label of a split is in the phone set.
    """
    store.require_rate(model.sample_rate)
    total = len(material.fitted) + len(material.scored)
    unmapped: Counter[str] = Counter()

    def align(indices: Sequence[int], done: int, split: str) -> dict[int, Aligned]:
        found = {}
        for number, index in enumerate(indices, start=done + 1):
            if index in material.labels:
                phones = frame_phones(store, index, model.hop, unmapped, material.labels[index])
                found[index] = Aligned(phones, codes_of(index))
            if progress is not None:
                progress(number, total)
        if not any((part.phones != UNKNOWN).any() for part in found.values()):
            names = ", ".join(repr(label) for label, _ in unmapped.most_common(5))
            raise CorpusError(
                f"{store.path}: no label of the {split} split is in the phone set (ARPAbet or "
                f"espeak-ng's IPA); found {names}"
            )
        return found

    train = align(material.fitted, 0, "train")
    test = align(material.scored, len(material.fitted), "test")
    return AlignedCorpus(
        fitted=tuple(train),
        scored=tuple(test),
        train=tuple(train.values()),
        test=tuple(test.values()),
        unmapped=dict(unmapped.most_common()),
        skipped=material.skipped,
    )


def score_alignment(model: Coder, aligned: AlignedCorpus, rng: np.random.Generator) -> PhonemeStudy:
    """Score codes against their phones under both policies for silence; `rng` shuffles the control and resamples."""
    train, test = (
        _where(part, lambda phones: phones != UNKNOWN) for part in (aligned.train, aligned.test)
    )
    silence = PHONE_INDEX[SILENCE]
    speech_train, speech_test = (
        _where(part, lambda phones: phones != silence) for part in (train, test)
    )
    frame_rate_hz = model.sample_rate / model.hop
    return PhonemeStudy(
        sample_rate=model.sample_rate,
        hop=model.hop,
        frame_rate_hz=frame_rate_hz,
        codebook_size=model.codebook_size,
        fitted_utterances=len(train),
        scored_utterances=len(test),
        with_silence=score_phones(train, test, model.codebook_size, frame_rate_hz, rng),
        without_silence=score_phones(
            speech_train, speech_test, model.codebook_size, frame_rate_hz, rng
        ),
        mapping=map_codes(joint_counts(train, model.codebook_size)),
        counts=joint_counts(test, model.codebook_size),
        unmapped=aligned.unmapped,
        skipped=aligned.skipped,
    )


def study_phonemes(
    model: Encoder,
    store: PackedStore,
    *,
    train_minutes: float = 20.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PhonemeStudy:
    """Hold a model's codes against the phone labels of a store.

    Parameters
    ----------
    model : Encoder
        For instance an `Autoencoder`, in evaluation mode.
    store : PackedStore
        With labelled utterances in its train and test splits.
    train_minutes : float
        How much of the train split the mapping is fitted on at most, drawn at random over its
        utterances; at least one is taken. The test split is scored whole.
    seed : int
        Of that draw, of the shuffled control and of the bootstrap.
    progress : callable, optional
        Called with utterances done and utterances in all.

    Raises
    ------
    ConfigurationError
        When the model and the store have different sample rates.
    CorpusError
        When a split has no utterance with labels, none whose labels can be read, or none whose
        labels are in the phone set.
    """
    rng = np.random.default_rng(seed)
    material = choose_material(store, train_minutes, rng)

    def codes_of(index: int) -> NDArray[np.int64]:
        return np.asarray(model.encode(store.wav(index)), dtype=np.int64)

    aligned = align_corpus(model, store, material, codes_of, progress)
    return score_alignment(model, aligned, rng)


def align_utterance(
    model: Encoder, store: PackedStore, index: int, unmapped: Counter[str]
) -> Aligned:
    """Encode one labelled utterance and look up the phone at the centre of each frame; see `frame_phones`."""
    phones = frame_phones(store, index, model.hop, unmapped)
    return Aligned(phones, np.asarray(model.encode(store.wav(index)), dtype=np.int64))


def frame_phones(
    store: PackedStore,
    index: int,
    hop: int,
    unmapped: Counter[str],
    labels: Sequence[Interval] | None = None,
) -> NDArray[np.int64]:
    """Look up the phone at the centre of each frame of a labelled utterance.

    Parameters
    ----------
    store : PackedStore
        The store.
    index : int
        Which utterance.
    hop : int
        Samples a frame, at the store's rate.
    unmapped : Counter
        Counts the frames of each label outside the phone set; added to.
    labels : sequence of Interval, optional
        Of the utterance; read from its file where they are not given.

    Returns
    -------
    ndarray of int64, shape (ceil(samples / hop),)
        Index into `PHONES`, or `UNKNOWN`.

    Raises
    ------
    CorpusError
        When there are no labels or they cannot be read.
    """
    utterance = store.utterances[index]
    intervals = utterance_labels(store, index) if labels is None else labels
    frames = -(-utterance.samples // hop)
    centres_s = frame_centres_s(frames, hop, store.sample_rate, utterance.start_s)
    phones = np.full(frames, UNKNOWN, dtype=np.int64)
    for frame, label in enumerate(labels_at(intervals, centres_s)):
        phone = to_arpabet(label)
        if phone is None:
            unmapped[label] += 1
        else:
            phones[frame] = PHONE_INDEX[phone]
    return phones


def _where(
    part: Sequence[Aligned], keep: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> list[Aligned]:
    return [utterance.only(keep(utterance.phones)) for utterance in part]
