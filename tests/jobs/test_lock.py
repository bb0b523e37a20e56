"""The lock on a folder: held against other processes, free as soon as its process ends, however it ends."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vqspeech.errors import VqspeechError
from vqspeech.jobs.lock import only_run

HOLD = (
    "import os, signal, sys; from pathlib import Path; from vqspeech.jobs.lock import only_run\n"
    "begun, begin = os.pipe()\n"
    "with only_run(Path(sys.argv[1])):\n"
    "    child = os.fork() if len(sys.argv) > 2 else 1\n"
    "    if child == 0 or len(sys.argv) == 2: os.write(begin, b'.')\n"
    "    if child: os.read(begun, 1); print('held', flush=True)\n"
    "    signal.pause()"
)


@pytest.mark.parametrize("more", [[], ["fork"]])
def test_a_folder_is_held_until_its_process_is_killed(tmp_path: Path, more: list[str]) -> None:
    """kill -9 frees it at once, also where a child process lives on."""
    folder = tmp_path / "new" / "folder"
    command = [sys.executable, "-c", HOLD, str(folder), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            with pytest.raises(VqspeechError, match="another run is writing"), only_run(folder):
                pass
            process.kill()
            process.wait()
            with only_run(folder):
                assert list(folder.iterdir()) == []
        finally:
            # not the program kill: that of procps 4.0.2 takes "-19812" for -1, every process there is
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_folder_is_free_after_the_block(tmp_path: Path) -> None:
    """One run after another needs no waiting, in one process or several."""
    for _ in range(2):
        with only_run(tmp_path):
            pass
    with multiprocessing.get_context("fork").Pool(1), only_run(tmp_path):
        pass
