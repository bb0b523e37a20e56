from itertools import pairwise
from pathlib import Path

import pytest

from vqspeech.analysis.labels import Interval, frame_centres_s, labels_at, read_labels
from vqspeech.errors import CorpusError


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


def test_byte_order_mark_and_ipa_are_text(lab) -> None:
    """A file saved with a byte order mark reads like any other."""
    assert read_labels(lab("\ufeff0 10 ŋ\n")) == [Interval(0.0, 1e-6, "ŋ")]


def test_empty_file_has_no_intervals(lab) -> None:
    """Nothing labelled is no error."""
    assert read_labels(lab("\n \n")) == []


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("0 10 a\n10 twenty b\n", 2, "'10 twenty b'"),
        ("0 10\n", 1, "expected 'start end phone'"),
        ("0 10 a\n\n0.5 0.7 b\n", 3, "whole numbers of 100 ns"),
        ("20 10 a\n", 1, "backwards"),
        ("-5 10 a\n", 1, "negative"),
        ("0 10 a\n9 20 b\n", 2, "overlap"),
    ],
)
def test_bad_lines_name_file_and_line(lab, text: str, line: int, complaint: str) -> None:
    """The error says which file, which line, what was found, on one line."""
    path = lab(text)
    with pytest.raises(CorpusError) as caught:
        read_labels(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}: ")
    assert complaint in message
    assert "\n" not in message


def test_file_that_is_not_text_is_refused(lab) -> None:
    """Bytes that are not UTF-8 name the file."""
    with pytest.raises(CorpusError, match=r"a\.lab: not UTF-8"):
        read_labels(lab(b"0 10 \xff\xfe\n"))


def test_missing_file_is_named(tmp_path: Path) -> None:
    """No file, no labels, one line."""
    with pytest.raises(CorpusError, match=r"b\.lab: no such label file"):
        read_labels(tmp_path / "b.lab")


def test_format_is_chosen_by_suffix(lab) -> None:
    """Upper case is the same suffix; a suffix without a reader names those there are."""
    assert len(read_labels(lab("0 10 a\n", "A.LAB"))) == 1
    with pytest.raises(CorpusError, match=r"no reader .* '\.ctm'; known are \.lab"):
        read_labels(lab("0 10 a\n", "a.ctm"))


INTERVALS = [Interval(0.1, 0.2, "a"), Interval(0.2, 0.2, "x"), Interval(0.2, 0.3, "b")]


@pytest.mark.parametrize(
    ("time_s", "label"),
    [
        (0.15, "a"),
        (0.2, "b"),
        (0.1 + 0.1, "b"),
        (0.3 - 1e-12, "sil"),
        (0.1, "a"),
        (0.05, "sil"),
        (0.3, "sil"),
        (-1.0, "sil"),
        (9.0, "sil"),
    ],
)
def test_label_at_a_time(time_s: float, label: str) -> None:
    """A boundary belongs to the later interval, float rounding included; outside is silence."""
    assert labels_at(INTERVALS, [time_s]) == [label]


def test_gap_is_silence() -> None:
    """What no interval holds is silence, also between two of them."""
    gap = [Interval(0.0, 0.1, "a"), Interval(0.2, 0.3, "b")]
    assert labels_at(gap, [0.05, 0.15, 0.25]) == ["a", "sil", "b"]


def test_no_intervals_are_silence() -> None:
    """A recording without labels is silence throughout."""
    assert labels_at([], [0.0, 1.0]) == ["sil", "sil"]


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
