"""A folder that one run at a time writes into."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from vqspeech.errors import VqspeechError

_held: set[int] = set()


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Lock a folder until the end of the block or of the process, however it ends.

    Parameters
    ----------
    folder : Path
        Made where it is missing, and removed again if it stays empty. The lock is on the folder itself: no lock file.

    Raises
    ------
    VqspeechError
        Another process holds the lock.
    OSError
        The folder cannot be made.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    _held.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VqspeechError(
                f"{folder}: another run is writing into this folder; wait for it, or name another"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        _held.discard(descriptor)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        os.close(descriptor)


def _let_go() -> None:
    """Close the locks in a child process: it would keep them when its parent is killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
