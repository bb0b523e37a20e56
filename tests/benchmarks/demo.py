"""How soon a visitor of the demo hears something, and what many visitors at once take.

``python tests/benchmarks/demo.py SPEECH [--visitors 10]`` serves the default model, drops SPEECH, a file, converts
it, and prints seconds from the drop to the source and from the press of Convert to the first sound, by the clock and in
CPU time of the server. Then so many visitors at once do the same, with one more who has to wait; it prints the server's
memory, who was served, and what the last one reads while waiting. The clock means something on an idle machine alone.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from browsing import open_browser

SOUNDS = "[...document.querySelectorAll('vq-sound')]"


def cpu_s(process: int) -> float:
    """Read the CPU time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(process: int, key: str) -> float:
    """Read the memory of a process: VmRSS now, VmHWM at most."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--visitors", type=int, default=10)
    args = parser.parse_args()
    command = [sys.executable, "-m", "vqspeech", "demo", "--port", "0"]
    server = subprocess.Popen(
        [*command, "--at-once", str(args.visitors)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    address, _, about = server.stdout.readline().partition(" ")
    print(about.strip())

    def timed(name: str, act: Callable[[], object]) -> None:
        clock, used = time.perf_counter(), cpu_s(server.pid)
        act()
        print(
            f"{name}: {time.perf_counter() - clock:.2f} s, server {cpu_s(server.pid) - used:.2f} s CPU"
        )

    try:
        with open_browser() as browser:

            def visit():
                page = browser.new_context().new_page()
                page.set_default_timeout(600_000)
                page.goto(address)
                page.wait_for_selector("#convert")
                return page

            def drop(page) -> None:
                page.locator("#given input[type=file]").first.set_input_files(args.speech)
                page.wait_for_function(f"{SOUNDS}[0]?.complete")

            def first(page) -> None:
                page.click("#convert")
                page.wait_for_function(f"{SOUNDS}.some(of => of.state === 'playing')")

            def whole(page) -> bool:
                page.wait_for_function(
                    f"{SOUNDS}.length === 2 && {SOUNDS}.every(of => of.audio.duration)"
                )
                seconds = page.evaluate(f"{SOUNDS}.map(of => of.audio.duration)")
                return seconds[0] == seconds[1]

            page = visit()
            timed("drop to source", lambda: drop(page))
            timed("press to first sound", lambda: first(page))
            timed("rest", lambda: whole(page))
            page.close()
            print(f"memory {memory_mb(server.pid, 'VmRSS'):.0f} MB")
            pages = [visit() for _ in range(args.visitors + 1)]
            for page in pages:
                drop(page)
            for page in pages:
                page.click("#convert")
            pages[-1].wait_for_timeout(1000)
            print(f"the last one reads: {pages[-1].inner_text('#status')!r}")
            served = sum(whole(page) for page in pages)
            print(
                f"served {served} of {len(pages)}, memory at most {memory_mb(server.pid, 'VmHWM'):.0f} MB"
            )
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
