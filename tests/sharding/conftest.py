"""A plan of shards of noise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vqspeech import audio
from vqspeech.corpus.sources import list_units
from vqspeech.sharding.plan import Plan, Settings, make_plan


@pytest.fixture
def planned(tmp_path: Path, tiny_model_file: Path) -> Callable[[str], Plan]:
    """Return what plans shards of the same noise, one recording of twelve damaged, in a folder of that name."""
    folder = tmp_path / "sound/ann"
    folder.mkdir(parents=True)
    for i in range(12):
        wav = np.random.default_rng(i).uniform(-0.5, 0.5, 16000 * 2).astype(np.float32)
        audio.write(folder / f"{i:02}.wav", wav, 16000)
    (folder / "03.wav").write_bytes(b"RIFF")

    def planned(out: str) -> Plan:
        source = str(tmp_path / "sound")
        settings = Settings(source, None, str(tiny_model_file), "0" * 16, "km", False, 1.5 / 3600)
        return make_plan(tmp_path / out, settings, list_units(source))

    return planned


@pytest.fixture
def plan(planned: Callable[[str], Plan]) -> Plan:
    """Return a plan of twelve shards."""
    return planned("out")
