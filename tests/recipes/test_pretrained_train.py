"""The script that trains what ships: what it runs, in which order, and how it goes on."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., subprocess.CompletedProcess[str]]

RECORDER = """#!/usr/bin/env bash
[[ $1 == -c ]] && exit 1  # no GPU
printf '%s\\n' "$*" >>"$PWD/commands"
for ((i = 1; i <= $#; i++)); do
  [[ ${!i} == --out ]] && next=$((i + 1)) && out=${!next}
  [[ ${!i} == run.dir=* ]] && run=${!i#run.dir=\\'} && run=${run%\\'}
done
case "$*" in
  *" prepare "*) mkdir -p "$out" && touch "$out/store.json" ;;
  *" train "*)
    mkdir -p "$run" && touch "$run/model.safetensors"
    [[ -e $PWD/stopped ]] || touch "$run/metrics.json"
    ;;
esac
"""


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Run the script in a fresh folder with something that only notes the commands in place of Python."""
    python = tmp_path / "python"
    python.write_text(RECORDER)
    python.chmod(0o755)
    (tmp_path / "corpus").mkdir()

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(ROOT / "recipes/pretrained/train.sh"), *argv],
            cwd=tmp_path,
            env=os.environ | {"VQSPEECH_PYTHON": str(python)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def _verbs(folder: Path) -> list[str]:
    path = folder / "commands"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [
        line.split()[2] if line.startswith("-m") else Path(line.split()[0]).name for line in lines
    ]


OPTIONS = ("--corpus", "corpus", "--exp", "exp", "--data", "data")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "which model"),
        (["other"], "'other' is neither vctk nor phoneme25"),
        (["vctk", "--exp"], "--exp needs a value"),
        (["vctk", "--corpus", "nowhere"], "nowhere: no such folder"),
        (["vctk", "--ship-only", "--corpus", "corpus"], "no validation has written a model"),
    ],
)
def test_wrong_use_is_one_line(call: Call, argv: list[str], expected: str) -> None:
    """Exit status 1 and one line that names what is wrong."""
    done = call(*argv)
    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_trains_ships_and_scores_in_this_order(call: Call, tmp_path: Path) -> None:
    """Shipped first, so that what is scored is what is shipped, and once more with its scores."""
    done = call("vctk", *OPTIONS, "optimizer.steps=5")
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "commands").read_text()
    assert _verbs(tmp_path) == ["prepare", "train", "ship.py", "evaluate", "ship.py", "card.py"]
    assert "experiment=vctk machine=cpu" in commands
    assert commands.count("optimizer.steps=5") == 1


def test_goes_on_where_it_was_stopped(call: Call, tmp_path: Path) -> None:
    """A run that a signal ended ships nothing; the next one does not pack the recordings again."""
    (tmp_path / "stopped").touch()
    assert call("phoneme25", *OPTIONS).returncode == 0
    assert _verbs(tmp_path) == ["prepare", "train"]
    (tmp_path / "stopped").unlink()
    assert call("phoneme25", *OPTIONS).returncode == 0
    assert _verbs(tmp_path) == ["train", "ship.py", "evaluate", "ship.py", "card.py"]


def test_ships_an_unfinished_model_when_asked(call: Call, tmp_path: Path) -> None:
    """What the last validation left can be scored and shipped while there is no time to train on."""
    (tmp_path / "stopped").touch()
    call("vctk", *OPTIONS)
    _verbs(tmp_path)
    assert call("vctk", *OPTIONS, "--ship-only").returncode == 0
    assert _verbs(tmp_path) == ["ship.py", "evaluate", "ship.py", "card.py"]
