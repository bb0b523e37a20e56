"""Manifests and splits: what a table says is kept, what it gets wrong is named, and no sentence is in two splits."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_line import one_line

from vqspeech.corpus.manifest import (
    COLUMNS,
    Listing,
    Utterance,
    assign_splits,
    normalise_sentence,
    read_manifest,
    sentence_key,
    split_listing,
    write_table,
)
from vqspeech.errors import CorpusError


def _said(speaker: str, number: int, text: str = "", split: str = "") -> Utterance:
    name = f"{speaker}_{number:03d}"
    return Utterance("c", speaker, name, Path(speaker, f"{name}.wav"), split, None, text)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A table written with the columns of a manifest reads back as the same utterances."""
    path = tmp_path / "manifest.tsv"
    row = (
        "c",
        "ann",
        "ann_1",
        "a b/é.wav",
        16000,
        1.5,
        "valid",
        "lab/1.lab",
        'Say "so", \u2019tis.',
    )
    write_table(path, COLUMNS, [row])
    listing = read_manifest(path)
    assert listing.root == tmp_path
    assert listing.utterances == [
        Utterance(
            "c",
            "ann",
            "ann_1",
            tmp_path / "a b/é.wav",
            "valid",
            tmp_path / "lab/1.lab",
            'Say "so", \u2019tis.',
        )
    ]


def test_three_columns_are_enough(tmp_path: Path) -> None:
    """Without corpus, split, labels and text the folder names the corpus and the rest is open."""
    path = tmp_path / "m.tsv"
    path.write_text("path\tspeaker\tutterance\r\na.wav\tann\t1\r\n", encoding="utf-8")
    (found,) = read_manifest(path).utterances
    assert found == Utterance(tmp_path.name, "ann", "1", tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "lacks the columns speaker, utterance, path"),
        (b"speaker\tpath\n", "lacks the columns utterance"),
        (b"speaker\tutterance\tpath\na\tb\n", "line 2: 2 fields"),
        (b"speaker\tutterance\tpath\na\tb\tc\n\tb\tc\n", "line 3: the speaker is empty"),
        (b"speaker\tutterance\tpath\tsplit\na\tb\tc\tdev\n", "split 'dev' is none of"),
        (b"speaker\tutterance\tpath\n\xff\tb\tc\n", "not UTF-8"),
    ],
)
def test_broken_manifest_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    """The message has the file, the line and what is wrong, on one line."""
    path = tmp_path / "m.tsv"
    path.write_bytes(content)
    with one_line(CorpusError, complaint, start=str(path)):
        read_manifest(path)


def test_missing_manifest_is_named(tmp_path: Path) -> None:
    """A manifest that is not there is an error of this package."""
    with pytest.raises(CorpusError, match="No such file"):
        read_manifest(tmp_path / "m.tsv")


def test_utterance_named_twice_is_listed(tmp_path: Path) -> None:
    """The second line of one name is skipped with its number."""
    path = tmp_path / "m.tsv"
    path.write_text("speaker\tutterance\tpath\na\t1\tx.wav\na\t1\ty.wav\n")
    listing = read_manifest(path)
    assert [u.path.name for u in listing.utterances] == ["x.wav"]
    assert [(s.path.name, s.reason) for s in listing.skipped] == [
        ("y.wav", "named a second time on line 3")
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It's six o'clock.", "its six  O\u2019Clock"),
        ("Ask her -- now!", "ask her, now"),
        ("ﬁne Straße", "fine STRASSE"),
    ],
)
def test_same_sentence_in_other_typography(one: str, other: str) -> None:
    """Case, punctuation, apostrophes and ligatures do not make another sentence."""
    assert normalise_sentence(one) == normalise_sentence(other) != ""


def test_without_text_the_number_is_the_sentence() -> None:
    """Recordings numbered alike are taken for one sentence; a name that is all speaker stays whole."""
    assert sentence_key(_said("p225", 3)) == sentence_key(_said("p226", 3))
    assert sentence_key(_said("p225", 3)) != sentence_key(_said("p225", 4))
    assert sentence_key(Utterance("c", "ann", "ann", Path("a.wav"))) == "name ann"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, unique=True),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.randoms(use_true_random=False),
)
def test_no_sentence_is_in_two_splits(
    said: list[tuple[int, int]], valid: float, test: float, random: object
) -> None:
    """Every utterance gets a split, its sentence has no other, and the order does not matter."""
    utterances = [_said(f"s{s}", n, f"sentence {n}") for s, n in said]
    assigned = assign_splits(utterances, valid, test)
    found: dict[str, str] = {}
    for u in assigned:
        assert u.split in ("train", "valid", "test")
        assert found.setdefault(u.text, u.split) == u.split
    shuffled = list(utterances)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {u.path: u.split for u in assign_splits(shuffled, valid, test)} == {
        u.path: u.split for u in assigned
    }


@pytest.mark.parametrize("count", [3, 5, 20, 300])
def test_small_corpora_have_every_split(count: int) -> None:
    """From three sentences on, each split has one; large corpora have the shares asked for."""
    assigned = assign_splits([_said("s", n, f"sentence {n}") for n in range(count)])
    sizes = {split: sum(u.split == split for u in assigned) for split in ("valid", "test", "train")}
    assert sizes["valid"] == sizes["test"] == max(1, round(0.05 * count))
    assert sizes["train"] == count - 2 * sizes["valid"]


def test_a_sentence_added_later_moves_few_others() -> None:
    """One more sentence does not draw the splits anew."""
    before = assign_splits([_said("s", n, f"sentence {n}") for n in range(200)])
    after = assign_splits([_said("s", n, f"sentence {n}") for n in range(201)])
    moved = sum(b.split != a.split for b, a in zip(before, after[:200], strict=True))
    assert moved <= 2


def test_given_splits_are_kept_and_undecided_utterances_follow() -> None:
    """Who reads a sentence that has a split joins it."""
    utterances = [
        _said("a", 1, "One.", "test"),
        _said("b", 1, "one"),
        _said("b", 2, "Two.", "train"),
    ]
    assert [u.split for u in assign_splits(utterances)] == ["test", "test", "train"]


def test_test_sentences_given_to_training_are_dropped_and_listed() -> None:
    """Train and valid utterances that read a test sentence, or are a test file, are skipped."""
    same_file = Utterance("c", "z", "z", Path("a/a_001.wav"), "valid")
    utterances = [
        _said("a", 1, "One.", "test"),
        _said("b", 1, "one", "train"),
        _said("b", 2, "ONE!", "valid"),
        _said("b", 3, "Three.", "train"),
        same_file,
        _said("b", 4, "", "train"),
        _said("a", 4, "", "test"),
    ]
    listing = split_listing(Listing("k", Path(), utterances))
    assert [u.utterance for u in listing.utterances] == ["a_001", "b_003", "b_004", "a_004"]
    assert [s.reason for s in listing.skipped] == [
        "its sentence is read in the test split",
        "its sentence is read in the test split",
        "the same file is in the test split",
    ]


def test_real_manifest_keeps_its_splits(real_speech: Path) -> None:
    """The manifest of the real recordings is read whole, and what is left shares no test sentence."""
    listing = read_manifest(real_speech / "manifest.tsv")
    assert len(listing.utterances) == 2424
    given = {u.path: u.split for u in listing.utterances}
    ready = split_listing(listing)
    assert all(given[u.path] == u.split for u in ready.utterances)
    tested = {normalise_sentence(u.text) for u in ready.utterances if u.split == "test"} - {""}
    others = {normalise_sentence(u.text) for u in ready.utterances if u.split != "test"}
    assert tested
    assert not tested & others
