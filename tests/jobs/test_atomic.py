"""Files and folders that are whole or not there."""

import errno
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from one_line import one_line

from vqspeech import audio
from vqspeech.codes import files as codesfile
from vqspeech.codes.record import CodesRecord
from vqspeech.errors import VqspeechError
from vqspeech.jobs.atomic import write_atomically, write_folder_atomically
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import save_model, save_prior
from vqspeech.models.prior import Prior


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


def fail() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt() -> None:
    raise KeyboardInterrupt


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("reason", "raised"), [(fail, OSError), (interrupt, KeyboardInterrupt)])
def test_what_fails_half_way_leaves_what_was_there(
    tmp_path: Path, reason: Callable[[], None], raised: type[BaseException]
) -> None:
    """On a full disk or an interruption file and folder are what they were, and nothing temporary stays."""
    write_folder_atomically(tmp_path / "f", _fill)

    def half(place: Path) -> None:
        (place / "b" if place.is_dir() else place).write_text("half")
        reason()

    for write, name in ((write_folder_atomically, "f"), (write_atomically, "f/a")):
        with pytest.raises(raised):
            write(tmp_path / name, half)
        assert [path.name for path in tmp_path.rglob("*")] == ["f", "a"]
        assert (tmp_path / "f/a").read_text() == "whole"


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    """After SIGKILL in the middle of a write the file is what it was, and can be written again."""
    path = tmp_path / "model"
    path.write_bytes(b"old")

    def half(place: Path) -> None:
        place.write_bytes(b"half")
        killed()

    process = multiprocessing.get_context("fork").Process(
        target=write_atomically, args=(path, half)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    write_atomically(path, lambda file: file.write_bytes(b"new"))
    assert path.read_bytes() == b"new"


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    """The file has the permissions that any new file gets, not those of a temporary one."""
    (tmp_path / "usual").touch()
    write_atomically(tmp_path / "a", lambda file: file.write_bytes(b"x"))
    assert (tmp_path / "usual").stat().st_mode == (tmp_path / "a").stat().st_mode


@contextmanager
def _without_room() -> Iterator[None]:
    """No file may become longer than 4 kB, as good as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", ["model", "prior", "codes", "sound"])
def test_what_finds_no_room_leaves_the_file_before_it(
    tmp_path: Path, tiny_model: Autoencoder, tiny_prior: Prior, kind: str
) -> None:
    """Of every kind: one line, what was there is intact, and nothing else is left."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"before")
    record = CodesRecord("a.wav", [0] * 9000, 9000 * 64, 16000, 64, 2, "m")
    write = {
        "model": lambda: save_model(tiny_model, path),
        "prior": lambda: save_prior(tiny_prior, path),
        "codes": lambda: codesfile.write(path, record, "json"),
        "sound": lambda: audio.write(path, np.zeros(9000), 16000, force=True),
    }[kind]
    with (
        one_line((OSError, VqspeechError), start="" if kind == "codes" else f"{path}: "),
        _without_room(),
    ):
        write()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
