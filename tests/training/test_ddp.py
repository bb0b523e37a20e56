"""Two CPU processes (gloo): different data, one model."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vqspeech.models.checkpoint import load_model


@pytest.mark.slow
def test_two_ranks_see_different_data_and_end_with_one_model(
    settings: dict[str, Any], write_settings: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    """Weights, codebook and counts of both ranks are bitwise equal, revivals included; one model file results."""
    settings["run"] |= {"devices": 2, "validate_every": 6}
    settings["data"]["workers"] = 2
    settings["model"]["bottleneck"]["dead_below"] = 0.9
    done = subprocess.run(
        [
            *(sys.executable, str(Path(__file__).with_name("two_ranks.py"))),
            *(str(write_settings(settings)), str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))

    steps = settings["spectral"]["steps"] + settings["optimizer"]["steps"]
    assert len(one["batches"]) == len(two["batches"]) == steps
    pairs = zip(one["batches"], two["batches"], strict=True)
    assert not any(torch.equal(first, second) for first, second in pairs)

    assert one["revived"] == two["revived"]
    assert sum(one["revived"]) > 0
    for part in ("objective", "average"):
        for key, tensor in one[part].items():
            assert torch.equal(tensor, two[part][key]), f"{part}.{key}"
    assert one["samples"] == two["samples"] == settings["optimizer"]["steps"] * 2 * 2 * 320

    model = load_model(tmp_path / "run" / "model.safetensors")
    codebook = one["objective"]["model.bottleneck.codebook"]
    assert torch.equal(model.bottleneck.codebook, codebook)
    assert done.stdout.count("test: ") == 1
