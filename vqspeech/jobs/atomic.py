"""Files and folders that are whole or not there: written beside their place, then moved."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there when it is complete and on disk.

    Parameters
    ----------
    path : Path
        Where the file shall be; its folder is made. What is there stays untouched until the new file is whole.
    write : callable
        Writes to the path handed to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not named like the file, whose name may be as long as names can be.
    handle, name = tempfile.mkstemp(prefix=".vqspeech-", suffix=".partial", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes files for the owner's eyes only
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_folder_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Fill a folder beside its place and move it there when it is complete; what is in that place goes then.

    Parameters
    ----------
    path : Path
        Where the folder shall be.
    write : callable
        Writes into the empty folder handed to it.
    """
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
