"""One evaluation of a model on a corpus: likelihood, codes, sound judged, and phones, all figures with baselines."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vqspeech.analysis.material import choose_material, draw_utterances
from vqspeech.analysis.phoneme_study import Coder, PhonemeStudy, align_corpus, score_alignment
from vqspeech.analysis.systems import mfcc_shapes, mfcc_system
from vqspeech.corpus.store import PackedStore
from vqspeech.evaluation.encoded import EncodedStore
from vqspeech.evaluation.judges import SPEAKERS, WORDS, Judges
from vqspeech.evaluation.judging import Group, Judged, group, judge
from vqspeech.evaluation.speaking import Spoken, speak
from vqspeech.evaluation.trials import Plan
from vqspeech.jobs.progress import Progress
from vqspeech.metrics.contour_rate import ContourCost, contour_cost
from vqspeech.metrics.rate import CodeCost, CodeNats, code_cost
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.sampling import Sampling
from vqspeech.training.validate import HeldOut, held_out, scorable

Found = TypeVar("Found")

PHONE_MINUTES = 20.0
"""How much of the train split codes are mapped to phones on."""

COUNTED_MINUTES = 60.0
"""How much of the train split codes are counted on."""


@dataclass(frozen=True)
class Evaluation:
    """All that was found of a model on a corpus.

    Attributes
    ----------
    model : mapping of str to object
        What the model is.
    corpus : str
        What the store was made from.
    sample_rate : int
        Hz.
    plan : Plan
        What was made.
    sampling : mapping of str to object
        How.
    measured : mapping of str to str
        Who judged, by the names in `JUDGES`, and what that is.
    likelihood : HeldOut or None
        Of the split.
    codes : CodeCost or None
        What the codes of the split cost, those of speakers that the model knows where there are any.
    groups : tuple of Group
        By kind, all together before the parts.
    trials : tuple of Judged
        As in the plan.
    phones : mapping of str to PhonemeStudy
        Of the model and of k-means of MFCC; empty without labels.
    sound_s, took_s : float
        As in `Spoken`.
    remarks : tuple of str
        What was left out, and why.
    contour : ContourCost or None
        What contours of the split would cost; None of a model that takes no pitch.
    """

    model: Mapping[str, object]
    corpus: str
    sample_rate: int
    plan: Plan
    sampling: Mapping[str, object]
    measured: Mapping[str, str]
    likelihood: HeldOut | None
    codes: CodeCost | None
    groups: tuple[Group, ...]
    trials: tuple[Judged, ...]
    phones: Mapping[str, PhonemeStudy]
    sound_s: float
    took_s: float
    remarks: tuple[str, ...]
    contour: ContourCost | None = None


def evaluate(
    model: Autoencoder,
    name: str,
    store: PackedStore,
    plan: Plan,
    judges: Judges,
    *,
    sampling: Sampling,
    seed: int = 0,
    likelihood_s: float = inf,
    codes: bool = True,
    code_nats: CodeNats | None = None,
    phones: bool = True,
    pitch: str = "source",
) -> tuple[Evaluation, Spoken]:
    """Judge a model, called `name`, in evaluation mode, on a store at its rate.

    Parameters
    ----------
    sampling : Sampling
        How sound is drawn, engine and mode decided.
    seed : int
        Of the sampler and the draws.
    likelihood_s : float
        Seconds of the split whose likelihood is taken; 0 for none.
    codes : bool
        Whether to say what codes cost, and with `code_nats` what they cost under a learned prior.
    phones : bool
        Whether to hold codes against phone labels.
    pitch : str
        Contour of a model that takes pitch: ``source``, ``predicted`` or ``drawn``.

    Returns
    -------
    evaluation : Evaluation
        What was found; all but the times is the same for the same arguments.
    spoken : Spoken
        The sound that was judged.

    Raises
    ------
    ConfigurationError
        When the engine cannot run here.
    CorpusError
        When labels cannot be read.
    """
    encoded = EncodedStore(model, store)
    remarks = list(plan.remarks)
    voiced = model.decoder.pitch is not None
    likelihood = None
    if likelihood_s > 0 and scorable(store, plan.split, model.speakers):
        likelihood = held_out(
            model,
            store,
            plan.split,
            likelihood_s,
            encoding_of=encoded.encoding,
            contour_of=encoded.contour if voiced else None,
        )
    cost = contour = None
    if codes and voiced:
        contour = _study_contours(encoded, plan.split, seed)
    if codes and model.discrete:
        cost = _study_codes(encoded, plan.split, code_nats, seed)
    spoken = speak(encoded, plan, sampling, seed, pitch)
    trials = judge(judges, store, plan, spoken, model.config.levels, encoded.contour)
    studies: dict[str, PhonemeStudy] = {}
    if phones and not model.discrete:
        remarks.append("The model has no codes to hold against phones: they are left out.")
    elif phones and not has_labels(store):
        remarks.append("The corpus has no phone labels in train and test: phones are left out.")
    elif phones:
        studies = _study_phones(encoded, name, seed)
    measured = judges.sitting
    unlearned = sorted({trial.target for trial in plan.trials} - plan.references.keys())
    if unlearned and SPEAKERS in measured:
        remarks.append(
            f"Too little train recording for a centroid: {', '.join(unlearned)}; whether conversions to "
            "them are near is not measured."
        )
    if WORDS in measured and not any(of.text for of in trials):
        del measured[WORDS]
        remarks.append("No utterance that was spoken has a text: words are left out.")
    found = Evaluation(
        model={
            "name": name,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "frame_rate_hz": model.frame_rate_hz,
            "codebook_size": model.codebook_size if model.discrete else None,
            "speakers": list(model.speakers),
        },
        corpus=store.corpus,
        sample_rate=store.sample_rate,
        plan=plan,
        sampling={
            "engine": sampling.engine,
            "mode": sampling.mode,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "post_filter": sampling.post_filter,
            "seed": seed,
            **({"pitch": pitch} if voiced else {}),
        },
        measured=measured,
        likelihood=likelihood,
        codes=cost,
        groups=group(trials, model.speakers),
        trials=trials,
        phones=studies,
        sound_s=spoken.sound_s,
        took_s=spoken.took_s,
        remarks=tuple(remarks),
        contour=contour,
    )
    return found, spoken


def _study_codes(
    encoded: EncodedStore, split: str, code_nats: CodeNats | None = None, seed: int = 0
) -> CodeCost | None:
    """Say what codes of a split cost, those of known speakers where there are any; None without a train split."""
    model, store = encoded.model, encoded.store
    split_up = _counted_and_scored(model, store, split, seed)
    if split_up is None:
        return None
    _, scored = split_up
    train, test = _of_each("codes", encoded.codes, *split_up)
    nats = None
    if code_nats is not None:
        speakers = (store.utterances[index].speaker for index in scored)
        nats = [code_nats(codes, who) for codes, who in zip(test, speakers, strict=True)]
    return code_cost(
        train,
        test,
        model.codebook_size,
        hop=model.hop,
        sample_rate=model.sample_rate,
        prior_nats=nats,
    )


def _study_contours(encoded: EncodedStore, split: str, seed: int = 0) -> ContourCost | None:
    """Say what pitch contours would cost beside codes; arguments and utterances are those of `_study_codes`."""
    split_up = _counted_and_scored(encoded.model, encoded.store, split, seed)
    return (
        None
        if split_up is None
        else contour_cost(*_of_each("contours", encoded.contour, *split_up))
    )


def _counted_and_scored(
    model: Autoencoder, store: PackedStore, split: str, seed: int
) -> tuple[list[int], list[int]] | None:
    counted = [int(i) for i in store.indices("train")]
    if not counted:
        return None
    counted = draw_utterances(counted, store, COUNTED_MINUTES, np.random.default_rng(seed))
    scored = scorable(store, split, model.speakers) or [int(i) for i in store.indices(split)]
    return counted, scored


def _of_each(
    what: str, found: Callable[[int], Found], *indices: Sequence[int]
) -> tuple[list[Found], ...]:
    """What is `found` of each utterance, with progress."""
    with Progress(sum(map(len, indices)), "utterances", what) as bar:

        def counted(index: int) -> Found:
            bar.update()
            return found(index)

        return tuple([counted(index) for index in part] for part in indices)


def _study_phones(encoded: EncodedStore, name: str, seed: int = 0) -> dict[str, PhonemeStudy]:
    """Score the codes of a model called `name`, and k-means of MFCC, against phone labels: studies by name."""
    store, rng = encoded.store, np.random.default_rng(seed)
    material = choose_material(store, PHONE_MINUTES, rng)

    coders: dict[str, tuple[Coder, Callable[[int], NDArray[np.int64]]]] = {
        name: (encoded.model, encoded.codes)
    }
    for shape in mfcc_shapes([encoded.model]):
        baseline = mfcc_system(store, material.fitted, *shape, seed)
        coders[baseline.name] = (baseline, partial(baseline.codes_of, store))
    found = {}
    for who, (coder, codes) in coders.items():
        with Progress(len(material.fitted), "utterances", f"phones, {who}") as bar:

            def report(done: int, total: int, bar: Progress = bar) -> None:
                bar.total = total
                bar.update(done - bar.done)

            aligned = align_corpus(coder, store, material, codes, report)
        # both go on from where the draw of utterances left off
        found[who] = score_alignment(coder, aligned, deepcopy(rng))
    return found


def has_labels(store: PackedStore) -> bool:
    """Tell whether phones can be studied: utterances with labels in train and test."""
    splits = {utterance.split for utterance in store.utterances if utterance.labels is not None}
    return {"train", "test"} <= splits
