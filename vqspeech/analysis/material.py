"""What a study is made on: labelled utterances to fit and to score on, every label file read once for all systems."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.labels.files import read_labels
from vqspeech.labels.frames import Interval, check_end


@dataclass(frozen=True)
class Material:
    """Labelled utterances of a store.

    Attributes
    ----------
    corpus : str
        What the store was made from.
    sample_rate : int
        Hz.
    fitted, scored : tuple of int
        Places in the store of the utterances of the train split that mappings and baselines are
        fitted on, and of the test split that is scored.
    fitted_minutes, scored_minutes : float
        How long they are.
    fitted_speakers, scored_speakers : tuple of str
        Who speaks, sorted.
    labels : mapping of int to sequence of Interval
        By place, of those whose labels can be read.
    skipped : tuple of str
        One line for each label file that cannot be read.
    """

    corpus: str
    sample_rate: int
    fitted: tuple[int, ...]
    scored: tuple[int, ...]
    fitted_minutes: float
    scored_minutes: float
    fitted_speakers: tuple[str, ...]
    scored_speakers: tuple[str, ...]
    labels: Mapping[int, Sequence[Interval]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


def choose_material(
    store: PackedStore, train_minutes: float, seed: int | np.random.Generator
) -> Material:
    """Choose the labelled utterances of a study and read their labels; `seed` is of the draw from the train split.

    Raises
    ------
    CorpusError
        When a split has no utterance with labels, or none whose labels can be read.
    """
    rng = np.random.default_rng(seed)
    fitted, scored = choose_utterances(store, train_minutes, rng)
    labels: dict[int, Sequence[Interval]] = {}
    skipped: list[str] = []
    for split, indices in (("train", fitted), ("test", scored)):
        for index in indices:
            try:
                labels[index] = utterance_labels(store, index)
            except CorpusError as error:
                skipped.append(str(error))
        if labels.keys().isdisjoint(indices):
            raise CorpusError(f"no labels of the {split} split can be read: {skipped[-1]}")

    def minutes(indices: Sequence[int]) -> float:
        return sum(store.utterances[i].samples for i in indices) / store.sample_rate / 60

    def speakers(indices: Sequence[int]) -> tuple[str, ...]:
        return tuple(sorted({store.utterances[i].speaker for i in indices}))

    return Material(
        corpus=store.corpus,
        sample_rate=store.sample_rate,
        fitted=tuple(fitted),
        scored=tuple(scored),
        fitted_minutes=minutes(fitted),
        scored_minutes=minutes(scored),
        fitted_speakers=speakers(fitted),
        scored_speakers=speakers(scored),
        labels=labels,
        skipped=tuple(skipped),
    )


def choose_utterances(
    store: PackedStore, train_minutes: float, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Places of the labelled utterances to fit on, at most `train_minutes` of train, and to score on, all of test.

    Raises
    ------
    CorpusError
        When a split has no utterance with labels.
    """
    fitted = draw_utterances(_labelled(store, "train"), store, train_minutes, rng)
    return fitted, _labelled(store, "test")


def draw_utterances(
    indices: Sequence[int], store: PackedStore, minutes: float, rng: np.random.Generator
) -> list[int]:
    """Draw utterances of so many minutes at most, at least one: their places, ascending."""
    order = rng.permutation(np.asarray(indices))
    lengths_s = np.array([store.utterances[i].samples for i in order]) / store.sample_rate
    taken = max(1, int(np.searchsorted(np.cumsum(lengths_s), minutes * 60, side="right")))
    return sorted(int(i) for i in order[:taken])


def by_turns(store: PackedStore, indices: Iterable[int], count: int) -> list[int]:
    """Take at most `count` utterances, by turns of the speakers in the order of their names, of each the first ones."""
    turns = sorted(
        (turn, speaker, index)
        for speaker, own in store.by_speaker(indices).items()
        for turn, index in enumerate(own)
    )
    return [index for _, _, index in turns[:count]]


def utterance_labels(store: PackedStore, index: int) -> list[Interval]:
    """Read the labels of an utterance; times are those of its source file.

    Raises
    ------
    CorpusError
        When there are none, or they cannot be read, or are of another recording.
    """
    utterance = store.utterances[index]
    if utterance.labels is None:
        raise CorpusError(f"{utterance.path}: no phone labels")
    intervals = read_labels(utterance.labels)
    end_s = utterance.start_s + utterance.samples / store.sample_rate
    check_end(utterance.labels, intervals, utterance.start_s, end_s)
    return intervals


def _labelled(store: PackedStore, split: str) -> list[int]:
    found = [int(i) for i in store.indices(split) if store.utterances[i].labels is not None]
    if not found:
        raise CorpusError(
            f"{store.path}: no utterance of the {split} split has phone labels to hold codes "
            "against; put a .lab file beside each recording and prepare the corpus again"
        )
    return found
