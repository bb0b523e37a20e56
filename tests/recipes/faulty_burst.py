"""``burst.py`` with a fault: python faulty_burst.py FAULT ARGUMENTS.

Started by the burst itself, with ``child`` as the first argument, it is the training process.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "recipes/pretrained")]

from vqspeech.errors import VqspeechError  # noqa: E402


def _hang(*_: object, **__: object) -> NoReturn:
    # as a compiler written in C++, which no signal handler of Python interrupts
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGTERM})
    while True:
        time.sleep(60)


def _fail(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("no such instruction")


def train(fault: str, config: str) -> int:
    """Train with a fault."""
    import torch

    from vqspeech.training import __main__, run

    sys.argv[1:] = [config]
    save = run.Run.save

    def save_and_die(own: Any) -> None:
        save(own)
        marker = Path(os.environ["FAULT_MARKER"])
        if not marker.exists():
            marker.touch()
            # what is saved is found before the next start
            os.kill(os.getpid(), signal.SIGKILL)

    if fault == "compile-fails":
        torch.compile = lambda *_, **__: _fail
    elif fault == "compile-hangs":
        torch.compile = lambda *_, **__: _hang
    elif fault == "killed":
        run.Run.save = save_and_die
    return __main__.main()


def _crash(*_: object) -> Iterator[tuple[str, Any]]:
    yield "python", "3"
    os.abort()


def _find_and_hang(*_: object) -> Iterator[tuple[str, Any]]:
    yield "samples_per_s eager 7", 11.0
    _hang()


def _refuse(*_: object) -> Iterator[tuple[str, Any]]:
    yield "cores", 1
    raise VqspeechError("no kernel")


def _succeed(*_: object) -> Iterator[tuple[str, Any]]:
    yield "summary", "none"


def main(fault: str, arguments: list[str]) -> int:
    """Run the burst, or its child, with a fault."""
    if arguments[0] == "child":
        return train(fault, arguments[1])
    import burst
    import burst_process

    if fault == "sections":
        burst.SECTIONS.update(
            machine=_crash, training=_find_and_hang, sampler=_refuse, tests=_succeed
        )
    burst_process.CHILD = (str(Path(__file__)), fault, "child")
    return burst.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
