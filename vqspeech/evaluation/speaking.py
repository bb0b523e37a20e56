"""The sound that is judged: what a model makes of a plan, and the µ-law round trip that stands beside it."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from vqspeech.audio.mulaw import mulaw_decode, mulaw_encode
from vqspeech.audio.pitch import track
from vqspeech.evaluation.trials import Plan
from vqspeech.jobs.progress import Progress

if TYPE_CHECKING:
    from vqspeech.corpus.store import PackedStore
    from vqspeech.models.autoencoder import Autoencoder
    from vqspeech.sampling.engine import Sampling

LOCKSTEP = 256
"""Recordings decoded together: a step costs little more for many of them than for one."""


@dataclass(frozen=True)
class Spoken:
    """Sound that the model made.

    Attributes
    ----------
    wavs : tuple of ndarray of float32, shape (samples,)
        One a trial.
    sound_s, took_s : float
        How long they are, and how long encoding and decoding took.
    """

    wavs: tuple[NDArray[np.float32], ...]
    sound_s: float
    took_s: float


def speak(
    model: "Autoencoder",
    store: "PackedStore",
    plan: Plan,
    sampling: "Sampling",
    seed: int,
    pitch: str = "source",
) -> Spoken:
    """Make every recording of a plan.

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode.
    store : PackedStore
        The corpus, at the model's rate.
    plan : Plan
        What to make.
    sampling : Sampling
        How levels are drawn.
    seed : int
        Of every recording, as ``vqspeech convert`` does it.
    pitch : str
        Contour of a model that takes pitch: ``source`` or ``predicted``, see `Autoencoder.convert`.

    Returns
    -------
    Spoken
        As long as their sources, to the sample.
    """
    lengths = [store.utterances[trial.index].samples for trial in plan.trials]
    made: dict[int, NDArray[np.float32]] = {}
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    started = time.monotonic()
    told: dict[int, torch.Tensor] = {}
    tracks: dict[int, NDArray[np.float32]] = {}
    voiced = model.decoder.pitch is not None
    with Progress(sum(lengths), "samples", "speaking") as bar:
        for start in range(0, len(order), LOCKSTEP):
            places = order[start : start + LOCKSTEP]
            for place in places:
                index = plan.trials[place].index
                if index not in told:
                    told[index] = model.tell(store.wav(index))
                    if voiced and pitch == "source":
                        tracks[index] = track(store.wav(index), store.sample_rate)
            contours = None
            if voiced:
                asked = ((plan.trials[place].index, plan.trials[place].target) for place in places)
                contours = [model.contour(told[i], who, tracks.get(i)) for i, who in asked]
            before = bar.done
            wavs = model.decode_batch(
                [told[plan.trials[place].index] for place in places],
                [plan.trials[place].target for place in places],
                [lengths[place] for place in places],
                seeds=[seed] * len(places),
                sampling=sampling,
                contours=contours,
                progress=lambda done, _, before=before: bar.update(before + done - bar.done),  # type: ignore[misc]
            )
            made |= {place: wav.numpy() for place, wav in zip(places, wavs, strict=True)}
    return Spoken(
        tuple(made[place] for place in range(len(lengths))),
        sum(lengths) / store.sample_rate,
        time.monotonic() - started,
    )


def mulaw_round_trip(wav: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Quantize a wav (samples,) to µ-law levels and back."""
    coded = mulaw_encode(torch.from_numpy(np.ascontiguousarray(wav)), levels)
    return np.asarray(mulaw_decode(coded, levels).numpy(), np.float32)
