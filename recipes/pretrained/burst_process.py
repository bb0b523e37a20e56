"""The processes of ``burst.py``: they end with it, and are killed with all that they have started."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from vqspeech.training.schedule import process_age_s

ROOT = Path(__file__).resolve().parents[2]
CHILD = ("-m", "vqspeech.training")


def deadline(seconds: float) -> float:
    """Return the reading of `time.monotonic` when this process has run for some seconds, imports included."""
    return time.monotonic() - process_age_s() + seconds


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def kill(process: "subprocess.Popen[Any]") -> None:
    """Kill a process that has a session of its own, with all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environment() -> dict[str, str]:
    """Return the environment of a child: this one, and where the package is."""
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
    }


class Child:
    """A training process and what it prints.

    Parameters
    ----------
    settings : dict
        A resolved configuration.
    folder : Path
        Where its file goes.
    log : callable
        Takes each line that it prints.
    """

    def __init__(self, settings: dict[str, Any], folder: Path, log: Callable[[str], None]) -> None:
        config = folder / "config.json"
        config.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        self.run, self.log = Path(settings["run"]["dir"]), log
        self.last_lines: deque[str] = deque(maxlen=5)
        self.began = self._printed = time.monotonic()
        self.advanced = False
        self.process = subprocess.Popen(
            [sys.executable, *CHILD, str(config)],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, lines: TextIO) -> None:
        for line in lines:
            self._printed = time.monotonic()
            if line.strip():
                self.last_lines.append(line.strip())
            self.log(line)

    def quiet_s(self) -> float:
        """Seconds since it last logged a step or printed anything."""
        curve = self.run / "curve.jsonl"
        with suppress(OSError):
            written = time.monotonic() - (time.time() - curve.stat().st_mtime)
            if written > self.began:
                self.advanced = True
                return time.monotonic() - max(written, self._printed)
        return time.monotonic() - self._printed

    def stop(self, wait_s: float) -> None:
        """Ask it to save and end; kill it if it does not."""
        self.process.terminate()
        try:
            self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            kill(self.process)

    def ended(self) -> str:
        """How it ended, in some words."""
        # what inductor has started may hold the pipe open
        self._reader.join(2)
        status = self.process.returncode
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return f"{how} ({self.last_lines[-1][:200] if self.last_lines else 'nothing printed'})"
