"""Memory of a training process on a CPU: freed blocks are reused, not returned to the system at each step."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Make glibc's allocator reuse large blocks; does nothing without glibc.

    By default a block of some megabytes is mapped anew each time and zeroed page by page on first touch: with
    activations of 20 MB that is a fifth of a training step (``tests/benchmarks/training_forms.py``).
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
