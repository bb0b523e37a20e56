"""One utterance aligned: covered without gaps, no word lost, close to known times."""

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pocketsphinx", reason="needs pocketsphinx (the extra `align`)")
pytest.importorskip("num2words", reason="needs num2words (the extra `align`)")

from vqspeech import audio
from vqspeech.alignment import Alignment, align, sphinx
from vqspeech.alignment.sphinx import SEARCHES, Aligner, prepare_sound
from vqspeech.corpus.prepare import find_corpus
from vqspeech.errors import ConfigurationError, CorpusError
from vqspeech.labels.files import read_lab
from vqspeech.labels.frames import Interval
from vqspeech.labels.phones import PHONES, SILENCE, to_arpabet


@dataclass(frozen=True)
class Said:
    wav: np.ndarray
    text: str
    labels: Path


@pytest.fixture(scope="module")
def made(mini_corpus: Path) -> list[Said]:
    """Return a few utterances of made speech, of two voices."""
    utterances = find_corpus(mini_corpus).utterances
    chosen = [u for u in utterances if u.speaker in ("m1", "f2")][::16]
    assert all(u.labels for u in chosen)
    return [Said(audio.read(u.path), u.text, u.labels) for u in chosen if u.labels]


def _covers(intervals: list[Interval], end_s: float) -> bool:
    ends = [0.0, *(i.end_s for i in intervals)]
    starts = [*(i.start_s for i in intervals), end_s]
    return starts == pytest.approx(ends) and all(i.start_s < i.end_s for i in intervals)


def test_words_and_phones_cover_the_recording(made: list[Said]) -> None:
    """From 0 to the last sample without gaps, silence never twice in a row, phones of the set."""
    for said in made:
        found = align(said.wav, said.text)
        for intervals in (found.words, found.phones):
            assert _covers(intervals, len(said.wav) / 16000)
            pairs = itertools.pairwise(intervals)
            assert not any(a.label == b.label == SILENCE for a, b in pairs)
        assert {phone.label for phone in found.phones} <= set(PHONES)


def test_phones_stay_inside_their_words(made: list[Said]) -> None:
    """Every word begins where a phone begins, and silences are the same in both."""
    found = align(made[0].wav, made[0].text)
    starts = {phone.start_s for phone in found.phones}
    assert all(word.start_s in starts for word in found.words)
    silences = [[i for i in tier if i.label == SILENCE] for tier in (found.words, found.phones)]
    assert silences[0] == silences[1]


def test_made_speech_is_aligned_where_it_is_known_to_be(made: list[Said]) -> None:
    """Consonants lie where the synthesizer put them: the median difference of their middles is below 30 ms."""
    differences: list[float] = []
    for said in made:
        found = align(said.wav, said.text)
        true = [(to_arpabet(i.label), (i.start_s + i.end_s) / 2) for i in read_lab(said.labels)]
        for label in ("s", "sh", "f", "m", "k"):
            heard = [(i.start_s + i.end_s) / 2 for i in found.phones if i.label == label]
            known = [time for phone, time in true if phone == label]
            if len(heard) == len(known):
                differences += np.abs(np.subtract(heard, known)).tolist()
    assert len(differences) > 20
    assert np.median(differences) < 0.03


def test_digital_silence_does_not_lose_words(mini_corpus: Path) -> None:
    """Utterances of the voice with the most zeros in its closures, which narrower searches give up, are aligned."""
    utterances = [u for u in find_corpus(mini_corpus).utterances if u.speaker == "f3"]
    for utterance in (utterances[16], utterances[52]):
        found = align(audio.read(utterance.path), utterance.text)
        assert len([word for word in found.words if word.label != SILENCE]) > 5


def test_words_are_those_of_the_text(made: list[Said]) -> None:
    """Less silence, the words are the text's, in order."""
    found = align(made[0].wav, made[0].text)
    words = [word.label for word in found.words if word.label != SILENCE]
    assert words == "".join(c for c in made[0].text.lower() if c.isalpha() or c in " '").split()


