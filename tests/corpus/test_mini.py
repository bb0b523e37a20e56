"""The miniature corpus: the same bytes each time, labels where the sounds are, voices that differ."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from one_line import one_line

from vqspeech import audio
from vqspeech.corpus import mini
from vqspeech.corpus.espeak import PAUSE, Voice, spans
from vqspeech.corpus.manifest import normalise_sentence
from vqspeech.corpus.mini import VOICES, make_mini
from vqspeech.corpus.prepare import find_corpus
from vqspeech.corpus.sentences import SENTENCES
from vqspeech.errors import CorpusError
from vqspeech.labels.files import read_labels
from vqspeech.metrics.pitch import measure_pitch

RATE = 22050
FRICATIVES = {"s", "z", "ʃ"}
VOWELS = {"ɪ", "i", "ɛ", "æ", "ɑ", "ɔ", "u", "ʌ", "eɪ", "oʊ", "aɪ", "ɜ"}  # noqa: RUF001 - these are IPA
CONSONANTS = {*"pbtdkɡfvθðszʃʒhmnŋlɹwj", "tʃ", "dʒ"}  # noqa: RUF001

Spans = list[tuple[int, int, str]]


def _files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _spoken(corpus: Path, voice: str, numbers: range) -> list[tuple[np.ndarray, Spans]]:
    found = []
    for number in numbers:
        stem = f"{voice}/{voice}_{number:03d}"
        wav = audio.read(corpus / "wav48" / f"{stem}.wav", RATE)
        labels = [
            (round(i.start_s * RATE), round(i.end_s * RATE), i.label)
            for i in read_labels(corpus / "lab" / f"{stem}.lab")
        ]
        found.append((wav, labels))
    return found


@pytest.fixture(scope="module")
def some(mini_corpus: Path) -> dict[str, list[tuple[np.ndarray, Spans]]]:
    """Return sixteen utterances of every voice."""
    return {voice.name: _spoken(mini_corpus, voice.name, range(1, 65, 4)) for voice in VOICES}


def test_two_processes_make_the_same_bytes(
    mini_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made again, by a process whose memory starts with other contents: the same bytes."""
    monkeypatch.setenv("MALLOC_PERTURB_", "165")
    again = make_mini(tmp_path / "again")
    assert _files(again) == _files(mini_corpus)


def test_it_is_as_large_as_promised(mini_corpus: Path) -> None:
    """Eight voices, four low and four high, read 60 different sentences or more, in VCTK's layout."""
    listing = find_corpus(mini_corpus)
    assert listing.kind == "mini"
    assert listing.skipped == []
    assert len(listing.utterances) == len(VOICES) * len(SENTENCES)
    assert sorted({u.speaker for u in listing.utterances}) == [
        f"{kind}{number}" for kind in "fm" for number in range(1, 5)
    ]
    assert len({normalise_sentence(sentence) for sentence in SENTENCES}) == len(SENTENCES) >= 60
    assert all(u.text in SENTENCES and u.labels for u in listing.utterances)
    info = (mini_corpus / "speaker-info.txt").read_text().splitlines()
    assert [line.split()[:2] for line in info[1:]] == [[v.name, v.name[0].upper()] for v in VOICES]


def test_labels_cover_every_file_without_gaps(mini_corpus: Path) -> None:
    """Each label starts where the one before ended; the first at 0, the last at the file's end, to 100 ns."""
    for path in sorted((mini_corpus / "lab").rglob("*.lab")):
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        starts, ends = [int(row[0]) for row in rows], [int(row[1]) for row in rows]
        assert starts[0] == 0
        assert starts[1:] == ends[:-1]
        assert all(start < end for start, end in zip(starts, ends, strict=True))
        wav = mini_corpus / "wav48" / path.parent.name / f"{path.stem}.wav"
        header = audio.info(wav)
        assert abs(ends[-1] - header.duration_s * 1e7) <= 1


