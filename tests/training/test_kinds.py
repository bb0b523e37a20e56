"""Runs with every kind of bottleneck: trained, listened to, scored, written, and gone on with to the bit."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from vqspeech.models.checkpoint import load_model
from vqspeech.models.config import BOTTLENECKS, DISCRETE
from vqspeech.training.config import from_mapping
from vqspeech.training.loop import train

Settings = dict[str, Any]
STEPS = 12
OWN = {"gumbel": {"anneal_steps": 9}, "vimco": {"draws": 3}, "gaussian": {"free_bits": 2.0}}


@pytest.fixture(params=BOTTLENECKS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def of_kind(settings: Settings, kind: str) -> Settings:
    """Return settings of a run with that bottleneck, a validation on its way, and something to listen to."""
    size = {"codebook_size": 16} if kind in DISCRETE else {}
    settings["model"]["bottleneck"] = {"kind": kind, **size, **OWN.get(kind, {})}
    settings["run"] |= {"validate_every": 10, "listen_s": 0.01}
    return settings


def test_a_run_leaves_a_scored_model(
    of_kind: Settings, kind: str, events: Callable[[Path], Any]
) -> None:
    """The model file works; its metrics have figures of codes or none; sound and scalars are in the events."""
    path = train(from_mapping(of_kind))
    model = load_model(path)
    assert len(model.convert(torch.zeros(100), "ann")) == 100
    bounded = bool(model.divergence(torch.zeros(100)).isfinite().all())
    of_draws = model.bottleneck(torch.zeros(1, model.config.dim, 3)).kl is not None
    metrics = json.loads((path.parent / "metrics.json").read_text())
    assert 0 < metrics["bits_per_sample"] < 20
    assert metrics["shuffled_bits"] != metrics["bits_per_sample"]
    assert (metrics["kl_bits"] is not None) == bounded
    for key in ("used_codes", "perplexity", "codebook_size"):
        assert (metrics[key] is None) == (kind not in DISCRETE)
    tags = events(path.parent).Tags()
    scalars = set(tags["scalars"])
    assert ("train/batch_perplexity" in scalars) == (kind in DISCRETE)
    assert ("train/kl_nats_per_frame" in scalars) == of_draws
    assert ("valid/kl_bits" in scalars) == bounded
    assert "valid/reconstructed" in tags["audio"]


def test_a_stopped_run_goes_on_to_the_bit(
    of_kind: Settings, stop_at: Callable[[int], Any], tmp_path: Path
) -> None:
    """Noise of draws, temperature and all: stopped at step 7 and resumed, the state is that of a straight run."""
    straight = deepcopy(of_kind)
    straight["run"]["dir"] = str(tmp_path / "straight")
    assert train(from_mapping(straight)) is not None
    with stop_at(7):
        assert train(from_mapping(of_kind)) is None
    assert train(from_mapping(of_kind)) is not None
    found, expected = (
        torch.load(Path(run["run"]["dir"]) / "state.pt", weights_only=True)
        for run in (of_kind, straight)
    )
    assert found["step"] == expected["step"] == STEPS
    for part in ("objective", "average"):
        for key, value in expected[part].items():
            assert torch.equal(found[part][key], value), key


def test_speakers_learn_on_a_model_of_any_kind(of_kind: Settings, tmp_path: Path) -> None:
    """What adds a voice leaves encoder and bottleneck as they were, temperature included."""
    path = train(from_mapping(of_kind))
    before = load_model(path)
    of_kind |= {"init": str(path), "learn": "speakers"}
    of_kind["spectral"] |= {"steps": 0, "weight": 0.0}
    of_kind["run"]["dir"] = str(tmp_path / "voice")
    after = load_model(train(from_mapping(of_kind)))
    wav = 0.3 * torch.randn(400, generator=torch.Generator().manual_seed(0))
    assert torch.equal(after.conditioning(wav), before.conditioning(wav))
    for name, value in before.bottleneck.state_dict().items():
        assert torch.equal(after.bottleneck.state_dict()[name], value), name
