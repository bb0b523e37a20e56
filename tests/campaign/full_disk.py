"""A disk that fills up at random points of every verb; as root, on a file system in memory of so many bytes.

    python tests/campaign/full_disk.py --points 10 [--verbs prepare,train,...] [--seed 0]

Each run has to end with status 1 and one line that says "No space left", leave nothing half-written, and finish once
there is room.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import commands
import numpy as np

ROOM = "size=256m"


def attempt(
    verb: commands.Verb, disk: Path, size: int, whole: dict[str, Path]
) -> dict[str, list[str]]:
    """Run a verb on a disk of `size` bytes, make room, and run it again."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    try:
        place = disk / "out"
        full = commands.run(verb, place, words=disk.with_suffix(".words"))
        half = commands.differences(whole, commands.results(place, verb), all_there=False)
        unsaid = [] if full.status == 0 or "No space left" in full.words else [full.words[-300:]]
        subprocess.run(["mount", "-o", f"remount,{ROOM}", disk], check=True)
        again = commands.run(verb, place, words=disk.with_suffix(".words"))
        if again.status == 1 and "exists: it is kept" in again.words:
            forced = commands.Verb((*verb.argv, "--force"), verb.growing)
            again = commands.run(forced, place, words=disk.with_suffix(".words"))
        lost = commands.differences(whole, commands.results(place, verb), all_there=True)
        troubles = commands.complaints(full, (0, 1)) + commands.complaints(again, (0, 1))
    finally:
        subprocess.run(["umount", disk], check=True)
    return {
        "half-written": half,
        "lost": lost,
        "traceback": [t for t in troubles if t != "hang"],
        "hang": [t for t in troubles if t == "hang"],
        "no word of the disk": unsaid,
    }


def main() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10, help="for each verb")
    parser.add_argument("--verbs", default="prepare,train,codes,convert,align,analyze")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = np.random.default_rng(args.seed)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="vqspeech-campaign-") as name:
        home = Path(name)
        table = commands.verbs(home)
        disk = home / "disk"
        disk.mkdir()
        print("| verb | points | half-written | lost | tracebacks | hangs | no word of the disk |")
        print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for verb_name in args.verbs.split(","):
            verb = table[verb_name]
            reference = home / f"{verb_name}-whole"
            if (undisturbed := commands.run(verb, reference)).status != 0:
                print(f"{verb_name}: {undisturbed.words}", file=sys.stderr)
                return 1
            whole = commands.results(reference, verb)
            used = sum(path.stat().st_size for path in reference.rglob("*") if path.is_file())
            counts: dict[str, int] = {}
            for _ in range(args.points):
                # A file system in memory counts in pages.
                size = 4096 * int(draw.integers(2, max(3, used // 4096)))
                for kind, what in attempt(verb, disk, size, whole).items():
                    counts[kind] = counts.get(kind, 0) + bool(what)
                    if what:
                        failed = 1
                        print(f"{verb_name}, {size} bytes: {kind}: {what}", file=sys.stderr)
            row = " | ".join(str(count) for count in counts.values())
            print(f"| {verb_name} | {args.points} | {row} |", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