def test_labels_are_phones_of_english(mini_corpus: Path) -> None:
    """No mark of stress or length, nothing cut in the middle of a letter, and most of the sounds of English."""
    paths = (mini_corpus / "lab").rglob("*.lab")
    labels = {interval.label for path in paths for interval in read_labels(path)}
    assert 40 <= len(labels) <= 60
    assert not {mark for label in labels for mark in label} & set("ˈˌː�")
    assert labels >= CONSONANTS | VOWELS | {"aʊ", "ɔɪ", PAUSE}


def test_pauses_are_silent_and_phones_are_not(
    some: dict[str, list[tuple[np.ndarray, Spans]]],
) -> None:
    """Nothing sounds where a label says pause; every phone of some length sounds."""
    for utterances in some.values():
        for wav, labels in utterances:
            for start, end, phone in labels:
                peak = np.abs(wav[start + 1 : end - 1]).max(initial=0.0)
                if phone == PAUSE:
                    assert peak < 0.02
                elif end - start > 0.03 * RATE:
                    assert peak > 0.002, phone


def test_fricatives_hiss_and_vowels_do_not(
    some: dict[str, list[tuple[np.ndarray, Spans]]],
) -> None:
    """In every voice s, z and ʃ cross zero more often than vowels: labels and sounds belong together."""

    def crossings(wav: np.ndarray, start: int, end: int) -> float:
        quarter = (end - start) // 4
        return float(np.mean(np.diff(np.signbit(wav[start + quarter : end - quarter])) != 0))

    for voice, utterances in some.items():
        rates = {
            kind: [
                crossings(wav, start, end)
                for wav, labels in utterances
                for start, end, phone in labels
                if phone in kind_phones and end - start > 0.03 * RATE
            ]
            for kind, kind_phones in (("hiss", FRICATIVES), ("vowel", VOWELS))
        }
        # The chance that a hiss crosses more often than a vowel; 0.5 if labels were anywhere.
        above = np.mean(np.array(rates["hiss"])[:, None] > np.array(rates["vowel"])[None])
        assert above > 0.9, voice


def test_stops_start_with_their_closure(some: dict[str, list[tuple[np.ndarray, Spans]]]) -> None:
    """Most voiceless stops begin in silence and end in sound; no vowel ends in silence."""
    begins, ends = [], []
    for utterances in some.values():
        for wav, labels in utterances:
            for (_, _, before), (start, end, phone) in itertools.pairwise(labels):
                if phone in {"p", "t", "k"} and before in VOWELS:
                    half = (start + end) // 2
                    begins.append(np.abs(wav[start + 2 : start + 200]).max() < 0.002)
                    assert np.abs(wav[half:end]).max() > 0.002
                if phone in VOWELS:
                    ends.append(np.abs(wav[end - 200 : end - 2]).max() > 0.002)
    assert np.mean(begins) > 0.9
    assert np.mean(ends) > 0.99


def test_low_voices_are_low_and_high_voices_high(
    some: dict[str, list[tuple[np.ndarray, Spans]]],
) -> None:
    """Median pitch is 80-130 Hz in the m voices, 180-280 Hz in the f voices."""
    pitch = {
        voice: measure_pitch(np.concatenate([wav for wav, _ in utterances]), RATE).median_hz
        for voice, utterances in some.items()
    }
    assert all(80 <= pitch[v] <= 130 for v in pitch if v.startswith("m")), pitch
    assert all(180 <= pitch[v] <= 280 for v in pitch if v.startswith("f")), pitch


