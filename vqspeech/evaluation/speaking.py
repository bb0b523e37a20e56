"""The sound that is judged: what a model makes of a plan, and the µ-law round trip that stands beside it."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vqspeech.audio.mulaw import mulaw_decode, mulaw_encode
from vqspeech.evaluation.encoded import EncodedStore
from vqspeech.evaluation.trials import Plan, Trial
from vqspeech.jobs.progress import Progress
from vqspeech.models.decoding import Request
from vqspeech.sampling import Sampling


@dataclass(frozen=True)
class Spoken:
    """Sound that the model made.

    Attributes
    ----------
    wavs : tuple of ndarray of float32, shape (samples,)
        One a trial.
    sound_s, took_s : float
        How long they are, and how long decoding took, with encoding where a source was not encoded before.
    """

    wavs: tuple[NDArray[np.float32], ...]
    sound_s: float
    took_s: float


def speak(
    encoded: EncodedStore, plan: Plan, sampling: Sampling, seed: int, pitch: str = "source"
) -> Spoken:
    """Make every recording of a plan as ``vqspeech convert`` does, each as long as its source, to the sample.

    `seed` is that of every recording; `pitch` is one of `PITCH`, see `Autoencoder.convert`.
    """
    model, store = encoded.model, encoded.store
    lengths = [store.utterances[trial.index].samples for trial in plan.trials]
    started = time.monotonic()

    def request(trial: Trial) -> Request:
        conditioning, contour = encoded.encoding(trial.index).conditioning, None
        if model.decoder.pitch is not None:
            tracked = encoded.contour(trial.index) if pitch == "source" else None
            drawn = seed if pitch == "drawn" else None
            contour = model.contour(conditioning, trial.target, tracked, seed=drawn)
        samples = store.utterances[trial.index].samples
        return Request(conditioning, trial.target, samples, seed, contour)

    with Progress(sum(lengths), "samples", "speaking") as bar:
        requests = [request(trial) for trial in plan.trials]
        made = dict(
            model.decode_many(requests, sampling, lambda done, _: bar.update(done - bar.done))
        )
    return Spoken(
        tuple(made[place].numpy() for place in range(len(lengths))),
        sum(lengths) / store.sample_rate,
        time.monotonic() - started,
    )


def mulaw_round_trip(wav: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Quantize a wav (samples,) to µ-law levels and back."""
    coded = mulaw_encode(torch.from_numpy(np.ascontiguousarray(wav)), levels)
    return np.asarray(mulaw_decode(coded, levels).numpy(), np.float32)
