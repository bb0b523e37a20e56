"""Worker processes: one JSON line in and one out for each task.

A worker is a fresh interpreter that runs a module whose ``__main__`` calls `serve`, not a child of `multiprocessing`:
that would import the caller's main module again and outlive a killed caller. This one ends with its input.
"""

import contextlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Self

from vqspeech.errors import VqspeechError


def usable_threads() -> int:
    """CPU cores that this process may use: its affinity, limited by its control group."""
    bound = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, int(min(bound, _granted_cores(Path("/")))))


def _granted_cores(root: Path) -> float:
    """Cores that the control groups of this process grant; infinite without a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    granted = math.inf
    for line in lines:
        _, controllers, group = line.split(":", 2)
        tree = root / "sys/fs/cgroup"
        if controllers:  # version 1
            if "cpu" not in controllers.split(","):
                continue
            tree /= controllers
        place = tree / group.lstrip("/")
        # Every parent's limit counts; inside a container the group may not exist under its outer name.
        for folder in (place, *place.parents):
            if folder == tree.parent:
                break
            granted = min(granted, _quota(folder))
    return granted


def _quota(folder: Path) -> float:
    """Cores that one control group grants."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no limit is given
        return math.inf


def serve(handle: Callable[[Any], Any]) -> None:
    """Read tasks from standard input until it ends; `handle` maps each to its result, both plain JSON values."""
    # Ctrl-C reaches the whole process group; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        print(json.dumps(handle(json.loads(line))), flush=True)


def map_unordered(module: str, tasks: Sequence[Any], workers: int) -> Iterator[tuple[int, Any]]:
    """Distribute tasks over worker processes.

    Parameters
    ----------
    module : str
        Its ``__main__`` calls `serve`.
    tasks : sequence
        Plain JSON values.
    workers : int
        Processes, at least 1.

    Yields
    ------
    tuple of (int, object)
        Position of a task and its result, as tasks finish.

    Raises
    ------
    VqspeechError
        If a worker dies.
    """
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for _ in range(min(workers, len(tasks))):
            idle.put(stack.enter_context(_Worker(module)))

        def do(task: Any) -> Any:
            worker = idle.get()
            try:
                return worker.do(task)
            finally:
                idle.put(worker)

        futures = {pool.submit(do, task): position for position, task in enumerate(tasks)}
        stack.callback(lambda: [future.cancel() for future in futures])
        for future in as_completed(futures):
            yield futures[future], future.result()


class _Worker:
    """One worker process."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            # -P: else a signal.py or soundfile.py in the current folder would be run in place of the real one.
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def do(self, task: Any) -> Any:
        """Send a task to the process and return the result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(task), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise VqspeechError("a worker process died (memory?); run again with --workers 1")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
