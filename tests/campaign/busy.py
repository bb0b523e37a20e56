"""What a conversion takes while other programs want the cores: the default beside one thread and two.

    python tests/campaign/busy.py [--seconds 10] [--repeats 5] [--busy 0,1,2,4]

Busy processes count for ever at the priority of the conversion. A figure is the median wall time of the whole command,
start included; the ways take turns, so that whatever else the machine does meets all of them. Every run has to write
the same bytes.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vqspeech import audio
from vqspeech.jobs.workers import usable_threads

RATE = 16000
WAYS: dict[str, tuple[str, ...]] = {
    "default": (),
    "`--threads 1`": ("--threads", "1"),
    "`--threads 2`": ("--threads", "2"),
}


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many processes busy."""
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            while True:
                pass
        children.append(child)
    try:
        yield
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def convert(source: Path, way: tuple[str, ...]) -> tuple[float, bytes]:
    """Convert a recording; return seconds and what was written."""
    out = source.with_name("out.wav")
    command = [sys.executable, "-m", "vqspeech", "convert", "--src", str(source), "--force"]
    command += ["--speaker", "p225", "--model", "vctk", "--out", str(out), *way]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began, out.read_bytes()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of the recording")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--busy", default="0,1,2,4", help="numbers of busy processes")
    args = parser.parse_args()
    print(
        f"{usable_threads()} cores, {args.seconds:g} s of sound, medians of {args.repeats}, seconds"
    )
    print(f"| busy processes | {' | '.join(WAYS)} |")
    print("| --- " * (1 + len(WAYS)) + "|", flush=True)
    written = set()
    with tempfile.TemporaryDirectory(prefix="vqspeech-campaign-") as name:
        source = Path(name) / "source.wav"
        samples = round(args.seconds * RATE)
        noise = np.random.default_rng(0).standard_normal(samples)
        wav = 0.1 * noise * np.sin(np.arange(samples) / 800)
        audio.write(source, wav.astype(np.float32), RATE)
        convert(source, ())  # what is read from disk is in memory from here on
        for count in map(int, args.busy.split(",")):
            took: dict[str, list[float]] = {way: [] for way in WAYS}
            with busy(count):
                for _ in range(args.repeats):
                    for way, arguments in WAYS.items():
                        seconds, content = convert(source, arguments)
                        took[way].append(seconds)
                        written.add(content)
            figures = " | ".join(f"{statistics.median(times):.1f}" for times in took.values())
            print(f"| {count} | {figures} |", flush=True)
            for way, times in took.items():
                print(f"{count}, {way}: {[round(t, 2) for t in times]}", file=sys.stderr)
    if len(written) != 1:
        print(f"{len(written)} different results", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
