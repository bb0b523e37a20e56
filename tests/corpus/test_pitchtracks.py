"""Tracks of a store: found once, kept beside it, cut as segments need them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vqspeech.corpus import pitchtracks
from vqspeech.corpus.pitchtracks import FILE, BatchContours, open_tracks
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.pitch import look_up, track


@pytest.fixture
def store(mini_store: Path, tmp_path: Path) -> PackedStore:
    """The miniature store, in a folder of its own."""
    copy = tmp_path / "store"
    copy.mkdir()
    for file in mini_store.iterdir():
        if file.is_file() and file.name != FILE:
            (copy / file.name).write_bytes(file.read_bytes())
    return PackedStore(copy)


def test_tracks_are_made_once_and_are_those_of_each_recording(
    store: PackedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second opening reads what the first has written beside the store."""
    made = open_tracks(store)
    assert (store.path / FILE).is_file()
    for index in (0, len(store) - 1):
        expected = track(store.wav(index), store.sample_rate)
        np.testing.assert_array_equal(made.contour(index), expected)
    monkeypatch.setattr(pitchtracks, "track", None)
    again = open_tracks(store)
    np.testing.assert_array_equal(made.f0_hz, again.f0_hz)
    assert again.tracker == "swift-f0"


@pytest.mark.parametrize("hop", [40, 80, 128, 160])
def test_contours_of_a_batch_are_looked_up_in_those_of_the_train_split(
    store: PackedStore, hop: int
) -> None:
    """From any start, at the centre of each frame, 0 beyond the utterance."""
    tracks, kept = open_tracks(store), store.indices("train")
    contours = BatchContours(tracks, hop)
    places, starts = torch.tensor([0, 3, len(kept) - 1, 3]), torch.tensor([0, 1234, 77, 10**6])
    found = contours(places, starts, 60 * hop).numpy()
    for row, place, start in zip(found, places, starts, strict=True):
        contour = tracks.contour(int(kept[place]))
        np.testing.assert_array_equal(row, look_up(contour, int(start), 60, hop, 16_000))
    assert found[:3].any()
    assert not found[3].any()


def test_voices_are_of_the_training_split(store: PackedStore) -> None:
    """Each speaker's mean lies among the speaker's own contours."""
    tracks = open_tracks(store)
    voices = tracks.voices()
    assert set(voices) <= set(store.speakers)
    assert voices
    for speaker, voice in voices.items():
        voiced = np.concatenate(
            [
                tracks.contour(int(i))
                for i in store.indices("train")
                if store.utterances[i].speaker == speaker
            ]
        )
        voiced = voiced[voiced > 0]
        assert voiced.min() < 2**voice.mean < voiced.max()


@pytest.mark.parametrize("named", [True, False])
def test_tracks_of_another_tracker_are_taken(
    store: PackedStore, tmp_path: Path, named: bool
) -> None:
    """What fits the store is used as it is, whether it says whose it is or not."""
    made = open_tracks(store)
    with np.load(store.path / FILE) as file:
        digest = file["utterances_sha256"]
    other = tmp_path / "other.npz"
    ones = np.ones_like(made.f0_hz)
    content = {"f0_hz": ones, "tracker": np.array("mine")}
    np.savez(other, **(content | ({"utterances_sha256": digest} if named else {})))
    found = open_tracks(store, str(other))
    assert found.tracker == "mine"
    assert found.contour(0)[0] == 1


def test_tracks_that_do_not_fit(store: PackedStore, tmp_path: Path) -> None:
    """Other stores, other lengths, what is no frequency and what is no npz are named."""
    made = open_tracks(store)
    with np.load(store.path / FILE) as file:
        good = dict(file)

    def refused(match: str, **changed: object) -> None:
        path = tmp_path / "bad.npz"
        np.savez(path, **{**good, **changed})  # type: ignore[arg-type]
        with pytest.raises(CorpusError, match=match):
            open_tracks(store, str(path))

    refused("another corpus", utterances_sha256=np.array("0"))
    refused("expected float32", f0_hz=made.f0_hz[1:])
    refused("no frequencies", f0_hz=np.full_like(made.f0_hz, np.nan))
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(CorpusError, match="not a file of pitch tracks"):
        open_tracks(store, str(tmp_path / "text.npz"))