def test_voices_differ(some: dict[str, list[tuple[np.ndarray, Spans]]]) -> None:
    """A voice's average spectrum in one half of its sentences is nearest to its own in the other half."""

    def colour(utterances: list[tuple[np.ndarray, Spans]]) -> np.ndarray:
        wav = np.concatenate([wav for wav, _ in utterances])
        frames = wav[: len(wav) // 512 * 512].reshape(-1, 512) * np.hanning(512)
        return np.log(1e-9 + (np.abs(np.fft.rfft(frames)) ** 2).mean(0))[2:180]

    one = np.stack([colour(utterances[::2]) for utterances in some.values()])
    two = np.stack([colour(utterances[1::2]) for utterances in some.values()])
    distance = np.square(one[:, None] - two[None]).mean(-1)
    assert distance.argmin(1).tolist() == list(range(len(some)))
    assert np.diag(distance).max() < 0.5 * distance[~np.eye(len(some), dtype=bool)].min()


def test_finished_corpus_is_kept_and_an_old_one_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marker decides: the same plan is not made again, another plan is."""
    pytest.importorskip("espeakng_loader")
    dest = tmp_path / "mini"
    dest.mkdir()
    (dest / "old").touch()
    (dest / mini.MARKER).write_text('{"format": "vqspeech-mini", "plan_sha256": "old"}\n')
    make_mini(dest)
    assert not (dest / "old").exists()
    monkeypatch.setattr(mini.subprocess, "run", None)
    assert make_mini(dest) == dest
    assert [path.name for path in tmp_path.iterdir()] == ["mini"]


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    """A folder with something else in it, or a file, is not written into."""
    (tmp_path / "thesis.txt").write_text("chapter 1")
    for dest in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(CorpusError, match="something other than the miniature corpus"):
            make_mini(dest)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_read_only_folder_is_named(read_only_folder: Path) -> None:
    """Where one may not write, the message says so."""
    with pytest.raises(CorpusError, match="cannot be written"):
        make_mini(read_only_folder / "mini")


def test_missing_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without espeakng-loader the one line names the extra, and nothing is left behind."""
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow/espeakng_loader.py").write_text("raise ImportError('not installed')\n")
    root = Path(mini.__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'shadow'}:{root}")
    with one_line(CorpusError, "pip install 'vqspeech[mini]'"):
        make_mini(tmp_path / "mini")
    assert [path.name for path in tmp_path.iterdir()] == ["shadow"]


def test_unknown_voice_is_an_error() -> None:
    """A language that the library lacks is named."""
    pytest.importorskip("espeakng_loader")
    from vqspeech.corpus.espeak import Synthesizer

    with pytest.raises(CorpusError, match="no voice xx"):
        Synthesizer().choose(Voice("x", "xx-nowhere"))


@pytest.mark.parametrize(
    ("sounding", "marks", "expected"),
    [
        # A closure belongs to the stop behind it; what was marked before the first phone is a pause.
        ([(2, 5), (8, 10)], [(2, "a"), (8, "t")], [(0, 2, "pau"), (2, 5, "a"), (5, 10, "t")]),
        # Silence in front of a pause is the pause's, and pauses in a row are one.
        ([(0, 4)], [(0, "a"), (4, "pau"), (7, "pau")], [(0, 4, "a"), (4, 10, "pau")]),
        # A phone with nothing but a closure in it has been spoken before its mark.
        ([(0, 4), (8, 10)], [(0, "oʊ"), (4, "l"), (8, "d")], [(0, 4, "oʊ"), (4, 10, "d")]),
        # Of several marks in one place the last counts.
        ([(0, 10)], [(0, "pau"), (0, "a"), (5, "pau"), (5, "b")], [(0, 5, "a"), (5, 10, "b")]),
        # A pause that sounds is none: the phone before goes on.
        ([(0, 10)], [(0, "ɪ"), (3, "pau"), (6, "oʊ")], [(0, 6, "ɪ"), (6, 10, "oʊ")]),  # noqa: RUF001
        # A mark behind the end is no span.
        ([(0, 10)], [(0, "a"), (12, "pau")], [(0, 10, "a")]),
    ],
)
def test_spans_of_marks(
    sounding: list[tuple[int, int]], marks: list[tuple[int, str]], expected: Spans
) -> None:
    """Marks become spans without gaps, worked out by hand."""
    pcm = np.zeros(10, np.int16)
    for start, end in sounding:
        pcm[start:end] = 1000
    assert spans(pcm, marks) == expected
