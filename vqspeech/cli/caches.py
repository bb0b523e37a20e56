"""Where libraries keep what they compile and look up, on machines where the home is not writable."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_VARIABLES = ("NUMBA_CACHE_DIR", "MPLCONFIGDIR")
"""numba finds no place for its cache and gives up, matplotlib complains."""


def prepare_caches() -> None:
    """Give libraries a folder for this run where they would find none that they may write to.

    Each run has its own, since what is read back from a cache is run: nobody else may put something there.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        # Some libraries ask for its name when they are imported (dill, which torch takes where it is there).
        tempfile.tempdir = "/tmp"
    missing = [name for name in _VARIABLES if not os.environ.get(name)]
    if not missing or _writable(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")):
        return
    try:
        folder = tempfile.mkdtemp(prefix="vqspeech-cache-")
    except OSError:
        return
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(dict.fromkeys(missing, folder))


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder that is there or can be made."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    effective = os.access in os.supports_effective_ids
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK, effective_ids=effective)
