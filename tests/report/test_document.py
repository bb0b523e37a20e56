from math import nan

import pytest
from jinja2 import UndefinedError

from vqspeech.metrics.bootstrap import Interval95
from vqspeech.report.document import (
    TEMPLATES,
    Cell,
    Table,
    fixed,
    markdown_table,
    percent,
    percent_range,
    plain,
)

TABLE = Table("T <1>", "note", {"x|y": {"<a>": Cell(1.0, "1", "chance <2>")}}, head="row")


def test_numbers_for_people() -> None:
    """Shares are percent with one digit; what was not measured is a dash, or nothing behind a dash."""
    assert (percent(0.1234), percent(nan), percent(None)) == ("12.3 %", "-", "-")
    assert (fixed(1.26, 1), fixed(nan, 1), fixed(None, 1)) == ("1.3", "-", "-")
    assert percent_range(Interval95(0.1, 0.2)) == " [10.0 to 20.0]"
    assert percent_range(Interval95(nan, nan)) == ""


def test_values_for_programs() -> None:
    """nan is null, tuples are lists, at any depth."""
    assert plain({"a": (nan, 1.0), "b": {"c": nan}}) == {"a": [None, 1.0], "b": {"c": None}}


def test_a_table_is_the_same_in_both_forms() -> None:
    """Title, head, value and baseline are there, and no name breaks the markup."""
    assert markdown_table(TABLE) == [
        *("## T <1>", "", "note", "", "| row | <a> |", "| --- | ---: |"),
        *("| x\\|y | 1 (chance <2>) |", ""),
    ]
    show = TEMPLATES.get_template("parts.html").module.table
    html = show(TABLE, ["x|y"])
    assert "<h3>T &lt;1&gt;</h3>" in html
    assert '<th scope="col">&lt;a&gt;</th>' in html
    cell = '<td data-value="1.0">1<small>chance &lt;2&gt;</small></td>'
    assert f'<tr class="baseline"><th scope="row">x|y</th>{cell}' in html
    assert '<tr class="baseline">' not in show(TABLE, [])


def test_a_value_that_nobody_gave_is_an_error_not_a_gap() -> None:
    """A page is whole or there is none."""
    with pytest.raises(UndefinedError, match="headlines"):
        TEMPLATES.get_template("evaluation.html").render(tables=[], examples=[])
