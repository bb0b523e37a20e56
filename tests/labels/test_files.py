from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from one_line import one_line

from vqspeech.errors import CorpusError
from vqspeech.labels import files as labelfiles
from vqspeech.labels.files import read_ctm, read_labels
from vqspeech.labels.frames import Interval, check_end, frame_centres_s, frames_within, labels_at
from vqspeech.labels.phones import PHONE_INDEX, PHONES, to_arpabet
from vqspeech.metrics.contingency import contingency


@pytest.fixture
def lab(tmp_path: Path):
    def write(text: str | bytes, name: str = "a.lab") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_times_become_seconds(lab) -> None:
    """100 ns units are divided out exactly; blank lines and further columns are passed over."""
    path = lab("\n   0 2100000 ao\n\n 2100000\t3000001 th -12.5 word \r\n3000001 3000001 x\n\n")
    assert read_labels(path) == [
        Interval(0.0, 0.21, "ao"),
        Interval(0.21, 0.3000001, "th"),
        Interval(0.3000001, 0.3000001, "x"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("0 10 a\n10 twenty b\n", 2, "'10 twenty b'"),
        ("0 10\n", 1, "expected 'start end phone'"),
        ("0 10 a\n\n0.5 0.7 b\n", 3, "whole numbers of 100 ns"),
        ("20 10 a\n", 1, "backwards"),
        ("-5 10 a\n", 1, "negative"),
        ("0 300000 a\n100000 400000 b\n", 2, "overlap"),
    ],
)
def test_bad_lines_name_file_and_line(lab, text: str, line: int, complaint: str) -> None:
    """The error says which file, which line, what was found, on one line."""
    path = lab(text)
    with one_line(CorpusError, complaint, start=f"{path}, line {line}: "):
        read_labels(path)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.lab", b"0 10 \xff\xfe\n", r"a\.lab: not UTF-8"),
        ("a.lab", b"\xff\xfe0", "not UTF-8 or UTF-16"),
        ("a.mlf", b"0 10 a\n", r"no reader .* '\.mlf'; known are \.ctm, \.eaf, \.lab, \.phn"),
    ],
)
def test_files_that_cannot_be_read_are_named(
    lab, name: str, content: bytes, complaint: str
) -> None:
    """What is no text, what has no reader, and what is not there."""
    with pytest.raises(CorpusError, match=complaint):
        read_labels(lab(content, name))
    with pytest.raises(CorpusError, match=r"b\.lab: no such label file"):
        read_labels(lab(content, name).with_name("b.lab"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\n \n", []),
        ("\ufeff0 10 ŋ\n".encode(), [Interval(0.0, 1e-6, "ŋ")]),
        (b"\xff\xfe" + "0 10 ŋ\n".encode("utf-16-le"), [Interval(0.0, 1e-6, "ŋ")]),
        (b"\xfe\xff" + "0 10 ŋ\n".encode("utf-16-be"), [Interval(0.0, 1e-6, "ŋ")]),
    ],
    ids=["empty", "UTF-8 with a mark", "little-endian", "big-endian"],
)
def test_text_is_utf_8_or_utf_16(lab, content: bytes, expected: list[Interval]) -> None:
    """Praat saves what ASCII cannot hold as UTF-16; nothing labelled is no error; a suffix may be in any case."""
    assert read_labels(lab(content)) == read_labels(lab(content, "A.LAB")) == expected


FULL_CONTEXT = (
    "0 1500000 x^x-pau+hh=iy@x_x/A:0_0_0/B:x-x-x@x-x&x-x#x-x$x-x!x-x;x-x|x/C:1+0+2\n"
    "1500000 2100000 x^pau-hh+iy=w@1_2/A:0_0_0/B:1-0-2@1-1&1-7#1-4$1-3!0-2;0-4|iy/C:1+1+4\n"
    "2100000 3000000 hh^iy-w+ax=z@1_4/A:x_0-1/B:0-0-1@1-1&2-6#1-4/J:7+5-1\n"
)


def test_full_context_labels_hold_the_phone_between_minus_and_plus(lab) -> None:
    """What HTS writes of the neighbours, syllable, word and phrase is passed over."""
    assert read_labels(lab(FULL_CONTEXT)) == [
        Interval(0.0, 0.15, "pau"),
        Interval(0.15, 0.21, "hh"),
        Interval(0.21, 0.3, "w"),
    ]
    assert [i.label for i in read_labels(lab("0 1 a-b+c\n1 2 b-c\n2 3 x\n"))] == ["b", "b-c", "x"]


