"""What linear probes find in the latents of a model, with codes or without: phones, and who speaks.

The latents are what the decoder gets in evaluation, so that vectors of codes and latents that no codebook bounds are
measured alike. As a baseline, phones are named by frames of MFCC in their place.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vqspeech
from vqspeech.analysis.material import choose_utterances, draw_utterances
from vqspeech.analysis.phoneme_study import frame_phones, study_phonemes
from vqspeech.analysis.systems import mfcc_frames
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import exit_status
from vqspeech.evaluation.study import has_labels
from vqspeech.jobs.atomic import write_file
from vqspeech.labels.phones import PHONE_INDEX, SILENCE
from vqspeech.metrics.probes import (
    histograms,
    mean_speaker_probe,
    phone_probe,
    speaker_probe,
)
from vqspeech.report.document import json_text

FITTED_FRAMES = 20_000
"""Frames of the train split that phones are fitted on at most."""

SPEAKER_MINUTES = 20.0
"""Minutes of the train split whose speakers are named, beside the test split."""

Vectors = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Turns a wav (samples,) into vectors (frames, dim)."""


def probe_phones(vectors: Vectors, store: PackedStore, hop: int, seed: int) -> dict[str, Any]:
    """Name phones, silence left out, by vectors: fitted on train, scored on test; see `PhoneProbe`."""
    rng = np.random.default_rng(seed)
    minutes = FITTED_FRAMES * hop / store.sample_rate / 60
    fitted, scored = choose_utterances(store, minutes, rng)
    silence = PHONE_INDEX[SILENCE]

    def pairs(indices: list[int]) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        found = []
        for index in indices:
            phones = frame_phones(store, index, hop, Counter())
            found.append((vectors(store.wav(index)), np.where(phones == silence, -1, phones)))
        return found

    return asdict(phone_probe(pairs(fitted), pairs(scored), seed=seed))


def probe_mfcc(store: PackedStore, hop: int, seed: int = 0) -> dict[str, Any] | None:
    """Name phones by MFCC as `probe_phones` by latents; None without labels."""
    if not has_labels(store):
        return None

    def vectors(wav: NDArray[np.float32]) -> NDArray[np.float32]:
        return mfcc_frames(wav, store.sample_rate, hop)

    return {"probe": probe_phones(vectors, store, hop, seed)}


def spoken(store: PackedStore, seed: int) -> list[int]:
    """Utterances whose speakers are named: `SPEAKER_MINUTES` of train, and test."""
    train = [int(i) for i in store.indices("train")]
    drawn = draw_utterances(train, store, SPEAKER_MINUTES, np.random.default_rng(seed))
    return drawn + [int(i) for i in store.indices("test")]


def probe_model(path: Path, store: PackedStore, seed: int = 0) -> dict[str, Any]:
    """Probe the latents of a model, and its codes if it has any.

    Parameters
    ----------
    path : Path
        The model file.
    store : PackedStore
        The corpus, at the model's rate.
    seed : int
        Of all draws.

    Returns
    -------
    dict
        JSON values: ``kind``, ``hop``, ``frame_rate_hz``, and what `probe` returns.

    Raises
    ------
    ConfigurationError
        The rates differ.
    VqspeechError
        The model or labels cannot be read.
    """
    model = vqspeech.load(path)
    store.require_rate(model.sample_rate)
    found = probe(lambda wav: model.latents(wav).numpy().T, store, model.hop, seed)
    if model.discrete:
        if has_labels(store):
            study = study_phonemes(model, store, seed=seed).without_silence
            names = ("map_accuracy", "map_accuracy_interval", "chance", "shuffled")
            found["phones"]["map"] = {name: getattr(study, name) for name in names}
        chosen = spoken(store, seed)
        counts = histograms(
            [model.encode(store.wav(i)).numpy() for i in chosen], model.codebook_size
        )
        names_of = [store.utterances[i].speaker for i in chosen]
        found["speakers"]["histograms"] = asdict(speaker_probe(counts, names_of, seed=seed))
    kind = model.config.bottleneck["kind"]
    return {"kind": kind, "hop": model.hop, "frame_rate_hz": model.frame_rate_hz, **found}


def probe(vectors: Vectors, store: PackedStore, hop: int, seed: int) -> dict[str, Any]:
    """Probe vectors for phones, where the corpus has labels, and for speakers.

    Returns
    -------
    dict
        ``phones``: ``probe``, or None without labels; ``speakers``: ``means``, by the mean vector of an utterance.
    """
    phones = {"probe": probe_phones(vectors, store, hop, seed)} if has_labels(store) else None
    chosen = spoken(store, seed)
    means = np.stack([vectors(store.wav(i)).mean(0) for i in chosen])
    speakers = mean_speaker_probe(means, [store.utterances[i].speaker for i in chosen], seed=seed)
    return {"phones": phones, "speakers": {"means": asdict(speakers)}}


@exit_status("probe_latents")
def main() -> None:
    """Parse, probe, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    of = parser.add_mutually_exclusive_group(required=True)
    of.add_argument("--model", type=Path)
    of.add_argument("--mfcc", type=Path, metavar="MODEL", help="MFCC at the frame rate of a model")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    store = PackedStore(args.store)
    if args.model is not None:
        found = probe_model(args.model, store)
    else:
        hop = vqspeech.load(args.mfcc).hop
        # normalised over an utterance, they have nothing left to say of who speaks
        found = {"phones": probe_mfcc(store, hop)}
    write_file(args.out, json_text(found, indent=1))


if __name__ == "__main__":
    sys.exit(main())
