"""kill -9 at random moments of every verb, each run resumed and compared with one that nothing disturbed.

    python tests/campaign/kill.py --kills 50 [--verbs prepare,train,...] [--seed 0]

Prints a row for each verb: kills, and how many of them left a result half-written, lost one after the run was resumed,
showed a traceback, or hung.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import commands
import numpy as np


def attempt(
    verb: commands.Verb, place: Path, moment_s: float, whole: dict[str, Path], limit_s: float
) -> dict[str, list[str]]:
    """Kill a run at a moment, look at what it left, resume it, and look again."""
    killed = commands.run(verb, place, kill_after_s=moment_s, limit_s=limit_s)
    half = commands.differences(whole, commands.results(place, verb), all_there=False)
    resumed = commands.run(verb, place, limit_s=limit_s)
    again = resumed
    if resumed.status == 1 and "exists: it is kept" in resumed.words:
        # What was finished is kept and said; where that stops the rest (analyze), --force goes on.
        lost = commands.differences(whole, commands.results(place, verb), all_there=True)
        if lost:
            forced = commands.Verb((*verb.argv, "--force"), verb.growing)
            again = commands.run(forced, place, limit_s=limit_s)
    lost = commands.differences(whole, commands.results(place, verb), all_there=True)
    troubles = [
        *commands.complaints(killed, (0, 1, -9)),
        *commands.complaints(resumed, (0, 1)),
        *commands.complaints(again, (0, 1)),
    ]
    return {
        "half-written": half,
        "lost": lost,
        "traceback": [t for t in troubles if t != "hang"],
        "hang": [t for t in troubles if t == "hang"],
    }


def main() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="for each verb")
    parser.add_argument("--verbs", default="prepare,train,codes,convert,align,analyze")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = np.random.default_rng(args.seed)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="vqspeech-campaign-") as name:
        home = Path(name)
        table = commands.verbs(home)
        print("| verb | kills | half-written | lost | tracebacks | hangs |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        for verb_name in args.verbs.split(","):
            verb = table[verb_name]
            reference = home / f"{verb_name}-whole"
            undisturbed = commands.run(verb, reference)
            if undisturbed.status != 0:
                print(f"{verb_name}: {undisturbed.words}", file=sys.stderr)
                return 1
            whole = commands.results(reference, verb)
            counts = dict.fromkeys(("half-written", "lost", "traceback", "hang"), 0)
            for number in range(args.kills):
                place = home / f"{verb_name}-{number}"
                moment_s = float(draw.uniform(0, undisturbed.seconds))
                found = attempt(verb, place, moment_s, whole, 60 + 20 * undisturbed.seconds)
                for kind, what in found.items():
                    counts[kind] += bool(what)
                    if what:
                        failed = 1
                        print(f"{verb_name} at {moment_s:.3f} s: {kind}: {what}", file=sys.stderr)
                shutil.rmtree(place, ignore_errors=True)
            row = " | ".join(str(count) for count in counts.values())
            print(f"| {verb_name} | {args.kills} | {row} |", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
