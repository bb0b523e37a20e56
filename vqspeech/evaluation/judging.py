"""The judges at work: every recording of a plan heard once, held against what it should be, and put into groups.

Every recording that is made is held beside three others: its source untouched, a real recording of
the target, and the source after a µ-law round trip, which is the best that a decoder of such levels
can do. All four are judged alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.pitch import Voice, track, voice_of
from vqspeech.corpus.store import PackedStore
from vqspeech.evaluation.figures import Figures, Summary, figures_of, summarise
from vqspeech.evaluation.judges import Heard, Judges, listen
from vqspeech.evaluation.speaking import Spoken, mulaw_round_trip
from vqspeech.evaluation.trials import PARALLEL, RECONSTRUCTION, Plan, Trial
from vqspeech.evaluation.voices import Vector, centroid
from vqspeech.jobs.progress import Progress
from vqspeech.metrics.pitch import measure_pitch

ROWS = ("source", "real", "mulaw", "made")
"""What is judged of every trial: its source, a real recording of the target, the round trip, and what was made."""

TOGETHER, UNKNOWN = "together", "from speakers that the model does not know"
"""Names of groups that hold trials of several others."""

_F0_S = 20.0


@dataclass(frozen=True)
class Judged:
    """One trial with the figures of its four recordings.

    Attributes
    ----------
    trial : Trial
        What was made.
    utterance : str
        Name of the source utterance.
    text, real_text : str
        What is said in it, and in the real recording of the target.
    figures : mapping of str to Figures
        By `ROWS`; ``real`` is missing where there is no such recording.
    """

    trial: Trial
    utterance: str
    text: str
    real_text: str
    figures: Mapping[str, Figures]


@dataclass(frozen=True)
class Group:
    """Trials of one kind, all of them or a part, and what they scored together.

    Attributes
    ----------
    kind, name : str
        As in `Trial`; the name is `TOGETHER` for all of the kind.
    rows : mapping of str to Summary
        By `ROWS`.
    """

    kind: str
    name: str
    rows: Mapping[str, Summary]


def judge(
    judges: Judges,
    store: PackedStore,
    plan: Plan,
    spoken: Spoken,
    levels: int,
    contour_of: Callable[[int], NDArray[np.float32]] | None = None,
) -> tuple[Judged, ...]:
    """Let the judges hear all recordings of a plan, each once: one result a trial.

    `levels` are the µ-law levels of the model; `contour_of` gives pitch contours of recordings by their places, where
    they may have been tracked before.
    """
    if not plan.trials:
        return ()
    contour_of = contour_of or (lambda index: track(store.wav(index), store.sample_rate))
    centroids = _centroids(judges, store, plan)
    target_f0_hz, target_voices = _target_pitch(judges, store, plan, contour_of)
    sources = {trial.index for trial in plan.trials}
    real = sources | {trial.real for trial in plan.trials if trial.real is not None}
    with Progress(len(real) + len(sources) + len(spoken.wavs), "recordings", "judging") as bar:

        def hear(
            wav: NDArray[np.float32],
            index: int,
            contour_of: Callable[[int], NDArray[np.float32]] | None = None,
        ) -> Heard:
            words = bool(store.utterances[index].text)
            contour = contour_of(index) if contour_of is not None and judges.pitch else None
            heard = listen(judges, wav, store.sample_rate, words=words, contour=contour)
            bar.update()
            return heard

        untouched = {index: hear(store.wav(index), index, contour_of) for index in sorted(real)}
        coded = {
            index: hear(mulaw_round_trip(store.wav(index), levels), index)
            for index in sorted(sources)
        }
        made = [hear(wav, trial.index) for trial, wav in zip(plan.trials, spoken.wavs, strict=True)]
    found = []
    for trial, result in zip(plan.trials, made, strict=True):
        heard = {"source": untouched[trial.index], "mulaw": coded[trial.index], "made": result}
        if trial.real is not None:
            heard["real"] = untouched[trial.real]
        texts = {"real": store.utterances[trial.real].text} if trial.real is not None else {}
        # Of a reconstruction the source itself is the other reading.
        same = {PARALLEL: trial.real, RECONSTRUCTION: trial.index}.get(trial.kind)
        reference = None if same is None else untouched[same].cepstra
        text = store.utterances[trial.index].text
        found.append(
            Judged(
                trial,
                store.utterances[trial.index].utterance,
                text,
                texts.get("real", ""),
                {
                    row: figures_of(
                        heard[row],
                        target=trial.target,
                        source=trial.source,
                        centroids=centroids,
                        text=texts.get(row, text),
                        target_f0_hz=target_f0_hz.get(trial.target, nan),
                        reference=None if row == "real" else reference,
                        target_voice=target_voices.get(trial.target),
                        followed=None if row == "real" else untouched[trial.index].contour,
                    )
                    for row in ROWS
                    if row in heard
                },
            )
        )
    return tuple(found)


def group(judged: Sequence[Judged], known: Sequence[str]) -> tuple[Group, ...]:
    """Put trials together by kind and group.

    Of each kind all together, then, where there are several, its groups, and last those trials whose source is not one
    of the speakers `known` to the model, where they are only some. A real recording that stands beside several trials
    of a group counts once.
    """
    found = []
    for kind in dict.fromkeys(of.trial.kind for of in judged):
        own = [of for of in judged if of.trial.kind == kind]
        names = list(dict.fromkeys(of.trial.group for of in own))
        parts = {TOGETHER: own} if len(names) > 1 else {}
        for name in names:
            parts[name] = [of for of in own if of.trial.group == name]
        unknown = [of for of in own if of.trial.source not in known]
        if 0 < len(unknown) < len(own):
            parts[UNKNOWN] = unknown
        for name, members in parts.items():
            rows = {row: [of.figures[row] for of in members if row in of.figures] for row in ROWS}
            real = {(of.trial.real, of.trial.target): of.figures.get("real") for of in members}
            rows["real"] = [figures for figures in real.values() if figures is not None]
            found.append(Group(kind, name, {row: summarise(rows[row]) for row in ROWS}))
    return tuple(found)


def _centroids(judges: Judges, store: PackedStore, plan: Plan) -> dict[str, Vector]:
    if judges.voices is None:
        return {}
    found = {}
    with Progress(len(plan.references), "speakers", "learning voices") as bar:
        for speaker, indices in plan.references.items():
            vectors = [judges.voices.embed(store.wav(i), store.sample_rate) for i in indices]
            there = [vector for vector in vectors if vector is not None]
            if there:
                found[speaker] = centroid(there)
            bar.update()
    return found


def _target_pitch(
    judges: Judges,
    store: PackedStore,
    plan: Plan,
    contour_of: Callable[[int], NDArray[np.float32]],
) -> tuple[dict[str, float], dict[str, Voice]]:
    """Median F0 of each target in its train recordings, Hz, and mean and deviation of its log-F0."""
    medians: dict[str, float] = {}
    voices: dict[str, Voice] = {}
    if not judges.pitch:
        return medians, voices
    targets = sorted({trial.target for trial in plan.trials} & plan.references.keys())
    with Progress(len(targets), "speakers", "learning pitch") as bar:
        for target in targets:
            wavs = [store.wav(index) for index in plan.references[target]]
            limit = round(_F0_S * store.sample_rate)
            speech = np.concatenate(wavs)[:limit]
            medians[target] = measure_pitch(speech, store.sample_rate).median_hz
            voice = voice_of([contour_of(index) for index in plan.references[target]])
            if voice is not None:
                voices[target] = voice
            bar.update()
    return medians, voices
