"""A folder of speakers: what is a recording is listed once, what is not is named."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vqspeech.corpus.folder import list_folder


def test_speakers_texts_and_labels_are_found(people: Path) -> None:
    """Every recording is listed in order, with its text and its phone times."""
    (people / "ann" / "ann_001.TextGrid").touch()
    (people / "bob" / "bob_002.lab").touch()
    listing = list_folder(people)
    assert [u.speaker for u in listing.utterances] == ["ann"] * 6 + ["bob"] * 6 + ["çelik"] * 6
    assert listing.utterances[0].text == "Sentence number 0."
    labels = [u.labels.name for u in listing.utterances if u.labels]
    assert labels == ["ann_001.TextGrid", "bob_002.lab"]
    assert {u.corpus for u in listing.utterances} == {"people"}
    assert listing.skipped == []


def test_every_format_and_deep_folders_are_found(
    tmp_path: Path, record: Callable[..., Path]
) -> None:
    """Suffixes in any case count; deeper folders become part of the utterance's name."""
    for name in ("a.wav", "b.FLAC", "c.ogg", "d.opus", "e.mp3", "chapter 1/f.wav"):
        record(tmp_path / "ann" / name)
    (tmp_path / "ann" / "notes.md").touch()
    (tmp_path / "ann" / ".hidden.wav").touch()
    listing = list_folder(tmp_path)
    assert [u.utterance for u in listing.utterances] == ["a", "b", "c", "chapter 1-f", "d", "e"]
    assert listing.skipped == []


def test_what_is_not_used_is_listed(tmp_path: Path, record: Callable[..., Path]) -> None:
    """Loose recordings, second ones of a name, broken links and foreign texts are skipped aloud."""
    record(tmp_path / "loose.wav")
    record(tmp_path / "ann" / "a.flac")
    record(tmp_path / "ann" / "a.wav")
    (tmp_path / "ann" / "b.wav").symlink_to("nowhere.wav")
    (tmp_path / "ann" / "a.txt").write_bytes(b"caf\xe9")
    listing = list_folder(tmp_path)
    assert [u.path.name for u in listing.utterances] == ["a.flac"]
    assert listing.utterances[0].text == ""
    assert [(s.path.name, s.reason.split(";")[0]) for s in listing.skipped] == [
        ("a.txt", "the text is not UTF-8"),
        ("a.wav", "ann has another recording a"),
        ("b.wav", "a broken link"),
        ("loose.wav", "not inside a speaker's folder"),
    ]


def test_link_loops_end(tmp_path: Path, record: Callable[..., Path]) -> None:
    """A link to a folder above, and a link to itself, are listed and not followed for ever."""
    record(tmp_path / "ann" / "a.wav")
    (tmp_path / "ann" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "ann" / "self.wav").symlink_to("self.wav")
    listing = list_folder(tmp_path)
    assert [u.utterance for u in listing.utterances] == ["a"]
    assert sorted(s.path.name for s in listing.skipped) == ["again", "self.wav"]


def test_links_to_recordings_elsewhere_are_followed(
    tmp_path: Path, record: Callable[..., Path]
) -> None:
    """A corpus put together from links is a corpus."""
    record(tmp_path / "elsewhere" / "a.wav")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "ann").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert [u.speaker for u in list_folder(tmp_path / "corpus").utterances] == ["ann"]


@pytest.mark.parametrize("name", ["-rf", "two words", "Ελένη", "a\nb"])
def test_names_are_taken_as_they_are(
    tmp_path: Path, record: Callable[..., Path], name: str
) -> None:
    """Dashes, spaces, other alphabets and even line breaks do not stop the listing."""
    record(tmp_path / name / f"{name}.wav")
    (found,) = list_folder(tmp_path).utterances
    assert (found.speaker, found.utterance) == (name, name)


def test_name_that_is_not_utf8_is_listed(tmp_path: Path, record: Callable[..., Path]) -> None:
    """Bytes that are no UTF-8 in a name are carried along as Python carries them."""
    record(tmp_path / "ann" / os.fsdecode(b"caf\xe9.wav"))
    (found,) = list_folder(tmp_path).utterances
    assert os.fsencode(found.path).endswith(b"caf\xe9.wav")
