"""Conversions across pitch: utterances of low voices spoken by high ones, and the reverse.

Whether the decoder listens to the speaker shows first in pitch, which needs no judge but a pitch tracker. Speakers are
ordered by the median F0 of their training speech.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.evaluation.trials import CONVERSION, Plan, Trial, make_plan
from vqspeech.jobs.progress import Progress
from vqspeech.metrics.pitch import measure_pitch

UTTERANCES_FOR_F0 = 6
"""Utterances that decide the median F0 of a speaker."""

LENGTH_S = 2.0
"""Utterances nearest to this length are taken: long enough for a phrase, quick to sample."""


def make_pairs(
    store: PackedStore, known: Sequence[str], *, split: str = "test", count: int = 10, seed: int = 0
) -> Plan:
    """Pair utterances of low voices with high targets and the reverse, the most distant voices first.

    Parameters
    ----------
    store : PackedStore
        The corpus.
    known : sequence of str
        Speakers that the model knows.
    split : str
        Where sources come from.
    count : int
        Conversions, half in each direction.
    seed : int
        Of the draw of train recordings that targets are measured on.

    Returns
    -------
    Plan
        Conversions alone, in two groups.

    Raises
    ------
    CorpusError
        When fewer than two known speakers have a pitch, or no utterance is by one of the two kinds of voices.
    """
    train_f0 = median_f0s(store, "train")
    target_f0 = {name: f0 for name, f0 in train_f0.items() if name in known}
    if len(target_f0) < 2:
        raise CorpusError(
            f"{store.path}: {len(target_f0)} speakers with a pitch in the train split are speakers of the model;"
            " pairs take 2 or more"
        )
    names = list(target_f0)
    middle = len(names) // 2
    border_hz = math.sqrt(target_f0[names[middle - 1]] * target_f0[names[middle]])
    source_f0 = median_f0s(store, split) | target_f0
    own = _by_speaker(store, split)
    ordered = sorted(own.keys() & source_f0.keys(), key=source_f0.__getitem__)
    low = [name for name in ordered if source_f0[name] < border_hz]
    high = [name for name in reversed(ordered) if source_f0[name] >= border_hz]
    real = {name: (own.get(name) or _by_speaker(store, "train")[name])[0] for name in names}
    trials = []
    for sources, targets, kind, other in (
        (low, names[: middle - 1 : -1], "low", "high"),
        (high, names[:middle], "high", "low"),
    ):
        if not sources:
            raise CorpusError(
                f"{store.path}: no utterance by a {kind} voice in the {split} split to pair with a {other} one"
            )
        # Each source speaker in turn, one more utterance every round; round again when there are too few.
        queues = {name: cycle(own[name]) for name in sources}
        for source, target, _ in zip(
            cycle(sources), cycle(targets), range(count // 2), strict=False
        ):
            group = f"{kind} → {other} voices"
            index = next(queues[source])
            trials.append(Trial(CONVERSION, group, index, source, target, real[target]))
    plan = make_plan(store, known, split=split, targets=(), count=0, seed=seed)
    return replace(plan, trials=tuple(trials), remarks=())


def median_f0s(store: PackedStore, split: str) -> dict[str, float]:
    """Return the median F0 of every speaker of `split`, Hz, lowest first, without speakers who have none."""
    found: dict[str, float] = {}
    speakers = _by_speaker(store, split)
    with Progress(len(speakers), "speakers", f"median F0, split {split}") as progress:
        for speaker, indices in speakers.items():
            speech = [store.wav(index) for index in indices[:UTTERANCES_FOR_F0]]
            f0_hz = measure_pitch(np.concatenate(speech), store.sample_rate).median_hz
            if math.isfinite(f0_hz):
                found[speaker] = f0_hz
            progress.update()
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _by_speaker(store: PackedStore, split: str) -> dict[str, list[int]]:
    """Utterances of each speaker of a split, those nearest to `LENGTH_S` first."""
    length = LENGTH_S * store.sample_rate
    indices = store.indices(split).tolist()
    return store.by_speaker(
        sorted(indices, key=lambda i: abs(store.utterances[i].samples - length))
    )
