"""What is made and judged: which utterances of a split are spoken again, by whom, and what stands beside them.

Utterances have a fixed random rank, and every draw takes the lowest ranks, speaker by speaker in
turn: draws are reproducible, even over speakers, and have many utterances in common, which are then
judged once.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vqspeech.analysis.material import by_turns
from vqspeech.corpus.manifest import normalise_sentence
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError

RECONSTRUCTION, PARALLEL, CONVERSION = "reconstructions", "parallel conversions", "conversions"
"""Kinds of trials."""

TARGETS = 4
"""Speakers that anyone is converted to when nobody is named."""

PAIRS = 3
"""Pairs of speakers with the most sentences in common, each converted both ways."""

# Of pairs that share few sentences beside one that shares many, nothing could be concluded.
_LEAST_OF_MOST = 4

CENTROID_S, LEAST_CENTROID_S = 60.0, 5.0
"""How much of a speaker's train recordings a centroid is made of at most, and what it must be made of at least."""


@dataclass(frozen=True)
class Trial:
    """One recording to make.

    Attributes
    ----------
    kind, group : str
        One of the three kinds, and what of it: a corpus, ``source → target``, or ``anyone → target``.
    index : int
        Place of the source utterance in the store.
    source, target : str
        Speakers; the same for a reconstruction.
    real : int or None
        A real recording of the target: of the same sentence where the kind is `PARALLEL`, else another one.
    """

    kind: str
    group: str
    index: int
    source: str
    target: str
    real: int | None


@dataclass(frozen=True)
class Plan:
    """What an evaluation makes and holds it against.

    Attributes
    ----------
    split : str
        Where sources come from.
    trials : tuple of Trial
        In the order of kinds and groups.
    references : dict of str to tuple of int
        Train utterances of each speaker that a centroid is made of.
    short : tuple of str
        Speakers of the train split with too little recording for one.
    remarks : tuple of str
        What could not be done, and why.
    """

    split: str
    trials: tuple[Trial, ...]
    references: Mapping[str, tuple[int, ...]]
    short: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=())


def make_plan(
    store: PackedStore,
    known: Sequence[str],
    *,
    split: str = "test",
    targets: Sequence[str] | None = None,
    count: int = 24,
    seed: int = 0,
) -> Plan:
    """Choose what to make of a split for the speakers `known` to a model: the same for the same arguments.

    `targets` are whom anyone is converted to, by default the first `TARGETS` by name that are in the split or can have
    a centroid; a group has at most `count` trials; `seed` is of the ranks.

    Raises
    ------
    ConfigurationError
        When a target is named of whom the corpus has no recording.
    """
    draw = np.random.default_rng(seed)
    rank = dict(zip(draw.permutation(len(store)).tolist(), range(len(store)), strict=True))
    members = [int(i) for i in store.indices(split)]
    references, short = _references(store, rank)
    present = {store.utterances[i].speaker for i in members}
    if targets is None:
        usable = present | references.keys()
        targets = sorted(name for name in known if name in usable)[:TARGETS]
    recorded = {utterance.speaker for utterance in store.utterances}
    for target in targets:
        if target not in recorded:
            raise ConfigurationError(
                f"{store.path}: no recording of {target} to hold conversions against; name other --targets"
            )
    real = _RealRecordings(store, split, rank)
    own = [i for i in members if store.utterances[i].speaker in known]
    trials: list[Trial] = []
    remarks: list[str] = []
    by_corpus: dict[str, list[int]] = defaultdict(list)
    for index in own:
        by_corpus[store.utterances[index].corpus].append(index)
    for corpus, indices in sorted(by_corpus.items()):
        for index in by_turns(store, sorted(indices, key=rank.__getitem__), count):
            who = store.utterances[index].speaker
            trials.append(Trial(RECONSTRUCTION, corpus, index, who, who, real.other(who, index)))
    if not own:
        remarks.append(
            f"No utterance of the {split} split is by a speaker that the model knows: no likelihood, no "
            "reconstructions."
        )
    parallel, left_out = _parallel(store, members, known, count, rank)
    trials += parallel
    if not parallel:
        remarks.append(
            f"No two speakers read the same sentence in the {split} split, one of them known to the model: no "
            "parallel conversions."
        )
    elif left_out:
        remarks.append(
            f"Parallel conversions are of the pairs that share most sentences; {left_out} more "
            f"pair{'s share' if left_out > 1 else ' shares'} some."
        )
    for target in targets:
        others = [i for i in members if store.utterances[i].speaker != target]
        for index in by_turns(store, sorted(others, key=rank.__getitem__), count):
            who = store.utterances[index].speaker
            group = f"anyone → {target}"
            trials.append(Trial(CONVERSION, group, index, who, target, real.other(target, index)))
        if not others:
            remarks.append(f"Nobody but {target} speaks in the {split} split: nothing to convert.")
    return Plan(split, tuple(trials), references, short, tuple(remarks))