def test_states_of_a_phone_are_joined(lab) -> None:
    """Five states make a phone; the same phone twice stays two; a gap is not bridged."""
    states = [(number, "x^x-aa+aa=s@1") for number in (2, 3, 4, 5, 6)] * 2
    states += [(2, "aa^aa-s+x=x@1"), (3, "aa^aa-s+x=x@1")]
    lines = [f"{i}00 {i + 1}00 {name}[{state}]" for i, (state, name) in enumerate(states)]
    found = read_labels(lab("\n".join([*lines, "1300 1400 s[2]", "1500 1600 s[3]"])))
    assert [interval.label for interval in found] == ["aa", "aa", "s", "s", "s"]
    assert [(round(i.start_s * 1e5), round(i.end_s * 1e5)) for i in found] == [
        *((0, 5), (5, 10), (10, 12), (13, 14), (15, 16)),
    ]


def test_ctm_holds_several_utterances(lab) -> None:
    """Start and duration become start and end; comments and confidences are passed over."""
    path = lab(";; made by hand\nb 1 0.00 0.10 SIL 1.00\nb 1 0.10 0.05 AH0_B\na A 2.5 1 s 0.9\n\n")
    assert read_ctm(path) == {
        "b": [Interval(0.0, 0.1, "SIL"), Interval(0.1, 0.15, "AH0_B")],
        "a": [Interval(2.5, 3.5, "s")],
    }


def test_labels_of_a_ctm_are_those_of_the_file_s_name_or_the_only_ones(lab) -> None:
    """A file of several utterances none of which is its own is an error that names some."""
    several = "a 1 0 1 x\nb 1 0 1 y\n"
    assert [i.label for i in read_labels(lab(several, "b.ctm"))] == ["y"]
    assert [i.label for i in read_labels(lab("a 1 0 1 x\n", "other.ctm"))] == ["x"]
    assert read_labels(lab("", "empty.ctm")) == []
    with pytest.raises(CorpusError, match=r"c\.ctm: 2 utterances \(a, b, \.\.\.\) and none .* c;"):
        read_labels(lab(several, "c.ctm"))


