from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from studied import reading_system, spoken_store, studied

from vqspeech.analysis import material as module
from vqspeech.analysis.material import choose_material
from vqspeech.analysis.study import STEPS, sanity_checks, study_system, track_pitch
from vqspeech.corpus.store import PackedStore


def scrambled(codes: np.ndarray) -> np.ndarray:
    """Read (frames / 2, 2) by columns: what a reshape with the axes the wrong way round does."""
    return codes.reshape(-1, 2).T.ravel()


def test_codes_that_are_the_phones_are_not_complained_of(tmp_path: Path) -> None:
    """Perfect codes have no ABX error, every boundary, and nothing to complain of."""
    _, _, study = studied(tmp_path / "s", lambda phones: phones)
    assert sanity_checks(study) == []
    assert {key: score.error for key, score in study.abx.items() if "within" in key} == {
        "within_codes": 0,
        "within_vectors": 0,
    }
    assert study.boundaries.codes.f1 == 1
    assert study.boundaries.codes.r_value == pytest.approx(1)
    assert study.boundaries.even.f1 < 0.8
    assert study.boundaries.f1_interval == (1, 1)


def test_frames_scrambled_by_a_reshape_are_complained_of(tmp_path: Path) -> None:
    """Perfect codes in the wrong order are called no better than shuffled ones, under both policies."""
    _, _, study = studied(tmp_path / "s", scrambled)
    found = sanity_checks(study)
    assert len(found) == 2
    for text, policy in zip(found, ("with silence", "without silence"), strict=True):
        assert text.startswith(f"reading, {policy}: no better than shuffled codes:")
        assert "reshape" in text


def test_material_counts_both_splits(tmp_path: Path) -> None:
    """What is said to have been measured is what the store holds."""
    store = spoken_store(tmp_path / "s", lambda phones: phones)
    material = choose_material(store, 20, seed=0)
    assert (len(material.fitted), len(material.scored)) == (12, 8)
    assert material.fitted_minutes == pytest.approx(12 * 1.2 / 60)
    assert material.scored_minutes == pytest.approx(8 * 1.2 / 60)
    assert material.scored_speakers == ("s1",)


def test_a_study_reports_each_step(tmp_path: Path) -> None:
    """As many steps as announced, each with the name of the system."""
    store = spoken_store(tmp_path / "s", lambda phones: phones, train=2, test=2)
    notes: list[str] = []
    study_system(
        reading_system(), store, choose_material(store, 20, seed=0), pitch={}, step=notes.append
    )
    assert len(notes) == STEPS
    assert all(note.startswith("reading: ") for note in notes)


def test_pitch_is_tracked_in_both_splits(mini_store: Path) -> None:
    """Made voices have a pitch in the range of voices, every 10 ms; the rest is nan."""
    store = PackedStore(mini_store)
    whole = choose_material(store, 0.1, seed=0)
    few = type(whole)(**{**vars(whole), "fitted": whole.fitted[:1], "scored": whole.scored[:1]})
    found = track_pitch(store, few)
    assert set(found) == {*few.fitted, *few.scored}
    for index, track in found.items():
        seconds = store.utterances[index].samples / store.sample_rate
        assert len(track) == pytest.approx(100 * seconds, abs=1)
        voiced = track[~np.isnan(track)]
        assert 0.2 < len(voiced) / len(track) < 1
        assert 60 <= voiced.min() <= voiced.max() <= 400


def test_a_prior_is_asked_for_each_test_utterance_and_its_speaker(tmp_path: Path) -> None:
    """Its nats become bits a code of the study; codes with runs cost less by their pairs than by their counts."""
    asked = []

    def nats(codes: np.ndarray, speaker: str) -> np.ndarray:
        asked.append((len(codes), speaker))
        return np.full(len(codes), 2 * np.log(2))

    system = replace(reading_system(), code_nats=nats)
    _, material, study = studied(tmp_path / "s", lambda phones: phones, system)
    assert study.cost.prior == pytest.approx(2)
    assert asked == [
        (len(part.codes), who) for part, who in zip(study.aligned.test, study.speakers, strict=True)
    ]
    assert len(asked) == len(material.scored)
    assert study.cost.bigram < study.cost.unigram <= study.cost.uniform == 3


def test_recordings_are_encoded_and_labels_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all scores of a system, and labels for all systems; what a system was fitted on is not encoded again."""
    store = spoken_store(tmp_path / "s", lambda phones: phones, train=3, test=2)
    read, heard = [], []
    read_labels, plain = module.read_labels, reading_system()

    def counted(path: Path) -> object:
        read.append(path.name)
        return read_labels(path)

    def watched(wav: np.ndarray) -> np.ndarray:
        heard.append(wav.tobytes())
        return plain.vectors(wav)

    monkeypatch.setattr(module, "read_labels", counted)
    material = choose_material(store, 20, seed=0)
    for fitted in ((), material.fitted[:2]):
        heard.clear()
        known = {index: plain.vectors(store.wav(index)) for index in fitted}
        study_system(replace(plain, vectors=watched, fitted=known), store, material, pitch={})
        assert len(heard) == len(set(heard)) == 5 - len(fitted)
    assert sorted(read) == [f"u{number}.lab" for number in range(5)]
