"""Files and folders that are whole or not there."""

from pathlib import Path

import pytest

from vqspeech.jobs.atomic import write_atomically, write_folder_atomically


def _fill(folder: Path) -> None:
    (folder / "a").write_text("whole")


def test_names_as_long_as_names_can_be(tmp_path: Path) -> None:
    """What is written beside a place needs no longer name than the place has."""
    name = "n" * 255
    write_atomically(tmp_path / name, lambda place: place.write_text("whole"))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / name).unlink()
    for _ in range(2):  # the second replaces the first
        write_folder_atomically(tmp_path / name, _fill)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name / "a").read_text() == "whole"


def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    """Neither a half-written folder nor anything beside it stays."""
    write_folder_atomically(tmp_path / "f", _fill)

    def fail(folder: Path) -> None:
        (folder / "b").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_folder_atomically(tmp_path / "f", fail)
    assert [path.name for path in tmp_path.rglob("*")] == ["f", "a"]
