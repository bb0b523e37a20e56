"""Trees of real corpora from any level, what lies beside recordings, and the same sound under two names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqspeech import audio
from vqspeech.corpus.beside import look_beside
from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.manifest import read_manifest
from vqspeech.corpus.parts import trim
from vqspeech.corpus.prepare import find_corpus, prepare
from vqspeech.corpus.store import PackedStore

RATE = 16000


def _speakers(root: Path) -> list[str]:
    return sorted({u.speaker for u in find_corpus(root).utterances})


@pytest.fixture
def tree(tmp_path: Path, record: Callable[..., Path]) -> Callable[..., Path]:
    """Return a function that makes a tree of the kind of VCTK 0.80, with texts."""

    def make(place: str, folder: str = "wav48") -> Path:
        for speaker in ("p225", "p226"):
            for number in (1, 2):
                name = f"{speaker}_00{number}"
                record(tmp_path / place / folder / speaker / f"{name}.wav", seconds=0.01)
                text = tmp_path / place / "txt" / speaker / f"{name}.txt"
                text.parent.mkdir(parents=True, exist_ok=True)
                text.write_text(f"Sentence {number}.")
        return tmp_path / place

    return make


@pytest.mark.parametrize(
    ("place", "folder", "given"),
    [
        ("x/VCTK-Corpus/VCTK-Corpus", "wav48", "x"),
        ("x/vctk-corpus", "wav48", "x"),
        ("x", "wav16", "x"),
        ("x", "WAV48", "x"),
        ("x", "wav48", "x/wav48"),
        ("x/y/z", "wav48", "x"),
    ],
)
def test_vctk_is_found_from_two_levels_up_and_from_inside(
    tree: Callable[..., Path], tmp_path: Path, place: str, folder: str, given: str
) -> None:
    """Whatever the tree is called and at whatever rate it is, speakers and texts are those of VCTK."""
    tree(place, folder)
    listing = find_corpus(tmp_path / given)
    assert listing.kind == "VCTK 0.80"
    assert _speakers(tmp_path / given) == ["p225", "p226"]
    assert {u.text for u in listing.utterances} == {"Sentence 1.", "Sentence 2."}


def test_the_folder_of_one_speaker_is_that_speaker(tree: Callable[..., Path]) -> None:
    """Given from two levels down, the tree lends its texts and not its other speakers."""
    listing = find_corpus(tree("x") / "wav48/p226")
    assert {u.speaker for u in listing.utterances} == {"p226"}
    assert [u.text for u in listing.utterances] == ["Sentence 1.", "Sentence 2."]
    assert listing.skipped == []


@pytest.mark.parametrize("level", ["", "LibriSpeech", "LibriSpeech/dev", "LibriSpeech/dev/84"])
def test_librispeech_is_known_from_any_level(
    tmp_path: Path, record: Callable[..., Path], level: str
) -> None:
    """The reader's number is the speaker; texts are in the chapter's file."""
    for chapter in ("1", "2"):
        folder = tmp_path / "LibriSpeech/dev/84" / chapter
        record(folder / f"84-{chapter}-0000.flac", seconds=0.01)
        (folder / f"84-{chapter}.trans.txt").write_text(f"84-{chapter}-0000 CHAPTER {chapter}\n")
    listing = find_corpus(tmp_path / level)
    assert [(u.speaker, u.utterance, u.text) for u in listing.utterances] == [
        ("84", "84-1-0000", "CHAPTER 1"),
        ("84", "84-2-0000", "CHAPTER 2"),
    ]


@pytest.mark.parametrize("level", ["", "TIMIT", "TIMIT/TRAIN", "TIMIT/TRAIN/DR1"])
def test_timit_is_known_from_any_level(tmp_path: Path, level: str) -> None:
    """Names in capitals, NIST headers, texts with two numbers in front, phones in samples."""
    folder = tmp_path / "TIMIT/TRAIN/DR1/FCJF0"
    folder.mkdir(parents=True)
    soundfile.write(folder / "SA1.WAV", np.full(1600, 0.1), RATE, format="NIST")
    (folder / "SA1.TXT").write_text("0 1600 She had your dark suit.\n")
    (folder / "SA1.PHN").write_text("0 1600 sh\n")
    (utterance,) = find_corpus(tmp_path / level).utterances
    assert (utterance.speaker, utterance.text) == ("FCJF0", "She had your dark suit.")
    assert utterance.labels == folder / "SA1.PHN"
    assert len(audio.read(utterance.path)) == 1600


def test_a_tree_read_as_one_speaker_is_warned_of(
    tmp_path: Path, record: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Folders below the only speaker look like speakers; below many speakers they do not."""
    for speaker in ("ann", "bob"):
        record(tmp_path / "x/corpus/wavs" / speaker / "a.wav", seconds=0.01)
    list_folder(tmp_path / "x")
    assert "taken for 1 speaker (corpus), whose recordings lie in 2 folders" in caplog.text
    assert f"such as {tmp_path / 'x/corpus/wavs'}" in caplog.text
    caplog.clear()
    list_folder(tmp_path / "x/corpus/wavs")
    assert not caplog.text


