"""Standard streams that are closed, full or of another encoding; a home that is not writable."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from vqspeech.cli import caches


@pytest.fixture
def shell(
    tiny_model_file: Path, tmp_path: Path, tone: Callable[..., Path]
) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run a shell line in which ``vqspeech`` is the command, beside a recording a.wav."""
    tone("a.wav")

    def call(line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        script = f'vqspeech() {{ "{sys.executable}" -P -m vqspeech "$@"; }}; {line}'
        environment = os.environ | {"VQSPEECH_MODEL": str(tiny_model_file)} | variables
        return subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, check=False
        )

    return call


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_stop_the_work(shell: Callable, tmp_path: Path, closed: str) -> None:
    """Files are written as ever, and no stream that is open gets what is not meant for it."""
    done = shell(f"vqspeech codes a.wav --format npz --out o {closed}")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["a.npz"]


def test_results_are_not_printed_into_a_closed_stream(shell: Callable) -> None:
    """Where the only result would go nowhere, that is said before the work."""
    for line in ("codes a.wav", "convert --src a.wav --speaker p225 --out -"):
        done = shell(f"vqspeech {line} >&-")
        assert done.returncode == 1
        assert b"standard output is closed" in done.stderr


def test_an_error_does_not_go_to_standard_output(shell: Callable) -> None:
    """Without standard error the exit status alone speaks."""
    done = shell("vqspeech codes none.wav 2>&-")
    assert (done.returncode, done.stdout) == (1, b"")


def test_nothing_on_standard_input_is_one_line(shell: Callable) -> None:
    """A closed standard input is an empty one."""
    for line in ("decode - --speaker p225", "codes -"):
        done = shell(f"vqspeech {line} <&-")
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert b"empty" in done.stderr


def test_a_full_standard_output_is_one_line(shell: Callable) -> None:
    """What cannot be printed is an error of the system, told once."""
    done = shell("vqspeech codes a.wav > /dev/full")
    assert done.returncode == 1
    assert done.stderr == b"vqspeech: No space left on device\n"


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "ascii", "utf-8"])
def test_streams_of_any_encoding(shell: Callable, tmp_path: Path, encoding: str) -> None:
    """What an encoding lacks is escaped, and bytes of file names stay what they are."""
    name = os.fsdecode(b"caf\xe9 \xce\xb5.wav")
    soundfile.write(os.fsencode(tmp_path / name), [0.0, 3.0] * 400, 16000, subtype="FLOAT")
    done = shell("vqspeech codes *f*.wav --out o; vqspeech info", PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"values up to 3" in done.stderr
    assert b"caf\xe9" in done.stderr
    record = json.loads(next((tmp_path / "o").glob("*")).read_text())
    assert record["file"] == name


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what stands for the environment of the process, which is empty."""
    values: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", values)
    return values


def test_libraries_get_a_folder_where_there_is_no_writable_home(
    environment: dict[str, str], read_only_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """numba and matplotlib find a place to write to where the home is none."""
    monkeypatch.setattr(Path, "home", lambda: read_only_folder / "nobody")
    caches.prepare_caches()
    assert environment["NUMBA_CACHE_DIR"] == environment["MPLCONFIGDIR"]
    assert Path(environment["NUMBA_CACHE_DIR"]).is_dir()


def test_libraries_keep_their_own_place_in_a_writable_home(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that works is left alone."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "new")
    caches.prepare_caches()
    assert not {"NUMBA_CACHE_DIR", "MPLCONFIGDIR"} & environment.keys()
