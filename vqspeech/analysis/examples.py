"""Utterances of the test split to look at and to listen to: what was said, its codes, and sound made of them.

Times are seconds from the beginning of the excerpt. Of a long utterance the first `EXCERPT_S`
seconds are taken. Each model speaks the excerpt again in its own speaker's voice (reconstruction)
and in another one's (conversion), beside the recording.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vqspeech.analysis.material import by_turns
from vqspeech.analysis.systems import System
from vqspeech.corpus.store import PackedStore
from vqspeech.labels.frames import Interval
from vqspeech.labels.phones import SILENCE, to_arpabet
from vqspeech.labels.textgrid import to_textgrid

if TYPE_CHECKING:
    from vqspeech.models.autoencoder import Autoencoder

EXCERPT_S = 4.0
"""Longest excerpt: sound is drawn at a few times real time."""


@dataclass(frozen=True, eq=False)
class Sound:
    """One recording to listen to.

    Attributes
    ----------
    title : str
        What it is.
    wav : ndarray of float32, shape (samples,)
        The recording.
    """

    title: str
    wav: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Example:
    """An excerpt of an utterance with all that is shown of it.

    Attributes
    ----------
    utterance, speaker, text : str
        Its name, who speaks, and what is said, which may be empty or go on after the excerpt.
    sample_rate : int
        Hz.
    wav : ndarray of float32, shape (samples,)
        The recording.
    phones : tuple of Interval
        Phones and silence, end to end, from 0 to its duration.
    codes : mapping of str to ndarray of int64
        Codes of each system, by name.
    sounds : tuple of Sound
        The recording, then what models make of it.
    """

    utterance: str
    speaker: str
    text: str
    sample_rate: int
    wav: NDArray[np.float32]
    phones: tuple[Interval, ...]
    codes: Mapping[str, NDArray[np.int64]]
    sounds: tuple[Sound, ...]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.wav) / self.sample_rate


def choose_examples(store: PackedStore, indices: Sequence[int], count: int) -> list[int]:
    """Choose at most `count` utterances of `indices`, by as many speakers as possible.

    Of each speaker in turn the longest that is not longer than `EXCERPT_S`, then the next; longer ones come last.
    """

    def nearness(index: int) -> tuple[bool, float, int]:
        duration_s = store.utterances[index].samples / store.sample_rate
        return duration_s > EXCERPT_S, abs(duration_s - EXCERPT_S), index

    return by_turns(store, sorted(indices, key=nearness), count)


def make_examples(
    models: Mapping[str, "Autoencoder"],
    systems: Sequence[System],
    store: PackedStore,
    labels: Mapping[int, Sequence[Interval]],
    indices: Sequence[int],
    seed: int = 0,
) -> list[Example]:
    """Encode excerpts of utterances, and let models speak them again, in voices that they know.

    Each of the models is one of the systems, by the same name; `labels` are those of the utterances by their places,
    and `seed` is the sampler's.
    """
    from vqspeech.models.decoding import Request

    if not indices:
        return []
    limit = round(EXCERPT_S * store.sample_rate)
    wavs = [store.wav(index)[:limit] for index in indices]
    speakers = [store.utterances[index].speaker for index in indices]
    sounds = [[Sound(f"recording of {who}", wav)] for who, wav in zip(speakers, wavs, strict=True)]
    codes = {system.name: [system.encode(wav) for wav in wavs] for system in systems}
    for name, model in models.items():
        jobs = [
            (place, voice)
            for place, who in enumerate(speakers)
            for voice in (who, _other(model.speakers, speakers, place))
            if voice in model.speakers
        ]
        if not jobs:
            continue
        made = dict(
            model.decode_many(
                Request(codes[name][place], voice, len(wavs[place]), seed) for place, voice in jobs
            )
        )
        for number, (place, voice) in enumerate(jobs):
            wav = made[number]
            deed = "reconstructed" if voice == speakers[place] else "converted"
            sounds[place].append(Sound(f"{name}: {deed}, voice of {voice}", wav.numpy()))
    return [
        Example(
            utterance=store.utterances[index].utterance,
            speaker=speakers[place],
            text=store.utterances[index].text,
            sample_rate=store.sample_rate,
            wav=wavs[place],
            phones=excerpt_phones(
                labels[index], store.utterances[index].start_s, len(wavs[place]) / store.sample_rate
            ),
            codes={name: sequences[place] for name, sequences in codes.items()},
            sounds=tuple(sounds[place]),
        )
        for place, index in enumerate(indices)
    ]


def excerpt_phones(
    labels: Sequence[Interval], start_s: float, duration_s: float
) -> tuple[Interval, ...]:
    """Cut labels to the `duration_s` seconds from `start_s` on.

    They come end to end from 0, with silence where nothing is labelled; phones as `PHONES` spells them, labels outside
    that set as the file does.
    """
    found: list[Interval] = []
    end_s = 0.0
    for interval in labels:
        first_s = max(interval.start_s - start_s, end_s)
        stop_s = min(interval.end_s - start_s, duration_s)
        if stop_s <= first_s:
            continue
        if first_s > end_s:
            found.append(Interval(end_s, first_s, SILENCE))
        found.append(Interval(first_s, stop_s, to_arpabet(interval.label) or interval.label))
        end_s = stop_s
    if end_s < duration_s:
        found.append(Interval(end_s, duration_s, SILENCE))
    return tuple(found)


def code_runs(codes: NDArray[np.int64], hop: int, sample_rate: int, samples: int) -> list[Interval]:
    """Turn codes (frames,) of an excerpt of so many samples into intervals, one for each run of equal codes."""
    edges = [0, *(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist(), len(codes)]
    return [
        Interval(
            start * hop / sample_rate,
            min(stop * hop, samples) / sample_rate,
            str(codes[start]),
        )
        for start, stop in pairwise(edges)
    ]


def example_textgrid(example: Example, systems: Sequence[System]) -> str:
    """Write the phones of an excerpt, and the codes of each system, one interval a run, as a Praat TextGrid.

    The tier of codes is called ``codes`` of one system, else by its name.
    """
    found = {"phones": list(example.phones)}
    for system in systems:
        tier = "codes" if len(systems) == 1 else f"codes: {system.name}"
        found[tier] = code_runs(
            example.codes[system.name], system.hop, system.sample_rate, len(example.wav)
        )
    return to_textgrid(
        {
            tier: [(of.start_s, of.end_s, of.label) for of in intervals]
            for tier, intervals in found.items()
        },
        example.duration_s,
    )


def _other(known: Sequence[str], speakers: Sequence[str], place: int) -> str | None:
    """Name the voice to convert to: that of the next example by someone else, so that it can be compared."""
    who = speakers[place]
    candidates = (*speakers[place + 1 :], *speakers[:place], *known)
    return next((voice for voice in candidates if voice != who and voice in known), None)