def test_another_rate_gives_the_same_times(made: list[Said]) -> None:
    """A recording at 22.05 kHz is converted: its words are the same, nearly all within 20 ms."""
    said = made[0]
    rates = ((said.wav, 16000), (audio.resample(said.wav, 16000, 22050), 22050))
    a, b = (align(wav, said.text, rate) for wav, rate in rates)
    starts = [{w.label: w.start_s for w in found.words if w.label != SILENCE} for found in (a, b)]
    assert starts[0].keys() == starts[1].keys()
    moved = [abs(starts[0][word] - starts[1][word]) for word in starts[0]]
    assert np.mean(np.array(moved) < 0.0201) >= 0.8


def test_what_was_aligned_before_changes_nothing(made: list[Said]) -> None:
    """Each utterance gives the same result in any place of a run, and alone."""
    forwards, backwards = Aligner(), Aligner()
    first = [forwards.align(said.wav, said.text) for said in made]
    second = [backwards.align(said.wav, said.text) for said in made[::-1]]
    assert first == second[::-1]
    assert Aligner().align(made[-1].wav, made[-1].text) == first[-1]


def test_a_word_outside_the_dictionary_is_aligned(made: list[Said]) -> None:
    """A misspelt word gets its pronunciation by guess, again and again, and keeps its spelling."""
    said = made[0]
    first, *rest = said.text.split()
    aligner = Aligner()
    for _ in range(2):
        found = aligner.align(said.wav, " ".join([f"{first}zh", *rest]))
        assert f"{first.lower()}zh" in [word.label for word in found.words]


@dataclass
class FakeEntry:
    name: str
    start: int = 0
    duration: int = 0

    def __iter__(self) -> Any:
        return iter([FakeEntry("S", self.start, self.duration)])


class FakeDecoder:
    """Return the words of a script, whatever is said."""

    def __init__(self, script: list[str] | None) -> None:
        self.script = script

    def lookup_word(self, word: str) -> str:
        return "S"

    def set_align_text(self, text: str) -> None:
        pass

    def reinit_feat(self) -> None:
        pass

    def start_utt(self) -> None:
        pass

    def process_raw(self, pcm: bytes, full_utt: bool) -> None:
        pass

    def end_utt(self) -> None:
        if self.script is None:
            raise RuntimeError("Failed to stop utterance processing")

    def set_alignment(self) -> None:
        pass

    def get_alignment(self) -> list[FakeEntry]:
        assert self.script is not None
        return [FakeEntry(name, 10 * n, 10) for n, name in enumerate(self.script)]


def _scripted(monkeypatch: pytest.MonkeyPatch, *scripts: list[str] | None) -> list[int]:
    """Let the searches of new aligners answer with `scripts`; return which were asked, after the dictionary's."""
    asked: list[int] = []
    assert len(scripts) == len(SEARCHES)

    def decoder(self: Aligner, number: int) -> FakeDecoder:
        asked.append(number)
        return FakeDecoder(scripts[number])

    monkeypatch.setattr(Aligner, "_decoder", decoder)
    return asked


def test_a_search_that_loses_words_is_followed_by_a_wider_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lost words and a search that gives up lead to the next; the first whole answer is taken."""
    asked = _scripted(monkeypatch, ["<s>", "one"], None, ["<s>", "one", "two(2)", "</s>"], None)
    found = Aligner().align(np.zeros(16000, np.float32), "one two")
    assert asked == [0, 0, 1, 2]
    assert [word.label for word in found.words] == [SILENCE, "one", "two", SILENCE]


@pytest.mark.parametrize(
    "scripts", [[["one"], ["one"], None, ["one"]], [["one", "three", "two"]] * 4]
)
def test_words_lost_in_every_search_are_an_error(
    monkeypatch: pytest.MonkeyPatch, scripts: list[list[str] | None]
) -> None:
    """The first lost word and its place are named; as many words in a wrong order are not enough."""
    _scripted(monkeypatch, *scripts)
    with pytest.raises(CorpusError, match=r"from 'two' on \(word 2 of 3\)"):
        Aligner().align(np.zeros(16000, np.float32), "one two three")


@pytest.mark.parametrize(
    ("samples", "text", "complaint"),
    [
        (1600, "please call stella and ask her to bring these things", "text and recording"),
        *((samples, "hello", "text and recording") for samples in (1, 2, 100, 410)),
        *((16000, text, "no words") for text in ("", " \n", "... !")),
    ],
)
def test_a_sound_too_short_for_its_words_and_no_words_are_an_error(
    samples: int, text: str, complaint: str
) -> None:
    """Down to less than an analysis window, it is said instead of losing words; so is nothing to align."""
    with pytest.raises(CorpusError, match=complaint):
        align(np.zeros(samples, np.float32), text)


def test_without_pocketsphinx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install."""
    monkeypatch.setattr(sphinx, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"vqspeech\[align\]"):
        Aligner()


