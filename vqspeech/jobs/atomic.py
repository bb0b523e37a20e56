"""Files and folders that are complete or absent: written beside their place, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, and rename that to `path` when it is complete and on disk.

    The folder is made where it is missing. An existing file stays untouched until the new one is complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not derived from the file's name, which may have the maximal length.
    handle, name = tempfile.mkstemp(prefix=".vqspeech-", suffix=".partial", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes files that only the owner can read
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file that is in memory, text as UTF-8, atomically; see `write_atomically`."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def write_folder_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with an empty folder beside `path`, then rename that to `path`; what was at `path` is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".vqspeech-", dir=path.parent))
    new, old = beside / "new", beside / "old"
    try:
        new.mkdir()
        write(new)
        if os.path.lexists(path):
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if os.path.lexists(old):
                old.rename(path)
            raise
    finally:
        shutil.rmtree(beside)