def test_rounded_times_of_a_ctm_do_not_overlap(lab) -> None:
    """Two decimals may put an end 10 ms after the next start; more is an error."""
    path = lab("a 1 0.00 0.11 x\na 1 0.10 0.10 y\n")
    assert read_ctm(path)["a"] == [Interval(0.0, 0.1, "x"), Interval(0.1, 0.2, "y")]
    with pytest.raises(CorpusError, match=r"line 2: .y. starts at 0\.1, .* ends at 0\.12"):
        read_ctm(lab("a 1 0.00 0.12 x\na 1 0.10 0.10 y\n"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a 1 0.1 0.1", "expected 'utterance channel start duration phone'"),
        ("a 1 zero 0.1 x", "found 'a 1 zero 0.1 x'"),
        ("a 1 -0.1 0.1 x", "negative"),
        ("a 1 0.1 -0.1 x", "backwards"),
        ("a 1 nan 0.1 x", "from nan to nan"),
        ("a 1 0 inf x", "from 0.0 to inf"),
    ],
)
def test_bad_lines_of_a_ctm_name_file_and_line(lab, line: str, complaint: str) -> None:
    """The error says where, what was found and what was expected."""
    path = lab(f"b 1 0 1 x\n{line}\n", "a.ctm")
    with pytest.raises(CorpusError, match=complaint) as caught:
        read_ctm(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")


INTERVALS = [Interval(0.1, 0.2, "a"), Interval(0.2, 0.2, "x"), Interval(0.2, 0.3, "b")]
GAP = [Interval(0.0, 0.1, "a"), Interval(0.2, 0.3, "b")]


@pytest.mark.parametrize(
    ("intervals", "times_s", "labels"),
    [
        (INTERVALS, [-1.0, 0.05, 0.1, 0.15], ["sil", "sil", "a", "a"]),
        (INTERVALS, [0.2, 0.1 + 0.1], ["b", "b"]),
        (INTERVALS, [0.3 - 1e-12, 0.3, 9.0], ["sil"] * 3),
        (GAP, [0.05, 0.15, 0.25], ["a", "sil", "b"]),
        ([], [0.0, 1.0], ["sil", "sil"]),
    ],
    ids=["start", "boundary", "end", "gap", "nothing"],
)
def test_label_at_a_time(
    intervals: list[Interval], times_s: list[float], labels: list[str]
) -> None:
    """A boundary belongs to the later interval, float rounding included; what no interval holds is silence."""
    assert labels_at(intervals, times_s) == labels
    assert [labels_at(intervals, [time_s])[0] for time_s in times_s] == labels


def test_frame_centre_on_a_boundary_belongs_to_the_later_phone() -> None:
    """At hop 640, 16 kHz, frame 2 has its centre at 0.1 s, where b begins."""
    centres = frame_centres_s(4, 640, 16000)
    assert centres.tolist() == pytest.approx([0.02, 0.06, 0.1, 0.14])
    intervals = [Interval(0.0, 0.1, "a"), Interval(0.1, 0.2, "b")]
    assert labels_at(intervals, centres) == ["a", "a", "b", "b"]


def test_every_frame_centre_on_a_boundary_belongs_to_the_later_phone() -> None:
    """With a boundary at each of an hour's frame centres no rounding puts one in the phone before."""
    units = range(20_000 * 5, 36_000_000_000, 40_000 * 997)
    intervals = [Interval(unit / 1e7, (unit + 100) / 1e7, str(unit)) for unit in units]
    frames = [(unit / 1e7) for unit in units]
    shifted = frame_centres_s(len(units), 64 * 997, 16000, start_s=0.01 - 0.5 * 64 * 997 / 16000)
    assert labels_at(intervals, frames) == [str(unit) for unit in units]
    assert labels_at(intervals, shifted) == [str(unit) for unit in units]


def test_frames_within_an_interval_are_those_labelled_so() -> None:
    """Bounds and labels agree on every frame, on boundaries, in gaps and after a crop."""
    rng = np.random.default_rng(0)
    for start_s in (0.0, 0.123):
        ends = np.cumsum(rng.integers(1, 12, size=40)) * 0.005
        intervals = [
            Interval(a, b, str(i)) for i, (a, b) in enumerate(pairwise(ends)) if i % 7 != 3
        ]
        times_s = frame_centres_s(140, 160, 16000, start_s)
        labels = np.array(labels_at(intervals, times_s))
        bounds = frames_within(intervals, times_s)
        for interval, (first, last) in zip(intervals, bounds, strict=True):
            assert np.flatnonzero(labels == interval.label).tolist() == list(range(first, last))
    assert frames_within([], times_s).shape == (0, 2)


def test_an_hour_is_tabulated_whole() -> None:
    """360,000 frames against 40,000 intervals: each is looked up, folded and counted."""
    rng = np.random.default_rng(0)
    ends = np.linspace(0, 3600, 40_001)
    names = rng.choice([*PHONES, "AH0", "pau"], size=40_000)
    intervals = [
        Interval(a, b, str(name)) for (a, b), name in zip(pairwise(ends), names, strict=True)
    ]
    codes = rng.integers(512, size=360_000)
    labels = labels_at(intervals, frame_centres_s(360_000, 160, 16000))
    phones = [PHONE_INDEX[to_arpabet(label) or "sil"] for label in labels]
    counts = contingency(phones, codes, len(PHONES), 512)
    assert counts.sum() == 360_000


def test_trimmed_recordings_keep_their_times() -> None:
    """Half a second cut off the front moves every centre by half a second."""
    moved = frame_centres_s(3, 160, 16000, start_s=0.5) - frame_centres_s(3, 160, 16000)
    assert moved.tolist() == pytest.approx([0.5] * 3)


def test_real_label_files_read(real_speech: Path) -> None:
    """Every label file of the real recordings reads, and its intervals follow one another."""
    paths = sorted(real_speech.rglob("*.lab"))
    assert paths
    for path in paths:
        intervals = read_labels(path)
        assert intervals, path
        assert all(a.end_s <= b.start_s for a, b in pairwise(intervals))


def _grid(tier: str, rows: list[tuple[float, float, str]]) -> str:
    """Return a TextGrid of one tier."""
    intervals = "".join(f'{start} {end} "{label}"\n' for start, end, label in rows)
    head = f'"ooTextFile"\n"TextGrid"\n0 99 <exists> 1\n"IntervalTier" "{tier}" 0 99 {len(rows)}\n'
    return head + intervals


def _eaf(tier: str, rows: list[tuple[int, int, str]]) -> str:
    """Return an ELAN file of one tier, times in milliseconds."""
    times = [time for start, end, _ in rows for time in (start, end)]
    slots = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="t{k}" TIME_VALUE="{time}"/>' for k, time in enumerate(times)
    )
    annotations = "".join(
        f'<ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="t{2 * k}" TIME_SLOT_REF2="t{2 * k + 1}">'
        f"<ANNOTATION_VALUE>{label}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
        for k, (_, _, label) in enumerate(rows)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT>'
        f"<TIME_ORDER>{slots}</TIME_ORDER>"
        f'<TIER TIER_ID="{tier}">{annotations}</TIER></ANNOTATION_DOCUMENT>'
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.lab", "0 5100000 ah\n5000000 10000000 s\n"),
        ("a.lab", "0.0 0.51 ah\n0.5 1.0 s\n"),
        ("a.phn", "0 8160 ah\n8000 16000 s\n"),
        ("a.ctm", "a 1 0 0.51 ah\na 1 0.5 0.5 s\n"),
        ("a.TextGrid", _grid("phones", [(0, 0.51, "ah"), (0.5, 1, "s")])),
        ("a.eaf", _eaf("phones", [(0, 510, "ah"), (500, 1000, "s")])),
    ],
)
def test_overlaps_by_rounding_are_mended_in_every_format(
    lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    """Up to 10 ms the earlier interval is shortened, with a word; more is refused."""
    monkeypatch.setattr(labelfiles, "_said", set())
    assert read_labels(lab(text, name)) == [Interval(0, 0.5, "ah"), Interval(0.5, 1, "s")]
    assert "overlaps the interval above it by 10 ms" in caplog.text
    worse = text.replace("51", "52").replace("8160", "8400")
    with pytest.raises(CorpusError, match="overlap"):
        read_labels(lab(worse, name))


def test_festival_labels_have_ends_and_a_header(lab) -> None:
    """Each phone begins where the one before ends; HTK's second column is no colour."""
    text = "separator ;\nnfields 1\n#\n 0.2200 125 pau\n 0.3000 125 ah ; more\n"
    expected = [Interval(0, 0.22, "pau"), Interval(0.22, 0.3, "ah")]
    assert read_labels(lab(text)) == expected
    with pytest.raises(CorpusError, match="'end colour phone'"):
        read_labels(lab("#\n0.1 ah\n"))


def test_timit_labels_are_samples(lab) -> None:
    """Times count samples at 16 kHz; closures are of their stops."""
    found = read_labels(lab("0 3050 h#\n3050 4559 sh\n4559 5000 kcl\n5000 5100 q\n", "SX1.PHN"))
    assert found[1] == Interval(3050 / 16000, 4559 / 16000, "sh")
    assert [to_arpabet(i.label) for i in found] == ["sil", "sh", "k", "t"]


def test_elan_files_are_read_and_broken_ones_named(lab) -> None:
    """Annotations come in order of time; what is no EAF is an error of one line."""
    text = _eaf("Phones", [(500, 1000, "s"), (0, 500, "ah")])
    assert read_labels(lab(text, "a.eaf")) == [Interval(0, 0.5, "ah"), Interval(0.5, 1, "s")]
    for broken in (
        "",
        "<a/>",
        text[:200],
        text.replace('REF1="t0"', 'REF1="t9"'),
        _eaf("words", []),
    ):
        with one_line(CorpusError):
            read_labels(lab(broken, "a.eaf"))


def test_elan_annotations_without_a_place_in_time_are_passed_over(lab) -> None:
    """ELAN writes slots without a time where an annotation was divided and nobody moved the border."""
    text = _eaf("phones", [(0, 500, "ah"), (500, 800, "s"), (800, 1000, "t")])
    text = text.replace('"t3" TIME_VALUE="800"', '"t3"').replace('"t4" TIME_VALUE="800"', '"t4"')
    assert read_labels(lab(text, "a.eaf")) == [Interval(0, 0.5, "ah")]


def test_webmaus_tiers_are_sampa_unless_they_are_ipa(lab) -> None:
    """In SAMPA case carries the phone; a tier with a letter of IPA is left as it is."""
    sampa = ["S", "T", "D", "Z", "N", "V", "I", "U", "O:", "{", "Q", "3:", "@", "tS", "dZ", "<p:>"]
    wanted = [
        "sh",
        "th",
        "dh",
        "zh",
        "ng",
        "ah",
        "ih",
        "uh",
        "ao",
        "ae",
        "aa",
        "er",
        "ah",
        "ch",
        "jh",
        "sil",
    ]
    for name, found in (("MAU", wanted), ("phones", None)):
        rows = [(k, k + 1, label) for k, label in enumerate(sampa)]
        read = [to_arpabet(i.label) for i in read_labels(lab(_grid(name, rows), "a.TextGrid"))]
        assert found is None or read == found
        assert found is not None or read != wanted
    ipa = _grid("MAU", [(0, 1, "ʃ"), (1, 2, "s"), (2, 3, "i\u02d0")])
    assert [i.label for i in read_labels(lab(ipa, "b.TextGrid"))] == ["ʃ", "s", "i\u02d0"]


@pytest.mark.parametrize(
    ("factor", "fits"),
    [(1, True), (1.1, True), (0.9, True), (10, False), (1000, False), (0.1, False)],
)
def test_labels_that_end_elsewhere_are_of_another_recording(factor: float, fits: bool) -> None:
    """In another unit, or of another recording, the last phone ends far from the sound; silence does not count."""
    found = [Interval(0, 4 * factor, "ah"), Interval(4 * factor, 90 * factor, "sil")]
    if fits:
        check_end(Path("a.lab"), found, 0.0, 4.0)
    else:
        with pytest.raises(CorpusError, match=r"a\.lab: its last phone ends at"):
            check_end(Path("a.lab"), found, 0.0, 4.0)
    check_end(Path("a.lab"), [], 0.0, 4.0)
