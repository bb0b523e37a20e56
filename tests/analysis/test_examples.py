from pathlib import Path

import numpy as np
import pytest
from labelled_store import HOP, RATE, Spoken, lab_of, write_store
from praatio import textgrid
from studied import reading_system

from vqspeech.analysis.examples import (
    EXCERPT_S,
    choose_examples,
    code_runs,
    example_textgrid,
    excerpt_phones,
    make_examples,
)
from vqspeech.analysis.systems import MFCC, model_system
from vqspeech.corpus.store import PackedStore
from vqspeech.labels.files import Interval, read_labels
from vqspeech.models.autoencoder import Autoencoder


def test_examples_are_by_many_speakers_and_short(mini_store: Path) -> None:
    """No speaker comes twice before all have come once; what fits is preferred."""
    store = PackedStore(mini_store)
    test = store.indices("test").tolist()
    chosen = choose_examples(store, test, 9)
    speakers = [store.utterances[index].speaker for index in chosen]
    assert len(set(speakers[:8])) == 8
    assert len(chosen) == 9
    limit = EXCERPT_S * store.sample_rate
    for index in chosen[:8]:
        own = [i for i in test if store.utterances[i].speaker == store.utterances[index].speaker]
        fits = [i for i in own if store.utterances[i].samples <= limit]
        assert index in (fits or own)
    assert choose_examples(store, test, 0) == []


@pytest.fixture
def store(tmp_path: Path) -> PackedStore:
    """One utterance with labels that begin before it and end before it ends."""
    lab = f"0 2000000 aa\n2000000 {5 * 10**6} s\n"
    return PackedStore(
        write_store(
            tmp_path / "s",
            [Spoken("train", [1], lab_of(["aa"])), Spoken("test", [1, 1, 2] * 20, lab, 0.1)],
        )
    )


def labels_of(store: PackedStore) -> dict[int, list[Interval]]:
    return {1: read_labels(store.utterances[1].labels)}


def test_phones_of_an_excerpt_are_end_to_end(store: PackedStore) -> None:
    """Times are those of the trimmed recording; what is not labelled is silence."""
    utterance = store.utterances[1]
    labels = read_labels(utterance.labels)
    found = excerpt_phones(labels, utterance.start_s, 0.6)
    spans = [(p.start_s, p.end_s, p.label) for p in found]
    assert [label for *_, label in spans] == ["aa", "s", "sil"]
    assert [time for span in spans for time in span[:2]] == pytest.approx(
        [0, 0.1, 0.1, 0.4, 0.4, 0.6]
    )
    assert [p.label for p in excerpt_phones(labels, utterance.start_s, 0.05)] == ["aa"]


def test_runs_of_codes_are_end_to_end() -> None:
    """Equal neighbours are one interval; the last one ends with the recording."""
    runs = code_runs(np.array([3, 3, 5, 3]), HOP, RATE, samples=3 * HOP + 1)
    assert [run.label for run in runs] == ["3", "5", "3"]
    assert [run.start_s for run in runs] == pytest.approx([0, 2 * HOP / RATE, 3 * HOP / RATE])
    assert runs[-1].end_s == (3 * HOP + 1) / RATE


def test_textgrids_are_read_by_praatio(store: PackedStore, tmp_path: Path) -> None:
    """A tier of phones and one of codes, or one for each system by its name."""
    systems = [reading_system("one"), reading_system('two "x"', MFCC)]
    (example,) = make_examples({}, systems, store, labels_of(store), [1])
    for of, names in ((systems[:1], ["codes"]), (systems, ["codes: one", 'codes: two "x"'])):
        path = tmp_path / "a.TextGrid"
        path.write_text(example_textgrid(example, of))
        read = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
        assert read.tierNames[0] == "phones"
        assert len(read.tierNames) == 1 + len(names)
        assert read.maxTimestamp == pytest.approx(0.6)
        codes = read.getTier(read.tierNames[1]).entries
        assert [entry.label for entry in codes] == ["1", "2"] * 20


def test_models_speak_in_voices_they_know(store: PackedStore, tiny_model: Autoencoder) -> None:
    """A stranger is converted and not reconstructed; every sound is as long as the recording."""
    systems = [model_system(tiny_model, "tiny")]
    (example,) = make_examples({"tiny": tiny_model}, systems, store, labels_of(store), [1])
    assert [sound.title for sound in example.sounds] == [
        "recording of s1",
        "tiny: converted, voice of p225",
    ]
    assert {len(sound.wav) for sound in example.sounds} == {60 * HOP}
    assert len(example.codes["tiny"]) == 60 * HOP // tiny_model.hop
