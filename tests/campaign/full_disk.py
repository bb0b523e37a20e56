"""A disk that fills up at random points of every verb; as root, on a file system in memory of so many bytes.

    python tests/campaign/full_disk.py --points 10 [--verbs prepare,train,...] [--seed 0]

Each run has to end with status 1 and one line that says "No space left", leave nothing half-written, and finish once
there is room.
"""

import subprocess
import sys
from pathlib import Path

import commands
import numpy as np

ROOM = "size=256m"
KINDS = ("half-written", "lost", "traceback", "hang", "no word of the disk")


def attempt(
    home: Path, whole: commands.Whole, draw: np.random.Generator
) -> tuple[str, dict[str, list[str]]]:
    """Run a verb on a disk that is too small, make room, and run it again."""
    disk, words = home / "disk", home / "disk.words"
    disk.mkdir(exist_ok=True)
    used = sum(path.stat().st_size for path in whole.place.rglob("*") if path.is_file())
    # A file system in memory counts in pages.
    size = 4096 * int(draw.integers(2, max(3, used // 4096)))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    try:
        full = commands.run(whole.verb, disk / "out", words=words)
        half = whole.differences(disk / "out", all_there=False)
        subprocess.run(["mount", "-o", f"remount,{ROOM}", disk], check=True)
        again = whole.again(disk / "out", words=words)
        lost = whole.differences(disk / "out", all_there=True)
    finally:
        subprocess.run(["umount", disk], check=True)
    said = full.status == 0 or "No space left" in full.words
    return f"{size} bytes", {
        "half-written": half,
        "lost": lost,
        **commands.troubles([full, *again]),
        "no word of the disk": [] if said else [full.words[-300:]],
    }


if __name__ == "__main__":
    sys.exit(commands.campaign(__doc__, "points", 10, KINDS, attempt))
