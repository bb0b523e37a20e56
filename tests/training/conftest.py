"""A prepared store of synthetic speech and the settings of a run that takes a second."""

import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vqspeech import audio
from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.prepare import prepare
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import save_model
from vqspeech.models.config import ModelConfig
from vqspeech.training import loop

RATE = 16000
Settings = dict[str, Any]


def _sing(path: Path, pitch_hz: float, duration_s: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    phase = 2 * np.pi * pitch_hz * np.arange(round(duration_s * RATE)) / RATE
    vowel = sum(draw.uniform(0.1, 1) / k * np.sin(k * phase) for k in range(1, 9))
    noise = 0.01 * draw.normal(size=len(phase))
    audio.write(path, 0.3 * vowel / np.abs(vowel).max() + noise, RATE)


@pytest.fixture(scope="session")
def sound_store(shared_folder: Path) -> Path:
    """Return a store of three speakers who read eight sentences each, one of them very short."""
    with (shared_folder / "training.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store, people = shared_folder / "training-store", shared_folder / "training-people"
        if (store / "store.json").is_file():
            return store
        for row, (speaker, pitch_hz) in enumerate({"ann": 220, "bob": 110, "eve": 180}.items()):
            (people / speaker).mkdir(parents=True)
            for number in range(8):
                path = people / speaker / f"{number}.wav"
                duration_s = 0.02 if number == 7 else 0.15 + 0.02 * number
                _sing(path, pitch_hz, duration_s, 8 * row + number)
                path.with_suffix(".txt").write_text(f"Sentence {number}.")
        return prepare(list_folder(people), store, top_db=None, workers=1, progress=False)


@pytest.fixture(scope="session")
def plain_settings(sound_store: Path, tiny_config: ModelConfig) -> Settings:
    """Return settings of 4 steps of warm start and 8 of joint training, with jitter; not to be changed."""
    return {
        "model": asdict(tiny_config),
        "init": "",
        "learn": "all",
        "init_wavenet": "",
        "jitter": 0.3,
        "resume": "auto",
        "data": {
            "store": str(sound_store),
            "batch": 2,
            "segment": 640,
            "crop": 320,
            "scored_every": 1,
            "input_noise": 2.0,
            "balance": 0.0,
            "workers": 0,
            "resident": "auto",
            "pitch": "auto",
        },
        "optimizer": {
            "steps": 8,
            "learning_rate": 1e-2,
            "encoder_learning_rate": 1e-2,
            "muon_learning_rate": 1e-2,
            "warmup": 2,
            "betas": [0.9, 0.999],
            "clip": 1.0,
            "average": 0.9,
        },
        "spectral": {
            "target": "mel",
            "weight": 0.1,
            "steps": 4,
            "batch": 2,
            "segment": 640,
            "learning_rate": 1e-3,
            "channels": 8,
        },
        "perturb": {
            "share": 0.5,
            "pitch_semitones": 4.0,
            "formant_percent": 15.0,
            "colour_db": 6.0,
            "level_db": 6.0,
            "noise_db": 15.0,
        },
        "run": {
            "dir": "run",
            "seed": 0,
            "validate_every": 1000,
            "save_every_s": 1000,
            "log_every": 1,
            "validate_s": 0.1,
            "listen_s": 0.0,
            "accelerator": "cpu",
            "precision": "32-true",
            "devices": 1,
            "nodes": 1,
            "threads": 1,
            "compile": False,
            "compile_s": 300,
            "deadline_s": 0.0,
        },
    }


@pytest.fixture
def known(tiny_config: ModelConfig, tmp_path: Path) -> Path:
    """Return the file of a model without pitch that knows one speaker of the store and one who is not in it."""
    torch.manual_seed(5)
    path = tmp_path / "known.safetensors"
    save_model(Autoencoder(tiny_config, ["zoe", "bob"]), path)
    return path


@pytest.fixture
def settings(plain_settings: Settings, tmp_path: Path) -> Settings:
    """Return settings for one test, which may change them; the run goes into the test's folder."""
    own = deepcopy(plain_settings)
    own["run"]["dir"] = str(tmp_path / "run")
    return own


@pytest.fixture
def write_settings(tmp_path: Path) -> Callable[[Settings], Path]:
    """Return a function that writes settings as a resolved JSON configuration."""

    def write(settings: Settings) -> Path:
        path = tmp_path / f"{Path(settings['run']['dir']).name}.json"
        path.write_text(json.dumps(settings))
        return path

    return write


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """Return a context in which a signal arrives while step number so many, from 1, is taken."""

    @contextmanager
    def stopping(number: int) -> Iterator[None]:
        step = loop._step

        def stopped(config: Any, state: Any, *rest: Any) -> Any:
            if state.step == number - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(config, state, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "_step", stopped)
            yield

    return stopping


@pytest.fixture
def events() -> Callable[[Path], EventAccumulator]:
    """Return a function that reads the events of TensorBoard in a folder, all scalars and sounds."""

    def read(folder: Path) -> EventAccumulator:
        found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "audio": 0})
        return found.Reload()

    return read
