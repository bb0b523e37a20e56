"""Progress: lines for a log, a bar for a terminal."""

import io
import re

import pytest

from vqspeech.jobs import progress
from vqspeech.jobs.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that stands still until it is moved."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_plain_line_has_rate_and_time_left(clock: Clock) -> None:
    """After 10 s and 20 of 100 files: 2 a second, 40 s left; and what the caller adds."""
    stream = io.StringIO()
    with Progress(100, "files", "packing", stream=stream) as shown:
        clock.now += 10
        shown.update(20, "all well")
    assert stream.getvalue() == "packing: 20/100 files, 2/s, 40 s left, all well\n"


def test_lines_come_now_and_then(clock: Clock) -> None:
    """One line each `every_s`, however often progress is made."""
    stream = io.StringIO()
    with Progress(100, "files", "packing", every_s=5, stream=stream) as shown:
        for _ in range(100):
            clock.now += 0.125
            shown.update()
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["40/100", "80/100"]


def test_quick_work_says_nothing(clock: Clock) -> None:
    """What is done before the first line is due leaves no output in a log."""
    stream = io.StringIO()
    with Progress(3, "files", "packing", stream=stream) as shown:
        shown.update(3)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("initial", "now", "expected"),
    [
        (80, 10, "90/100 steps, 1/s, 10 s left"),
        (0, 0, "0/100 steps, 0/s, "),
        (0, 120, "120/100 steps, 12/s, 0 s left"),
    ],
    ids=["resumed, what was done before is not in the rate", "standing still", "past the total"],
)
def test_time_left_is_never_negative_or_divided_by_zero(
    clock: Clock, initial: int, now: int, expected: str
) -> None:
    """After 10 s: 10 of the last 20 steps, none at all, or more than were announced."""
    stream = io.StringIO()
    with Progress(100, "steps", "training", initial=initial, stream=stream) as shown:
        clock.now += 10
        shown.update(now)
    assert stream.getvalue().startswith(f"training: {expected}")


def test_terminal_gets_a_bar() -> None:
    """On a terminal a bar is redrawn on one line, with count, unit, note and a start at `initial`."""
    stream = Terminal()
    with Progress(50, "steps", "training", initial=20, stream=stream) as shown:
        shown.update(30, "nll 3.1")
    text = stream.getvalue()
    assert text.count("\n") == 1
    first, last = text.split("\r")[1], text.split("\r")[-1]
    assert re.search(r"training: +40%.*20\.0/50\.0", first)
    assert re.search(r"training: 100%.*50\.0/50\.0.* steps/s, nll 3\.1\]", last)


def test_bar_is_closed_by_an_error() -> None:
    """What comes after a failure starts on a line of its own."""
    stream = Terminal()
    with pytest.raises(RuntimeError), Progress(5, "files", "packing", stream=stream):
        raise RuntimeError
    assert stream.getvalue().endswith("\n")


def test_standard_error_is_the_default(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Progress never mixes with what a command prints as its result."""
    with Progress(2, "files", "packing") as shown:
        clock.now += 11
        shown.update()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("packing: 1/2 files")
