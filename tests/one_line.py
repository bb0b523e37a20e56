"""What every refusal has in common: an error of one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def one_line(
    kind: type[Exception] | tuple[type[Exception], ...],
    *parts: object,
    start: object = "",
    match: str = "",
) -> Iterator[None]:
    """Expect an error of one line that begins with `start`, holds all `parts` and matches."""
    with pytest.raises(kind) as error:
        yield
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(str(start)), line
    assert all(str(part) in line for part in parts), line
    assert re.search(match, line), line
