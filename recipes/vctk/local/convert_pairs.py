"""Ten held-out utterances, five by low voices and five by high ones, each in a voice of the other kind.

Speakers are ordered by the median F0 of their training speech. The test is on pitch alone: has the converted utterance
moved from the source's median F0 towards the target's? A decoder that ignored the speaker would move none of them
systematically; a coin would move five of ten.
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

import vqspeech
from vqspeech import audio
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError, VqspeechError
from vqspeech.jobs.atomic import write_atomically
from vqspeech.jobs.progress import Progress
from vqspeech.metrics.pitch import median_f0_hz, moved_towards
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.decoding import Request
from vqspeech.sampling import Sampling

UTTERANCES_FOR_F0 = 6
"""Utterances that decide the median F0 of a speaker."""

LENGTH_S = 2.0
"""Utterances nearest to this length are taken: long enough for a phrase, quick to sample."""

TEMPERATURE = 0.8
"""Of the sampler: a decoder that has trained for minutes spreads its guesses, and at 1 it whispers."""


@dataclass(frozen=True)
class Pair:
    """One conversion to make: which utterance of the store, in whose voice."""

    index: int
    target: str


@dataclass(frozen=True)
class Conversion:
    """One conversion that was made.

    Attributes
    ----------
    source, target : str
        Speakers.
    source_file, converted_file : str
        Sound files in the output folder.
    source_f0_hz, converted_f0_hz : float or None
        Median F0 of the two files; None where nothing is voiced.
    target_f0_hz : float
        Median F0 of the target's training speech.
    moved : bool
        Whether the converted F0 is nearer to the target's than the source's is, in log frequency.
    """

    source: str
    target: str
    source_file: str
    converted_file: str
    source_f0_hz: float | None
    target_f0_hz: float
    converted_f0_hz: float | None
    moved: bool


def nearest_in_length(store: PackedStore, indices: list[int]) -> list[int]:
    """Return `indices` with the utterances nearest to `LENGTH_S` first."""
    return sorted(
        indices, key=lambda i: abs(store.utterances[i].samples / store.sample_rate - LENGTH_S)
    )


def f0_by_speaker(store: PackedStore, split: str) -> dict[str, float]:
    """Measure the median F0 of every speaker of `split`, Hz, lowest first; wholly unvoiced speakers are left out."""
    own: dict[str, list[int]] = defaultdict(list)
    for index in nearest_in_length(store, store.indices(split).tolist()):
        own[store.utterances[index].speaker].append(index)
    found: dict[str, float] = {}
    with Progress(len(own), "speakers", f"median F0, split {split}") as progress:
        for speaker, indices in own.items():
            speech = [store.wav(index) for index in indices[:UTTERANCES_FOR_F0]]
            f0 = median_f0_hz(np.concatenate(speech), store.sample_rate)
            if math.isfinite(f0):
                found[speaker] = f0
            progress.update()
    return dict(sorted(found.items(), key=lambda item: item[1]))


def choose_pairs(store: PackedStore, target_f0: dict[str, float], count: int = 10) -> list[Pair]:
    """Pair test utterances of low voices with high targets and the reverse, the most distant voices first.

    Parameters
    ----------
    store : PackedStore
        Holds the test split.
    target_f0 : dict
        Median F0 of the speakers that the model knows, Hz, lowest first.
    count : int
        Conversions; half in each direction.

    Raises
    ------
    CorpusError
        When there are fewer than two targets, or no test utterance of one of the two kinds.
    """
    if len(target_f0) < 2:
        raise CorpusError(
            f"{len(target_f0)} voiced speakers in the training split, expected 2 or more"
        )
    names = list(target_f0)
    middle = len(names) // 2
    border = math.sqrt(target_f0[names[middle - 1]] * target_f0[names[middle]])
    source_f0 = f0_by_speaker(store, "test") | target_f0
    utterances: dict[str, list[int]] = defaultdict(list)
    for index in nearest_in_length(store, store.indices("test").tolist()):
        utterances[store.utterances[index].speaker].append(index)
    known = sorted(utterances.keys() & source_f0.keys(), key=source_f0.__getitem__)
    low = [name for name in known if source_f0[name] < border]
    high = [name for name in reversed(known) if source_f0[name] >= border]
    pairs: list[Pair] = []
    for sources, targets, kind in (
        (low, names[: middle - 1 : -1], "low"),
        (high, names[:middle], "high"),
    ):
        if not sources:
            raise CorpusError(f"no test utterance by a {kind} voice: conversions cannot be paired")
        # Each source speaker in turn, one more utterance every round; round again when there are too few.
        queues = {name: cycle(utterances[name]) for name in sources}
        for source, target, _ in zip(
            cycle(sources), cycle(targets), range(count // 2), strict=False
        ):
            pairs.append(Pair(next(queues[source]), target))
    return pairs


def convert(
    model: Autoencoder,
    store: PackedStore,
    pairs: list[Pair],
    target_f0: dict[str, float],
    out: Path,
) -> list[Conversion]:
    """Make all conversions in one lockstep batch, write source and result side by side, and measure them."""
    sources = [store.wav(pair.index) for pair in pairs]
    with Progress(sum(map(len, sources)), "samples", "converting") as bar:
        requests = [
            Request(model.conditioning(wav), pair.target, len(wav), seed)
            for seed, (pair, wav) in enumerate(zip(pairs, sources, strict=True))
        ]
        wavs = dict(
            model.decode_many(
                requests,
                Sampling(temperature=TEMPERATURE),
                lambda done, _total: bar.update(done - bar.done),
            )
        )
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for place, (pair, source) in enumerate(zip(pairs, sources, strict=True)):
        wav = wavs[place]
        utterance = store.utterances[pair.index]
        stem = utterance.utterance
        if not stem.startswith(utterance.speaker):
            # Corpora in which speakers read the same sentences give them the same name.
            stem = f"{utterance.speaker}_{stem}"
        # Names come from the corpus: without a separator all files stay in the folder.
        source_file = f"{stem}.wav".replace("/", "_")
        converted_file = f"{stem}-{pair.target}.wav".replace("/", "_")
        audio.write(out / source_file, source, store.sample_rate, force=True)
        audio.write(out / converted_file, wav.numpy(), model.sample_rate, force=True)
        f0_from = median_f0_hz(source, store.sample_rate)
        f0_to = median_f0_hz(wav.numpy(), model.sample_rate)
        goal = target_f0[pair.target]
        made.append(
            Conversion(
                source=utterance.speaker,
                target=pair.target,
                source_file=source_file,
                converted_file=converted_file,
                source_f0_hz=_finite(f0_from),
                target_f0_hz=goal,
                converted_f0_hz=_finite(f0_to),
                moved=moved_towards(f0_from, f0_to, goal),
            )
        )
    return made


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def main() -> int:
    """Parse, convert, write ``conversions.json`` last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10)
    args = parser.parse_args()
    try:
        model, store = vqspeech.load(args.model), PackedStore(args.store)
        f0 = {k: v for k, v in f0_by_speaker(store, "train").items() if k in model.speakers}
        made = convert(model, store, choose_pairs(store, f0, args.count), f0, args.out)
    except VqspeechError as error:
        print(f"convert_pairs: {error}", file=sys.stderr)
        return 1
    content = json.dumps([asdict(conversion) for conversion in made], indent=1)

    def save(temporary: Path) -> None:
        temporary.write_text(content + "\n", encoding="utf-8")

    write_atomically(args.out / "conversions.json", save)
    moved = sum(conversion.moved for conversion in made)
    print(f"{moved} of {len(made)} conversions moved towards the target's F0: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
