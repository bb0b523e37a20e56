"""How well deadlines are kept: seconds from the start of a process to its end beside those it was given.

Run it on a machine that does nothing else: ``python tests/benchmarks/deadlines.py --store STORE`` trains the miniature
shape with each deadline in turn, and says whether scores were written in time too.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    """Train with each deadline; the exit status is 1 when one was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True, help="at 8 kHz, as of the recipe on mini")
    parser.add_argument("--seconds", type=float, nargs="+", default=[30.0, 60.0, 120.0])
    args = parser.parse_args()
    missed = False
    for seconds in args.seconds:
        with tempfile.TemporaryDirectory() as folder:
            settings = [
                f"data.store={args.store}",
                f"run.dir={folder}",
                f"run.deadline_s={seconds}",
            ]
            command = [sys.executable, "-m", "vqspeech", "train", "experiment=mini", *settings]
            began = time.monotonic()
            status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
            spent_s = time.monotonic() - began
            scored = (Path(folder) / "metrics.json").is_file()
        print(f"given {seconds:6.1f} s, took {spent_s:6.1f} s, status {status}, scored: {scored}")
        missed |= spent_s > seconds or not scored
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