def test_what_the_montreal_forced_aligner_leaves(tmp_path: Path) -> None:
    """.lab is the text, the TextGrid has the times; a .lab with times is labels."""
    sound = tmp_path / "a.wav"
    (tmp_path / "a.lab").write_text("hello there\n")
    assert look_beside(sound, []) == (None, "hello there", tmp_path / "a.lab")
    (tmp_path / "a.TextGrid").write_text("x")
    assert look_beside(sound, []) == (tmp_path / "a.TextGrid", "hello there", tmp_path / "a.lab")
    for times in ("0 100 ah\n", "0.0 0.1 ah\n", "separator ;\n#\n0.1 125 ah\n", ""):
        (tmp_path / "a.lab").write_text(times)
        assert look_beside(sound, []) == (tmp_path / "a.lab", "", None)


@pytest.mark.parametrize(
    ("text", "label"), [("a.TXT", "a.textgrid"), ("A.txt", "A.LAB"), ("a.normalized.txt", "a.phn")]
)
def test_names_beside_a_recording_are_found_in_any_case(
    tmp_path: Path, text: str, label: str
) -> None:
    """Systems that do not tell cases apart leave any."""
    (tmp_path / text).write_text("hello")
    (tmp_path / label).write_text("0 1 a")
    assert look_beside(tmp_path / "a.WAV", [])[:2] == (tmp_path / label, "hello")


def test_a_manifest_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Spreadsheets leave one before the first column."""
    path = tmp_path / "m.tsv"
    path.write_text("corpus\tspeaker\tutterance\tpath\nmine\tann\tu\tu.wav\n", "utf-8-sig")
    assert read_manifest(path).utterances[0].corpus == "mine"


def test_the_same_sound_is_in_one_split(tmp_path: Path, record: Callable[..., Path]) -> None:
    """Copies under other names and texts, in another format too, do not leak from test into training."""
    for number in range(12):
        record(tmp_path / f"in/ann/{number}.wav", f"Sentence {number}.", seed=number)
        copy = tmp_path / f"in/bob/copy{number}.flac"
        record(copy, f"Quite another one, {number}.", seed=number)
    store = PackedStore(prepare(list_folder(tmp_path / "in"), tmp_path / "st", progress=False))
    splits: dict[bytes, set[str]] = {}
    for index, utterance in enumerate(store.utterances):
        splits.setdefault(store.pcm(index).tobytes(), set()).add(utterance.split)
    assert len(splits) == 12
    assert all(len(found) == 1 for found in splits.values())
    assert {"train", "valid", "test"} == set().union(*splits.values())
    skipped = (store.path / "skipped.tsv").read_text()
    assert "the same sound as" in skipped


def test_levels_far_beyond_1_are_left_out_and_smaller_ones_warned_of(tmp_path: Path) -> None:
    """Integers stored as floats are no recording; a peak of 1.5 is clipped, and listed."""
    (tmp_path / "in/ann").mkdir(parents=True)
    wav = np.sin(np.arange(RATE) / 20)
    for name, scale in (("ok", 0.5), ("loud", 1.5), ("integers", 32767)):
        path = tmp_path / f"in/ann/{name}.wav"
        soundfile.write(path, scale * wav, RATE, subtype="FLOAT")
    store = PackedStore(prepare(list_folder(tmp_path / "in"), tmp_path / "st", progress=False))
    assert [u.utterance for u in store.utterances] == ["loud", "ok"]
    assert "integers stored as floats" in (store.path / "skipped.tsv").read_text()
    (line,) = (store.path / "warned.tsv").read_text().splitlines()[1:]
    assert line.endswith("loud.wav\tvalues up to 1.5, beyond 1; they are clipped")


def test_a_thump_does_not_make_silence_of_speech() -> None:
    """A burst 50 dB above the speech after it is not what silence is measured by."""
    noise = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    wav = 1e-5 * noise
    wav[RATE : 3 * RATE] = 2e-3 * noise[RATE : 3 * RATE]
    assert trim(wav, RATE, 40.0) == pytest.approx((0.9 * RATE, 3.1 * RATE), abs=600)
    wav[: RATE // 20] = 0.7
    start, end = trim(wav, RATE, 40.0)
    assert start == 0
    assert end == pytest.approx(3.1 * RATE, abs=600)


def test_quiet_speech_that_is_trimmed_is_listed(tmp_path: Path) -> None:
    """What falls below the limit and is no noise is spoken of."""
    noise = np.random.default_rng(0).standard_normal(6 * RATE).astype(np.float32)
    wav = 1e-5 * noise
    wav[:RATE] = 0.2 * noise[:RATE]
    wav[3 * RATE : 4 * RATE] = 1e-3 * noise[3 * RATE : 4 * RATE]
    (tmp_path / "in/ann").mkdir(parents=True)
    for name, samples in (("quiet", wav), ("plain", wav[: 3 * RATE])):
        soundfile.write(tmp_path / f"in/ann/{name}.wav", samples, RATE, subtype="FLOAT")
    store = prepare(list_folder(tmp_path / "in"), tmp_path / "st", progress=False)
    (line,) = (store / "warned.tsv").read_text().splitlines()[1:]
    assert "quiet.wav" in line
    assert "may hold quiet speech" in line
