from pathlib import Path

import pytest
from one_line import one_line
from praatio import textgrid as praatio

from vqspeech.errors import CorpusError
from vqspeech.labels.files import read_labels
from vqspeech.labels.frames import Interval
from vqspeech.labels.textgrid import parse_textgrid, to_textgrid

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 0.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 0.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "say ""eye"" loud"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 0.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = ""
        intervals [2]:
            xmin = 0.25
            xmax = 0.3
            text = "AY1"
        intervals [3]:
            xmin = 0.3
            xmax = 0.5
            text = "ŋ"
"""

SHORT = """File type = "ooTextFile"
"TextGrid"

0
0.5
<exists>
3
"IntervalTier"
"words"
0
0.5
1
0
0.5
"say ""eye"" loud"
"TextTier"
"phones"
0
0.5
2
0.1
"3 ""x"
0.2
""
"IntervalTier" "Phones" 0 0.5 3 ! all on one line
0 0.25 "" 0.25 0.3 "AY1" 3e-1 0.5 "ŋ"
"""

EXPECTED = [Interval(0.0, 0.25, ""), Interval(0.25, 0.3, "AY1"), Interval(0.3, 0.5, "ŋ")]


@pytest.fixture
def grid(tmp_path: Path):
    def write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "a.TextGrid"
        path.write_text(text, encoding=encoding)
        return path

    return write


@pytest.mark.parametrize("text", [LONG, SHORT])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_both_formats_read_in_both_encodings(grid, text: str, encoding: str) -> None:
    """Long and short files say the same, with points passed over and quotes inside texts."""
    assert read_labels(grid(text, encoding)) == EXPECTED
    assert read_labels(grid(text.replace("\n", "\r\n"), encoding)) == EXPECTED


def test_quotes_and_lines_inside_a_text_are_text() -> None:
    """Doubled quotes are quotes, and a text may hold a line break."""
    words = parse_textgrid(LONG.replace("say ", "say\n"), "a")[0]
    assert words.intervals[0].text == 'say\n"eye" loud'


@pytest.mark.parametrize("form", ["short_textgrid", "long_textgrid"])
def test_files_of_an_independent_writer_read(tmp_path: Path, form: str) -> None:
    """praatio's two text formats give back what was put in."""
    made = praatio.Textgrid()
    entries = [(i.start_s, i.end_s, i.label or "sil") for i in EXPECTED]
    made.addTier(praatio.PointTier("clicks", [(0.1, "x")], 0, 0.5))
    made.addTier(praatio.IntervalTier("p225 - phones", entries, 0, 0.5))
    path = tmp_path / "a.TextGrid"
    made.save(str(path), format=form, includeBlankSpaces=True)
    assert [(i.start_s, i.end_s, i.label) for i in read_labels(path)] == entries


def test_files_this_package_writes_read(grid) -> None:
    """What the writer says, quotes and all, is what the reader hears."""
    entries = [(0.0, 1 / 3, ""), (1 / 3, 0.5, 'a"b'), (0.5, 1234.567891, "ŋ")]
    path = grid(to_textgrid({"words": [], "phones": entries}, 1234.567891))
    found = read_labels(path)
    assert [i.label for i in found] == ["", 'a"b', "ŋ"]
    assert [i.start_s for i in found] == pytest.approx([0, 1 / 3, 0.5], abs=1e-7)
    assert found[0].end_s == found[1].start_s


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *(
            ("phones", name)
            for name in (
                *("phones", "PHONES", " Phones ", "p225 - phones"),
                *("Anne-Phones", "phone", "Segments", "MAU"),
            )
        ),
        ("words", "segments"),
    ],
)
def test_tier_of_phones_is_found_by_name(grid, before: str, after: str) -> None:
    """The names that aligners give it, in any case; of several names the first of the list."""
    assert read_labels(grid(LONG.replace(f'"{before}"', f'"{after}"'))) == EXPECTED


@pytest.mark.parametrize(
    ("before", "after", "line", "complaint"),
    [
        ('"ooTextFile"', '"ooBinaryFile"', 1, "expected the file type"),
        ('"TextGrid"', '"PitchTier"', 2, "found 'PitchTier', expected the object class"),
        ("xmax = 0.25", "xmax = quarter", 28, """found '""', expected the end of an interval"""),
        ("xmin = 0.3", 'xmin = "0.3"', 34, "expected the start of an interval"),
        ('text = "AY1"', "text = 7", 32, "found '7', expected the text of an interval"),
        ('text = "ŋ"', 'text = "ŋ', 36, "expected the text of an interval"),
        ("size = 3", "size = 4", 36, "the file ends where the start of an interval was expected"),
        ("size = 3", "size = 2.5", 24, "expected the number of intervals"),
        ("size = 3", "size = 1e999", 24, "found inf, expected the number of intervals"),
        ('"IntervalTier"', '"Tier"', 10, 'expected "IntervalTier" or "TextTier"'),
        ("xmax = 0.3\n", "xmax = 0.2\n", 30, "'AY1' runs from 0.25 to 0.2; times must not"),
        ("xmin = 0.3\n", "xmin = 0.28\n", 34, "'ŋ' starts at 0.28, before .* ends at 0.3"),
    ],
)
def test_errors_name_file_line_and_what_was_expected(
    grid, before: str, after: str, line: int, complaint: str
) -> None:
    """Whatever is broken, one line tells where."""
    assert before in LONG
    path = grid(LONG.replace(before, after))
    with one_line(CorpusError, start=f"{path}, line {line}: ", match=complaint):
        read_labels(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r'line 1: .*file type "ooTextFile"'),
        ("0 10 a\n", r'line 1: .*file type "ooTextFile"'),
        (
            'File type = "ooTextFile"\nObject class = "TextGrid"\n0\n1\ntiers? <absent>\n',
            r"a\.TextGrid: no tier of phones .*\(none\)",
        ),
        (
            LONG.replace('"phones"', '"tones"'),
            r"no tier of phones .*\('words', 'tones'\)",
        ),
        (
            LONG.replace('"words"', '"a - phones"').replace('"phones"', '"b - phones"'),
            r"several tiers of phones \('a - phones', 'b - phones'\)",
        ),
    ],
    ids=["empty", "another format", "no tiers", "no phones", "two speakers"],
)
def test_text_without_one_tier_of_phones_is_refused(grid, text: str, complaint: str) -> None:
    """What is there instead is said: taking the first of two speakers would be a guess."""
    with pytest.raises(CorpusError, match=complaint):
        read_labels(grid(text))
