"""Tracks of a store: found once, kept beside it, cut as segments need them."""

from pathlib import Path

import numpy as np
import pytest

from vqspeech.audio.pitch import track
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.training.data import pitchtracks
from vqspeech.training.data.pitchtracks import FILE, open_tracks


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


def test_a_cut_is_the_contour_at_the_centres_of_its_frames(store: PackedStore) -> None:
    """Frames of 80 samples from a multiple of 80 are the contour itself; beyond the end there is 0."""
    tracks = open_tracks(store)
    contour = tracks.contour(3)
    np.testing.assert_array_equal(tracks.cut(3, 0, len(contour), 80), contour)
    np.testing.assert_array_equal(tracks.cut(3, 160, 5, 80), contour[2:7])
    np.testing.assert_array_equal(tracks.cut(3, 0, len(contour) // 2, 160), contour[1::2])
    assert not tracks.cut(3, 80 * len(contour), 4, 80).any()


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


def test_tracks_of_another_tracker_are_taken(store: PackedStore, tmp_path: Path) -> None:
    """What fits the store is used as it is."""
    made = open_tracks(store)
    with np.load(store.path / FILE) as file:
        digest = file["manifest_sha256"]
    other = tmp_path / "other.npz"
    ones = np.ones_like(made.f0_hz)
    np.savez(other, f0_hz=ones, manifest_sha256=digest, tracker=np.array("mine"))
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

    refused("another store", manifest_sha256=np.array("0"))
    refused("expected float32", f0_hz=made.f0_hz[1:])
    refused("no frequencies", f0_hz=np.full_like(made.f0_hz, np.nan))
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(CorpusError, match="not a file of pitch tracks"):
        open_tracks(store, str(tmp_path / "text.npz"))
