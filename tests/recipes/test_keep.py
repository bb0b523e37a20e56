"""keep.sh: training in the background that is stopped, looked at and taken up again."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile
import torch

from vqspeech.models.checkpoint import read_header

KEEP = Path(__file__).parents[2] / "recipes/pretrained/keep.sh"
SMALL = ["data.segment=1600", "data.crop=800", "run.validate_s=0.2", "run.log_every=1"]
Keep = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder that is trained in."""
    return tmp_path / "with space" / "keep"


@pytest.fixture
def keep(folder: Path) -> Iterator[Keep]:
    """Return a function that calls keep.sh; what still trains at the end is stopped."""

    def call(action: str, *rest: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(KEEP), action, str(folder), *rest],
            env=os.environ | {"VQSPEECH_PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    yield call
    call("stop")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Return a corpus of noise, one speaker, with all splits."""
    corpus, draw = tmp_path / "corpus", torch.Generator().manual_seed(0)
    corpus.mkdir()
    rows = ["speaker\tutterance\tpath\tsplit"]
    for split in ("train", "valid", "test"):
        noise = 0.1 * torch.randn(4000, generator=draw)
        soundfile.write(corpus / f"{split}.wav", noise.numpy(), 16000)
        rows.append(f"ann\t{split}\t{split}.wav\t{split}")
    (corpus / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return corpus


def _wait(ready: Callable[[], bool], folder: Path) -> None:
    until = time.monotonic() + 900
    while not ready():
        assert time.monotonic() < until, (folder / "log").read_text()
        time.sleep(0.2)


@pytest.mark.slow
def test_it_goes_on_from_start_to_start(keep: Keep, folder: Path, corpus: Path) -> None:
    """Stopped, it resumes its stretch; done with that, it begins another from its weights, and counts all samples."""
    refused = keep("start")
    assert refused.returncode == 1
    assert "give --corpus DIR" in refused.stderr
    assert "nothing trains" in keep("stop").stderr

    started = keep("start", "--corpus", str(corpus), *SMALL)
    assert started.returncode == 0, started.stderr
    assert "already" in keep("start").stdout
    curve = folder / "run-1" / "curve.jsonl"
    _wait(curve.exists, folder)
    assert keep("status").stdout.startswith("trains, process ")
    stopped = keep("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert "stopped at step" in stopped.stdout
    assert keep("status").stdout.startswith("does not train")
    steps = torch.load(folder / "run-1" / "state.pt", weights_only=True)["step"]
    assert steps > 0

    few = [*SMALL, f"optimizer.steps={steps + 2}"]
    assert keep("start", *few).returncode == 0
    _wait((folder / "run-1" / "metrics.json").exists, folder)
    assert json.loads((folder / "run-1" / "metrics.json").read_text())["steps"] == steps + 2
    _wait(lambda: keep("status").stdout.startswith("does not train"), folder)

    assert keep("start", *SMALL).returncode == 0
    _wait((folder / "run-2" / "curve.jsonl").exists, folder)
    assert keep("stop").returncode == 0
    first, second = (
        read_header(folder / run / "model.safetensors")["training"] for run in ("run-1", "run-2")
    )
    assert first["samples_seen"] == 800 * (steps + 2)
    assert second["samples_seen_before"] == first["samples_seen"] + first["samples_seen_before"]
    total = second["samples_seen"] + second["samples_seen_before"]
    assert f"{total / 1e6:.1f} M samples learned from in all" in keep("status").stdout


@pytest.mark.parametrize("argv", [[], ["go"], ["start", "--corpus"], ["status", "--loud"]])
def test_wrong_arguments_are_one_line(argv: list[str]) -> None:
    """Nothing is started."""
    done = subprocess.run(
        ["bash", str(KEEP), *argv], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("keep.sh: ")
