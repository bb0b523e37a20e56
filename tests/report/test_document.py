import base64
import io
import re
from math import nan

import numpy as np
import soundfile

from vqspeech.metrics.bootstrap import Interval95
from vqspeech.report.document import (
    Cell,
    Table,
    html_page,
    html_table,
    markdown_table,
    percent,
    percent_range,
    plain,
    player,
)

TABLE = Table("T <1>", "note", ("a",), {"x|y": (Cell(1.0, "1", "chance 2"),)}, head="row")


def test_numbers_for_people() -> None:
    """Shares are percent with one digit; what was not measured is a dash, or nothing behind a dash."""
    assert (percent(0.1234), percent(nan)) == ("12.3 %", "-")
    assert percent_range(Interval95(0.1, 0.2)) == " [10.0 to 20.0]"
    assert percent_range(Interval95(nan, nan)) == ""


def test_values_for_programs() -> None:
    """nan is null, tuples are lists, at any depth."""
    assert plain({"a": (nan, 1.0), "b": {"c": nan}}) == {"a": [None, 1.0], "b": {"c": None}}


def test_a_table_is_the_same_in_both_forms() -> None:
    """Title, head, value and baseline are there, and no name breaks the markup."""
    assert markdown_table(TABLE) == [
        *("## T <1>", "", "note", "", "| row | a |", "| --- | ---: |"),
        *("| x\\|y | 1 (chance 2) |", ""),
    ]
    html = html_table(TABLE, ["x|y"])
    assert "T &lt;1&gt;" in html
    assert '<tr class="baseline"><th scope="row">x|y</th><td data-value="1.0">1<small>' in html


def test_sections_without_content_are_left_out() -> None:
    """Neither they nor links to them are on the page."""
    page = html_page("T", "", {"a": ("A", "<p>1</p>"), "b": ("B", "")}, "end.")
    assert re.findall(r'href="([^"]+)"', page) == ["#a"]
    assert 'role="alert"' not in page


def test_a_player_holds_its_sound() -> None:
    """The address of the sound is the sound."""
    wav = np.linspace(-0.5, 0.5, 100, dtype=np.float32)
    markup = player("<a>", wav, 16000, "<p>below</p>")
    content = base64.b64decode(markup.split("base64,")[1].split('"')[0])
    found, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(found, wav, atol=1 / 32768)
    assert "&lt;a&gt;" in markup
    assert markup.endswith("<p>below</p></figure>")
