"""kill -9 at random moments of every verb, each run resumed and compared with one that nothing disturbed.

    python tests/campaign/kill.py --kills 50 [--verbs prepare,train,...] [--seed 0]

Prints a row for each verb: kills, and how many of them left a result half-written, lost one after the run was resumed,
showed a traceback, or hung.
"""

import shutil
import sys
from pathlib import Path

import commands
import numpy as np

KINDS = ("half-written", "lost", "traceback", "hang")


def attempt(
    home: Path, whole: commands.Whole, draw: np.random.Generator
) -> tuple[str, dict[str, list[str]]]:
    """Kill a run at a moment, look at what it left, resume it, and look again."""
    place, limit_s = home / "killed", 60 + 20 * whole.seconds
    moment_s = float(draw.uniform(0, whole.seconds))
    killed = commands.run(whole.verb, place, kill_after_s=moment_s, limit_s=limit_s)
    half = whole.differences(place, all_there=False)
    again = whole.again(place, limit_s=limit_s)
    lost = whole.differences(place, all_there=True)
    shutil.rmtree(place, ignore_errors=True)
    troubles = commands.troubles([killed, *again], killed=True)
    return f"at {moment_s:.3f} s", {"half-written": half, "lost": lost, **troubles}


if __name__ == "__main__":
    sys.exit(commands.campaign(__doc__, "kills", 50, KINDS, attempt))
