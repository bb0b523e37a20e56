import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqspeech.cli import main
from vqspeech.models.checkpoint import save_prior
from vqspeech.models.prior import Prior


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def printed(self) -> str:
        """Standard output; there must be no error."""
        assert self.status == 0, self.err
        return self.out

    @property
    def error(self) -> str:
        """The one line on standard error; there must be no other."""
        lines = self.err.splitlines()
        assert self.status == 1
        assert len(lines) == 1, self.err
        assert lines[0].startswith("vqspeech: ")
        return lines[0].removeprefix("vqspeech: ")


@pytest.fixture
def run(
    tiny_model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Outcome]:
    """Run a command in an empty folder, with the tiny model as the default one."""
    monkeypatch.setenv("VQSPEECH_MODEL", str(tiny_model_file))
    monkeypatch.delenv("VQSPEECH_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)
    # Notes about resampling go through logging; what is tested here are errors.
    monkeypatch.setattr(logging.getLogger("vqspeech"), "propagate", True)

    def call(*argv: object) -> Outcome:
        capsys.readouterr()
        status = main([str(argument) for argument in argv])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call


@pytest.fixture
def tone(tmp_path: Path) -> Callable[..., Path]:
    """Write a short tone with a little noise, so that not all codes are equal."""

    def write(name: str, duration_s: float = 0.05, rate: int = 16000, channels: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(round(duration_s * rate)) / rate
        noise = np.random.default_rng(0).normal(size=len(time))
        wav = 0.5 * np.sin(2 * math.pi * 220 * time) + 0.1 * noise
        wav = wav if channels == 1 else np.stack([wav] * channels, 1)
        soundfile.write(path, wav, rate)
        return path

    return write


@pytest.fixture
def foreign_prior(tiny_prior: Prior, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a prior over the codes of another codebook."""
    config = replace(tiny_prior.config, codebook_id="f" * 16)
    path = tmp_path_factory.mktemp("foreign") / "foreign.safetensors"
    save_prior(Prior(config, []), path)
    return path
