"""One study of several systems on one corpus: the same utterances, labels and draws for all of them.

Codes are mapped to phones on the train split and scored on the test split, as in
`vqspeech.analysis.phoneme_study`; ABX is taken on the test split alone. What cannot be right is
said in words (`sanity_checks`), because a table of numbers at chance is easily passed over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.analysis.material import Material, draw_utterances
from vqspeech.analysis.phoneme_study import (
    AlignedCorpus,
    PhonemeStudy,
    align_corpus,
    score_alignment,
)
from vqspeech.analysis.systems import System, Vectors
from vqspeech.corpus.store import PackedStore
from vqspeech.labels.frames import frame_centres_s
from vqspeech.metrics.abx import AbxScore, Item, abx, phone_items
from vqspeech.metrics.bootstrap import Interval95, interval_95, resampled_ratios
from vqspeech.metrics.boundaries import (
    BoundaryCounts,
    BoundaryScores,
    boundary_scores,
    code_boundaries_s,
    count_hits,
    even_boundaries_s,
    phone_boundaries_s,
)
from vqspeech.metrics.phoneme_scores import Aligned, PhoneScores
from vqspeech.metrics.probes import (
    PitchProbe,
    SpeakerLeakage,
    SpeakerProbe,
    histograms,
    pitch_probe,
    speaker_leakage,
    speaker_probe,
)
from vqspeech.metrics.rate import CodeCost, code_cost

ABX_MINUTES = 10.0
"""How much of the test split ABX looks at: the work grows faster than the speech."""

ABX_TOKENS = 20
"""Tokens of each phone and speaker in ABX: 400 pairs a cell, while the work grows with the square."""

PITCH_MINUTES = 3.0
"""How much of either split is tracked for the pitch probe: tracking takes 1 s for 15 s of sound."""

_TRACK_RATE_HZ = 100


@dataclass(frozen=True)
class Boundaries:
    """Where codes change against where phones do, with a tolerance of 20 ms.

    Attributes
    ----------
    codes : BoundaryScores
        Of the changes of code.
    f1_interval : Interval95
        Of their F1, over utterances.
    even : BoundaryScores
        Of as many boundaries, spaced evenly: the baseline.
    """

    codes: BoundaryScores
    f1_interval: Interval95
    even: BoundaryScores


@dataclass(frozen=True, eq=False)
class SystemStudy:
    """All that was found of one system.

    Attributes
    ----------
    system : System
        Whose codes these are.
    aligned : AlignedCorpus
        Its codes with the phones of their frames.
    speakers : tuple of str
        Speaker of each utterance of `aligned.test`.
    cost : CodeCost
        What its codes cost.
    phonemes : PhonemeStudy
        Codes against phones.
    abx : mapping of str to AbxScore
        ``within_codes``, ``across_codes``, ``within_vectors``, ``across_vectors``: within or across
        speakers, phones without regard to context.
    boundaries : Boundaries
        Changes of code against boundaries of phones.
    speaker : SpeakerProbe
        Who speaks, from how often a test utterance has each code.
    leakage : SpeakerLeakage
        What a single code of the test split says of who speaks.
    pitch : PitchProbe
        Log F0 from the code of the frame.
    """

    system: System
    aligned: AlignedCorpus
    speakers: tuple[str, ...]
    cost: CodeCost
    phonemes: PhonemeStudy
    abx: Mapping[str, AbxScore]
    boundaries: Boundaries
    speaker: SpeakerProbe
    leakage: SpeakerLeakage
    pitch: PitchProbe

    @property
    def policies(self) -> dict[str, PhoneScores]:
        """The scores by their policy for silence, in the words of tables."""
        return {
            "with_silence": self.phonemes.with_silence,
            "without_silence": self.phonemes.without_silence,
        }


def track_pitch(
    store: PackedStore, material: Material, seed: int = 0
) -> dict[int, NDArray[np.float64]]:
    """Track the pitch of `PITCH_MINUTES` of either split, drawn once for all systems.

    By place in the store: Hz every 10 ms from 5 ms on, nan where there is no voice.
    """
    from vqspeech.metrics.pitch import f0_at

    rng = np.random.default_rng(seed)
    found = {}
    for indices in (material.fitted, material.scored):
        for index in draw_utterances(indices, store, PITCH_MINUTES, rng):
            wav = store.wav(index)
            steps = -(-len(wav) * _TRACK_RATE_HZ // store.sample_rate)
            times_s = (np.arange(steps) + 0.5) / _TRACK_RATE_HZ
            found[index] = f0_at(wav, store.sample_rate, times_s)
    return found


def study_system(
    system: System,
    store: PackedStore,
    material: Material,
    pitch: Mapping[int, NDArray[np.float64]],
    *,
    seed: int = 0,
    step: Callable[[str], object] = lambda note: None,
) -> SystemStudy:
    """Measure one system on `material`, with `pitch` from `track_pitch`; each recording is encoded once.

    `seed` is of the controls, the bootstrap and the draws of ABX; `step` is called `STEPS` times, with what is done.

    Raises
    ------
    ConfigurationError
        When the system and the store have different sample rates.
    CorpusError
        When no label of a split is in the phone set.
    """
    readable = [index for index in material.scored if index in material.labels]
    drawn = draw_utterances(readable, store, ABX_MINUTES, np.random.default_rng(seed))
    vectors: dict[int, Vectors] = dict.fromkeys(drawn, np.empty((0, 0), np.float32))

    def codes_of(index: int) -> NDArray[np.int64]:
        found = system.vectors_of(store, index)
        if index in vectors:
            vectors[index] = found
        return system.quantize(found)

    aligned = align_corpus(system, store, material, codes_of)
    speakers = tuple(store.utterances[i].speaker for i in aligned.scored)
    step(f"{system.name}: encoded")
    cost = _cost(system, aligned, speakers)
    step(f"{system.name}: bits")
    phonemes = score_alignment(system, aligned, np.random.default_rng(seed))
    step(f"{system.name}: phones")
    boundaries = _boundaries(system, store, material, aligned, seed)
    step(f"{system.name}: boundaries")
    errors = _abx(system, store, material, aligned, vectors, seed)
    step(f"{system.name}: ABX")
    table = histograms([part.codes for part in aligned.test], system.codebook_size)
    speaker = speaker_probe(table, speakers, seed=seed)
    probed = pitch_probe(
        _with_pitch(system, aligned.fitted, aligned.train, pitch),
        _with_pitch(system, aligned.scored, aligned.test, pitch),
        system.codebook_size,
        seed=seed,
    )
    step(f"{system.name}: speakers and pitch")
    return SystemStudy(
        system=system,
        aligned=aligned,
        speakers=speakers,
        cost=cost,
        phonemes=phonemes,
        abx=errors,
        boundaries=boundaries,
        speaker=speaker,
        leakage=speaker_leakage(table, speakers, seed=seed),
        pitch=probed,
    )


STEPS = 6
"""How often `study_system` reports."""


def sanity_checks(study: SystemStudy) -> list[str]:
    """Say what of a system's codes cannot be meant.

    Codes in another order than their frames, through a careless reshape or a wrong hop, know as little of phones as
    shuffled codes do: their map accuracy lies in the interval of that control.
    """
    found = []
    for policy, scores in study.policies.items():
        high = scores.shuffled_interval.high
        if scores.map_accuracy <= high:
            found.append(
                f"{study.system.name}, {policy.replace('_', ' ')}: no better than shuffled codes: "
                f"a map accuracy of {scores.map_accuracy:.1%} lies within what codes shuffled in "
                f"time reach ({scores.shuffled:.1%}, 95 % of shuffles and utterances up to "
                f"{high:.1%}). Either the codes know nothing of phones, or frames and labels are "
                "not in the same order: look for a wrong reshape, hop or start."
            )
    return found


def _cost(system: System, aligned: AlignedCorpus, speakers: Sequence[str]) -> CodeCost:
    test = [part.codes for part in aligned.test]
    nats = None
    if system.code_nats is not None:
        nats = [system.code_nats(codes, who) for codes, who in zip(test, speakers, strict=True)]
    return code_cost(
        [part.codes for part in aligned.train],
        test,
        system.codebook_size,
        hop=system.hop,
        sample_rate=system.sample_rate,
        prior_nats=nats,
    )


def _boundaries(
    system: System,
    store: PackedStore,
    material: Material,
    aligned: AlignedCorpus,
    seed: int,
) -> Boundaries:
    counts, even_counts = [], []
    for index, part in zip(aligned.scored, aligned.test, strict=True):
        utterance = store.utterances[index]
        start_s = utterance.start_s
        end_s = start_s + utterance.samples / store.sample_rate
        true_s = phone_boundaries_s(material.labels[index], start_s, end_s)
        found_s = code_boundaries_s(part.codes, system.hop, system.sample_rate, start_s)
        counts.append(count_hits(found_s, true_s))
        even_counts.append(count_hits(even_boundaries_s(len(found_s), start_s, end_s), true_s))
    # F1 is a ratio of sums over utterances, which is what the bootstrap takes.
    doubled, both = [2 * c.hits for c in counts], [c.found + c.true for c in counts]
    rng = np.random.default_rng(seed)
    return Boundaries(
        codes=boundary_scores(sum(counts, BoundaryCounts())),
        f1_interval=interval_95(resampled_ratios(doubled, both, rng)),
        even=boundary_scores(sum(even_counts, BoundaryCounts())),
    )


def _abx(
    system: System,
    store: PackedStore,
    material: Material,
    aligned: AlignedCorpus,
    vectors_of: Mapping[int, Vectors],
    seed: int,
) -> dict[str, AbxScore]:
    items: list[Item] = []
    codes_of = dict(zip(aligned.scored, aligned.test, strict=True))
    for number, index in enumerate(vectors_of):
        utterance = store.utterances[index]
        frames = len(codes_of[index].codes)
        times_s = frame_centres_s(frames, system.hop, system.sample_rate, utterance.start_s)
        items += phone_items(material.labels[index], times_s, number, utterance.speaker)
    codes = [codes_of[index].codes for index in vectors_of]
    vectors = list(vectors_of.values())
    features: dict[str, list[NDArray[Any]]] = {"codes": codes, "vectors": vectors}
    return {
        f"{'across' if across else 'within'}_{kind}": abx(
            items,
            of,
            in_context=False,
            across_speakers=across,
            max_tokens=ABX_TOKENS,
            seed=seed,
        )
        for kind, of in features.items()
        for across in (False, True)
    }


def _with_pitch(
    system: System,
    indices: Sequence[int],
    parts: Sequence[Aligned],
    pitch: Mapping[int, NDArray[np.float64]],
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Pair the codes of tracked utterances with the pitch at their frames' centres."""
    found = []
    for index, part in zip(indices, parts, strict=True):
        if index in pitch:
            times_s = frame_centres_s(len(part.codes), system.hop, system.sample_rate)
            steps = (times_s * _TRACK_RATE_HZ).astype(np.int64)
            found.append((part.codes, pitch[index][np.minimum(steps, len(pitch[index]) - 1)]))
    return found