def test_rumble_is_taken_out_and_speech_left() -> None:
    """20 Hz falls by more than 60 dB, 200 Hz by less than 0.1 dB, and neither moves in time."""
    time = np.arange(32000) / 16000
    for frequency, least, most in ((20, 0, 1e-3), (200, 0.99, 1.0)):
        wav = (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)
        left = prepare_sound(wav, 16000)[8000:24000] / 32768
        assert least <= np.abs(left).max() / 0.5 <= most + 1e-3
    assert np.abs(left - wav[8000:24000]).max() < 5e-3


def test_the_last_interval_reaches_the_end_and_gaps_are_silence() -> None:
    """Gaps become silence, silence beside silence is one, and the sound's end is the last edge."""
    intervals = [Interval(0.1, 0.2, "s"), Interval(0.2, 0.3, SILENCE), Interval(0.35, 0.4, "t")]
    covering = list(sphinx._covering(intervals, 0.415))
    assert [i.label for i in covering] == [SILENCE, "s", SILENCE, "t"]
    assert [i.start_s for i in covering] == [0.0, 0.1, 0.2, 0.35]
    assert covering[-1].end_s == 0.415


def test_lab_is_read_back(tmp_path: Path) -> None:
    """The label file holds whole 100 ns, `pau` for silence, and reads as the phones that were written."""
    phones = [Interval(0.0, 0.21, SILENCE), Interval(0.21, 0.5, "aa"), Interval(0.5, 0.7001, "s")]
    text = Alignment(phones, phones).to_lab()
    assert text.splitlines()[0] == "0 2100000 pau"
    (tmp_path / "a.lab").write_text(text)
    read = read_lab(tmp_path / "a.lab")
    assert [(i.start_s, i.end_s, to_arpabet(i.label)) for i in read] == [
        (i.start_s, i.end_s, i.label) for i in phones
    ]


def test_textgrid_is_valid_to_another_reader(made: list[Said], tmp_path: Path) -> None:
    """praatio reads both tiers, which cover the recording, and silence is an empty label."""
    textgrid = pytest.importorskip("praatio.textgrid", reason="needs praatio (the extra `dev`)")
    found = align(made[0].wav, made[0].text)
    (tmp_path / "a.TextGrid").write_text(found.to_textgrid())
    grid = textgrid.openTextgrid(
        str(tmp_path / "a.TextGrid"), includeEmptyIntervals=True, reportingMode="error"
    )
    assert grid.tierNames == ("words", "phones")
    for name, intervals in (("words", found.words), ("phones", found.phones)):
        tier = grid.getTier(name)
        assert tier.maxTimestamp == pytest.approx(len(made[0].wav) / 16000)
        assert [e.label for e in tier.entries] == [
            "" if i.label == SILENCE else i.label for i in intervals
        ]
        times = [(e.start, e.end) for e in tier.entries]
        assert np.allclose(times, [(i.start_s, i.end_s) for i in intervals], atol=1e-7)


def test_real_speech_agrees_with_the_labels_that_come_with_it(real_speech: Path) -> None:
    """Of 12 utterances 11 have the same phones, and their edges differ by 10 ms or less in the median."""
    with (real_speech / "manifest.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["corpus"] == "arctic"]
    same, differences = 0, []
    for row in rows[:: len(rows) // 12][:12]:
        found = align(audio.read(real_speech / row["path"]), row["text"])
        known = read_lab(real_speech / row["labels"])
        a = [i for i in found.phones if i.label != SILENCE]
        b = [i for i in known if to_arpabet(i.label) != SILENCE]
        if [i.label for i in a] == [to_arpabet(i.label) for i in b]:
            same += 1
            differences += [abs(i.start_s - j.start_s) for i, j in zip(a, b, strict=True)]
    assert same >= 11
    assert np.median(differences) <= 0.0101