class _RealRecordings:
    """Deals out recordings of a speaker: those of the split in turn, one from outside where there are none."""

    def __init__(self, store: PackedStore, split: str, rank: Mapping[int, int]) -> None:
        self._inside: dict[str, list[int]] = defaultdict(list)
        self._outside: dict[str, list[int]] = defaultdict(list)
        # Centroids are made of train recordings, which are nearer to them than they deserve: they come last.
        for index in sorted(
            range(len(store)), key=lambda i: (store.utterances[i].split == "train", rank[i])
        ):
            utterance = store.utterances[index]
            place = self._inside if utterance.split == split else self._outside
            place[utterance.speaker].append(index)
        self._turns: Counter[str] = Counter()

    def other(self, speaker: str, index: int) -> int | None:
        """Name a recording of `speaker` that is not `index`."""
        own = [i for i in self._inside[speaker] if i != index] or self._outside[speaker][:1]
        if not own:
            return None
        self._turns[speaker] += 1
        return own[(self._turns[speaker] - 1) % len(own)]


def _references(
    store: PackedStore, rank: Mapping[int, int]
) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    by_speaker = store.by_speaker(sorted(store.indices("train").tolist(), key=rank.__getitem__))
    found: dict[str, tuple[int, ...]] = {}
    short = []
    for speaker, own in sorted(by_speaker.items()):
        ends_s = np.cumsum([store.utterances[i].samples for i in own]) / store.sample_rate
        if ends_s[-1] < LEAST_CENTROID_S:
            short.append(speaker)
        else:
            found[speaker] = tuple(own[: int(np.searchsorted(ends_s, CENTROID_S)) + 1])
    return found, tuple(short)


def _parallel(
    store: PackedStore,
    members: Sequence[int],
    known: Sequence[str],
    count: int,
    rank: Mapping[int, int],
) -> tuple[list[Trial], int]:
    """Trials of speakers who read the same sentences, and how many pairs of speakers were left out."""
    readings: dict[str, dict[str, int]] = defaultdict(dict)
    for index in sorted(members, key=rank.__getitem__):
        utterance = store.utterances[index]
        if sentence := normalise_sentence(utterance.text):
            readings[sentence].setdefault(utterance.speaker, index)
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for sentence, by_speaker in readings.items():
        names = sorted(by_speaker)
        for place, first in enumerate(names):
            for second in names[place + 1 :]:
                if first in known or second in known:
                    shared[first, second].append(sentence)
    ranked = sorted(shared, key=lambda pair: (-len(shared[pair]), pair))
    most = len(shared[ranked[0]]) if ranked else 0
    taken = [pair for pair in ranked[:PAIRS] if len(shared[pair]) * _LEAST_OF_MOST >= most]
    trials = []
    for pair in taken:
        for source, target in (pair, pair[::-1]):
            if target in known:
                trials += [
                    Trial(
                        PARALLEL,
                        f"{source} → {target}",
                        readings[sentence][source],
                        source,
                        target,
                        readings[sentence][target],
                    )
                    for sentence in shared[pair][:count]
                ]
    return trials, len(ranked) - len(taken)
