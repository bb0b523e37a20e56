"""Text to the words that are said."""

import pytest

from vqspeech.alignment.spell import spell

pytest.importorskip("num2words", reason="needs num2words (the extra `align`)")

KNOWN = {"'tis", "'n", "dogs'", "don't", "o'clock", "life-giving", "u.s.", "b.", "a.m.", "i'm"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Please call Stella.", "please call stella"),
        ("Mr. and Mrs Smith, Dr. Who", "mister and missus smith doctor who"),
        ("St. Paul's Prof. Jones, Jr.", "st paul's professor jones junior"),
        ("in Jan. the rep. said, e.g. etc.", "in january the representative said for example etc"),
        ("I don\u2019t, I`m", "i don't i'm"),
        ("'Tis the dogs' 'fine' rock 'n' roll", "'tis the dogs' fine rock 'n roll"),
        ("life-giving, life-conserving", "life-giving life conserving"),
        ("the U.S. and the B.B.C. at 10 a.m.", "the u.s. and the b. b. c. at ten a.m."),
        ("café naïve", "cafe naive"),
        ("It is 1990; in the 1980s 2,005", "it is nineteen ninety in the nineteen eighties"
         " two thousand and five"),
        ("21st, 2nd and 103rd", "twenty first second and one hundred and third"),
        ("$3.50 or £5 million, €1, $1.01, £0.50", "three dollars and fifty cents or five million"
         " pounds one euro one dollar and one cent fifty pence"),
        ("3.14, -5 and 007; No. 7? No.", "three point one four minus five and zero zero seven"
         " number seven no"),
        ("50% of R&B at 4:00, 12:05", "fifty percent of r and b at four o'clock twelve oh five"),
        ("mp3 1914-18 4x4", "mp three nineteen fourteen eighteen four x four"),
        ("wait—what … (yes) [no] \"so\"", "wait what yes no so"),
        ("... -- ' !", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_text_becomes_the_words_that_are_said(text: str, said: str) -> None:
    """Numbers, money, abbreviations, apostrophes, hyphens, accents and punctuation, one row each."""
    assert spell(text, KNOWN.__contains__) == said.split()


def test_the_dictionary_decides_whether_a_hyphen_divides() -> None:
    """The same text is one word where the dictionary has it and two where not."""
    assert spell("x-ray", {"x-ray"}.__contains__) == ["x-ray"]
    assert spell("x-ray") == ["x", "ray"]
    assert spell("x-ray", {"x-ray", "x", "ray"}.__contains__) == ["x", "ray"]


def test_text_without_digits_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """num2words is asked for by digits only."""
    monkeypatch.setitem(__import__("sys").modules, "num2words", None)
    assert spell("two words") == ["two", "words"]
    with pytest.raises(ImportError):
        spell("2 words")
