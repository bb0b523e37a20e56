"""The phoneme study of van den Oord et al. 2017, section 4.3: what codes learned without labels say of phones.

Labelled utterances of a packed store are encoded; the phone of a frame is the label at its centre.
Each code is mapped to its most likely phone on the train split and the mapping is scored on the
test split, once with silence and once without the frames labelled so. Beside every score stands the
same score of a control: codes shuffled in time within each utterance of both splits, fitted anew.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vqspeech.errors import ConfigurationError, CorpusError
from vqspeech.labels.frames import check_end, frame_centres_s, labels_at, read_labels
from vqspeech.labels.phones import PHONE_INDEX, SILENCE, to_arpabet
from vqspeech.metrics.contingency import map_codes
from vqspeech.metrics.phoneme_scores import (
    UNKNOWN,
    Aligned,
    PhoneScores,
    joint_counts,
    score_phones,
)

if TYPE_CHECKING:
    from vqspeech.corpus.store import PackedStore


class Encoder(Protocol):
    """What the study needs of a model."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def hop(self) -> int:
        """Samples a code."""

    @property
    def codebook_size(self) -> int:
        """Number of different codes."""

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


def choose_utterances(
    store: "PackedStore", train_minutes: float, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Choose the labelled utterances to fit and to score on.

    Parameters
    ----------
    store : PackedStore
        With labelled utterances in its train and test splits.
    train_minutes : float
        How much of the train split to take at most; at least one utterance is taken.
    rng : numpy.random.Generator
        Draws from the train split; the test split is taken whole.

    Returns
    -------
    fitted, scored : list of int
        Places in the store, ascending.

    Raises
    ------
    CorpusError
        When a split has no utterance with labels.
    """
    fitted = draw_utterances(_labelled(store, "train"), store, train_minutes, rng)
    return fitted, _labelled(store, "test")


def align_corpus(
    model: Encoder,
    store: "PackedStore",
    fitted: Sequence[int],
    scored: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> AlignedCorpus:
    """Encode labelled utterances and look up the phone of each frame.

    Parameters
    ----------
    model : Encoder
        The model.
    store : PackedStore
        The store, at the model's rate.
    fitted, scored : sequence of int
        From `choose_utterances`.
    progress : callable, optional
        Called with utterances done and utterances in all.

    Returns
    -------
    AlignedCorpus
        Without the utterances whose labels cannot be read.

    Raises
    ------
    ConfigurationError
        When the model and the store have different sample rates.
    CorpusError
        When of a split no labels can be read, or none is in the phone set.
    """
    if store.sample_rate != model.sample_rate:
        raise ConfigurationError(
            f"{store.path}: holds {store.sample_rate} Hz and the model takes {model.sample_rate} "
            "Hz; prepare the corpus at the model's rate"
        )
    total = len(fitted) + len(scored)
    unmapped: Counter[str] = Counter()
    skipped: list[str] = []

    def align(indices: Sequence[int], done: int, split: str) -> dict[int, Aligned]:
        found = {}
        for number, index in enumerate(indices, start=done + 1):
            try:
                found[index] = align_utterance(model, store, index, unmapped)
            except CorpusError as error:
                skipped.append(str(error))
            if progress is not None:
                progress(number, total)
        if not found:
            raise CorpusError(f"no labels of the {split} split can be read: {skipped[-1]}")
        if not any((part.phones != UNKNOWN).any() for part in found.values()):
            names = ", ".join(repr(label) for label, _ in unmapped.most_common(5))
            raise CorpusError(
                f"{store.path}: no label of the {split} split is in the phone set (ARPAbet or "
                f"espeak-ng's IPA); found {names}"
            )
        return found

    train, test = align(fitted, 0, "train"), align(scored, len(fitted), "test")
    return AlignedCorpus(
        fitted=tuple(train),
        scored=tuple(test),
        train=tuple(train.values()),
        test=tuple(test.values()),
        unmapped=dict(unmapped.most_common()),
        skipped=tuple(skipped),
    )


def score_alignment(
    model: Encoder, aligned: AlignedCorpus, rng: np.random.Generator
) -> PhonemeStudy:
    """Score codes against the phones they were aligned with, under both policies for silence.

    Parameters
    ----------
    model : Encoder
        Whose codes they are.
    aligned : AlignedCorpus
        From `align_corpus`.
    rng : numpy.random.Generator
        For the shuffled control and the bootstrap.

    Returns
    -------
    PhonemeStudy
        The same for the same arguments.
    """
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
    store: "PackedStore",
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

    Returns
    -------
    PhonemeStudy
        The same for the same arguments.

    Raises
    ------
    ConfigurationError
        When the model and the store have different sample rates.
    CorpusError
        When a split has no utterance with labels, none whose labels can be read, or none whose
        labels are in the phone set.
    """
    rng = np.random.default_rng(seed)
    fitted, scored = choose_utterances(store, train_minutes, rng)
    aligned = align_corpus(model, store, fitted, scored, progress)
    return score_alignment(model, aligned, rng)


def align_utterance(
    model: Encoder, store: "PackedStore", index: int, unmapped: Counter[str]
) -> Aligned:
    """Encode one labelled utterance and look up the phone at the centre of each frame.

    Parameters
    ----------
    model : Encoder
        The model.
    store : PackedStore
        The store, with labels for this utterance.
    index : int
        Which utterance.
    unmapped : Counter
        Counts the frames of each label outside the phone set; added to.

    Returns
    -------
    Aligned
        One phone and one code a frame.

    Raises
    ------
    CorpusError
        When there are no labels or they cannot be read.
    """
    phones = frame_phones(store, index, model.hop, unmapped)
    return Aligned(phones, np.asarray(model.encode(store.wav(index)), dtype=np.int64))


def frame_phones(
    store: "PackedStore", index: int, hop: int, unmapped: Counter[str]
) -> NDArray[np.int64]:
    """Look up the phone at the centre of each frame of a labelled utterance.

    Parameters
    ----------
    store : PackedStore
        The store, with labels for this utterance.
    index : int
        Which utterance.
    hop : int
        Samples a frame, at the store's rate.
    unmapped : Counter
        Counts the frames of each label outside the phone set; added to.

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
    if utterance.labels is None:
        raise CorpusError(f"{utterance.path}: no phone labels")
    intervals = read_labels(utterance.labels)
    end_s = utterance.start_s + utterance.samples / store.sample_rate
    check_end(utterance.labels, intervals, utterance.start_s, end_s)
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


def draw_utterances(
    indices: Sequence[int], store: "PackedStore", minutes: float, rng: np.random.Generator
) -> list[int]:
    """Draw utterances of so many minutes at most, at least one.

    Parameters
    ----------
    indices : sequence of int
        Places in the store to draw from, at least one.
    store : PackedStore
        The store.
    minutes : float
        How much to take.
    rng : numpy.random.Generator
        For the draw.

    Returns
    -------
    list of int
        Places in the store, ascending.
    """
    order = rng.permutation(np.asarray(indices))
    lengths_s = np.array([store.utterances[i].samples for i in order]) / store.sample_rate
    taken = max(1, int(np.searchsorted(np.cumsum(lengths_s), minutes * 60, side="right")))
    return sorted(int(i) for i in order[:taken])


def _labelled(store: "PackedStore", split: str) -> list[int]:
    found = [int(i) for i in store.indices(split) if store.utterances[i].labels is not None]
    if not found:
        raise CorpusError(
            f"{store.path}: no utterance of the {split} split has phone labels to hold codes "
            "against; put a .lab file beside each recording and prepare the corpus again"
        )
    return found


def _where(
    part: Sequence[Aligned], keep: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> list[Aligned]:
    return [utterance.only(keep(utterance.phones)) for utterance in part]
