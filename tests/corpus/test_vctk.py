"""VCTK trees: both layouts are found by looking, and their known defects are listed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from one_line import one_line

from vqspeech.corpus.manifest import Listing
from vqspeech.corpus.vctk import SHA256, find_layout, list_vctk
from vqspeech.errors import CorpusError


def _text(tree: Path, name: str, text: str = "Please call Stella.") -> None:
    path = tree / "txt" / name.partition("_")[0] / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.fixture
def tree_092(tmp_path: Path, record: Callable[..., Path]) -> Path:
    """Return a small 0.92: p225 whole, p280 without mic2, p315 without texts, p362 partial."""
    tree = tmp_path / "VCTK-Corpus-0.92"
    for name in ("p225_001", "p225_002", "p315_001", "p362_001"):
        for mic in ("mic1", "mic2"):
            record(tree / "wav48_silence_trimmed" / name[:4] / f"{name}_{mic}.flac")
    record(tree / "wav48_silence_trimmed/p280/p280_001_mic1.flac")
    record(tree / "wav48_silence_trimmed/p362/p362_002_mic2.flac")
    (tree / "wav48_silence_trimmed/log.txt").touch()
    for name in ("p225_001", "p225_002", "p280_001", "p362_001", "p362_002", "p362_003"):
        _text(tree, name)
    return tree


@pytest.fixture
def tree_080(tmp_path: Path, record: Callable[..., Path]) -> Path:
    """Return a small 0.80 with the bad recording and a label file."""
    tree = tmp_path / "old"
    for name in ("p225_001", "p376_001"):
        record(tree / "wav48" / name[:4] / f"{name}.wav")
        _text(tree, name)
    (tree / "wav48/p376/p376_295.raw").write_bytes(b"\0" * 100)
    _text(tree, "p376_295")
    (tree / "lab/p225").mkdir(parents=True)
    (tree / "lab/p225/p225_001.lab").write_text("0 3000000 pau\n")
    return tree


def _skips(listing: Listing) -> dict[str, str]:
    return {s.path.name: s.reason.partition(":")[0] for s in listing.skipped}


@pytest.mark.parametrize(
    ("mic", "names", "lacking"),
    [
        (
            "mic1",
            ["p225_001", "p225_002", "p280_001", "p362_001"],
            {"p362_002_mic2.flac": "no mic1 recording", "p315_001_mic1.flac": "no text"},
        ),
        (
            "mic2",
            ["p225_001", "p225_002", "p362_001", "p362_002"],
            {"p280_001_mic1.flac": "no mic2 recording", "p315_001_mic2.flac": "no text"},
        ),
    ],
)
def test_092_lists_a_microphone_and_its_defects(
    tree_092: Path, mic: str, names: list[str], lacking: dict[str, str]
) -> None:
    """Recordings of the one that is chosen, with a text, are used; the rest is accounted for."""
    listing = list_vctk(tree_092, mic)
    assert [u.utterance for u in listing.utterances] == names
    assert listing.kind == "VCTK 0.92"
    assert _skips(listing) == lacking | {"p362_003.txt": "a text without a recording"}
    assert mic == "mic2" or list_vctk(tree_092).utterances == listing.utterances


def test_080_lists_its_recordings_and_the_bad_one(tree_080: Path) -> None:
    """Texts and phone times are found by name; p376_295 is left out."""
    listing = list_vctk(tree_080)
    assert [u.utterance for u in listing.utterances] == ["p225_001", "p376_001"]
    assert listing.utterances[0].labels == tree_080 / "lab/p225/p225_001.lab"
    assert listing.utterances[0].text == "Please call Stella."
    assert listing.kind == "VCTK 0.80"
    assert _skips(listing) == {"p376_295.raw": "known to be bad in VCTK 0.80"}


def test_layout_is_found_in_the_folder_that_holds_the_tree(tree_092: Path) -> None:
    """The folder an archive was unpacked in is as good as the tree."""
    assert find_layout(tree_092.parent) == (tree_092, "0.92")
    assert list_vctk(tree_092.parent).root == tree_092


def test_tree_without_any_text_is_used(tmp_path: Path, record: Callable[..., Path]) -> None:
    """Where nobody has a text, recordings are used and told apart by number."""
    record(tmp_path / "wav48/p225/p225_001.wav")
    listing = list_vctk(tmp_path)
    assert [u.text for u in listing.utterances] == [""]
    assert listing.skipped == []


def test_what_is_no_vctk_is_refused(tmp_path: Path, tree_080: Path) -> None:
    """A foreign folder, an unknown microphone, and a second one in 0.80 are errors of one line."""
    (tmp_path / "empty" / "wav48").mkdir(parents=True)
    cases = [(tmp_path / "x", "mic1"), (tree_080, "mic3"), (tree_080, "mic2")]
    for root, mic in [*cases, (tmp_path / "empty", "mic1")]:
        with one_line(CorpusError):
            list_vctk(root, mic)


def test_checksum_is_a_sha256() -> None:
    """The published checksum is 64 hexadecimal digits."""
    assert len(bytes.fromhex(SHA256)) == 32


def test_real_tree_is_listed(real_speech: Path) -> None:
    """The original 48 kHz files lie in the tree of 0.80."""
    listing = list_vctk(real_speech / "vctk")
    assert listing.kind == "VCTK 0.80"
    assert len(listing.utterances) == 19
    assert len({u.speaker for u in listing.utterances}) == 18
