"""Training on a GPU: the step, resuming, deadlines, data on the device, and that nothing in a step waits for it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vqspeech.corpus.store import PackedStore
from vqspeech.training import loop
from vqspeech.training.compiled import Differentiated
from vqspeech.training.config import from_mapping
from vqspeech.training.data.segments import Phase, Segments
from vqspeech.training.loop import train
from vqspeech.training.start import start

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

Settings = dict[str, Any]
LOG_EVERY = 10


@pytest.fixture
def on_gpu(settings: Settings) -> Settings:
    """Return the settings of a run on a GPU in bf16, with pitch, eager."""
    settings["run"] |= {"accelerator": "cuda", "precision": "bf16-mixed", "log_every": LOG_EVERY}
    settings["model"]["decoder"] = {**settings["model"]["decoder"], "pitch": True}
    settings["data"]["scored_every"] = 4
    settings["perturb"]["share"] = 0.0
    settings["optimizer"]["steps"] = 36
    return settings


def test_the_compiled_bf16_step_is_the_eager_float32_one_to_bf16_noise(on_gpu: Settings) -> None:
    """Loss and gradient of warm start and joint training."""
    on_gpu["data"] |= {"input_noise": 0.0, "scored_every": 1}
    on_gpu["jitter"] = 0.0
    on_gpu["model"]["decoder"] = {**on_gpu["model"]["decoder"], "pitch": False}
    config, device = from_mapping(on_gpu), torch.device("cuda")
    store = PackedStore(Path(on_gpu["data"]["store"]))
    objective = start(config, store.speakers, device).objective
    batch = Segments(store, [Phase(1, 8, 640, 320)], objective.model.hop, 0).resident(device)[0]

    def bf16() -> Any:
        return torch.autocast("cuda", torch.bfloat16)

    def exact() -> Any:
        return torch.autocast("cuda", enabled=False)

    for crop in (0, 320):
        found = []
        for context, compile in ((bf16, True), (exact, False)):
            step = Differentiated(objective, context, compile, 600)
            loss = step(lambda: torch.manual_seed(0), batch, crop, True).total.item()
            assert (step.compiled is not None) == compile
            grads = [w.grad.flatten() for w in objective.parameters() if w.grad is not None]
            found.append((loss, torch.cat(grads)))
            objective.zero_grad()
        (loss, gradient), (expected, true_gradient) = found
        assert loss == pytest.approx(expected, rel=0.02)
        assert torch.cosine_similarity(gradient, true_gradient, dim=0) > 0.98


def test_a_run_learns_and_goes_on_where_it_was_stopped(
    on_gpu: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM saves; resumed, the run has all its steps, and its likelihood is better than at first."""
    step = loop._step

    def stop(config: Any, state: Any, *rest: Any) -> None:
        if state.step == 15:
            os.kill(os.getpid(), signal.SIGTERM)
        step(config, state, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", stop)
        assert train(from_mapping(on_gpu)) is None
    folder = Path(on_gpu["run"]["dir"])
    stopped = torch.load(folder / "state.pt", weights_only=True)["step"]
    # the host looks at what the device has done every so many steps
    assert 15 < stopped <= 15 + LOG_EVERY
    assert train(from_mapping(on_gpu)) is not None
    assert torch.load(folder / "state.pt", weights_only=True)["step"] == 40
    nats = [json.loads(line).get("nats_per_sample") for line in (folder / "curve.jsonl").open()]
    scored = [value for value in nats if value]
    assert scored[-1] < scored[0]


def test_no_step_waits_for_the_device(
    on_gpu: Settings, monkeypatch: pytest.MonkeyPatch, tiny_model_file: Path
) -> None:
    """With fixed codes and data on the device, nothing synchronises but every so many steps."""
    on_gpu |= {"init": str(tiny_model_file), "learn": "decoder"}
    on_gpu["spectral"]["steps"] = 0
    step = loop._step

    def strict(config: Any, state: Any, *rest: Any) -> None:
        # optimizers make their state in the first steps, and what is looked at may wait
        quiet = state.step > 3 and (state.step + 1) % LOG_EVERY
        torch.cuda.set_sync_debug_mode("error" if quiet else "default")
        try:
            step(config, state, *rest)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "_step", strict)
    assert train(from_mapping(on_gpu)) is not None


def test_a_gradient_that_is_not_finite_moves_no_weight_to_where_it_is_not(
    on_gpu: Settings, monkeypatch: pytest.MonkeyPatch, tiny_model_file: Path
) -> None:
    """The step counts as skipped although the host does not wait for it."""
    on_gpu |= {"init": str(tiny_model_file), "learn": "decoder"}
    on_gpu["spectral"]["steps"] = 0
    forward, calls = loop.Differentiated.__call__, []

    def spoiled(self: Any, *args: Any) -> Any:
        losses = forward(self, *args)
        calls.append(None)
        if len(calls) == 12:
            next(w for w in self.module.parameters() if w.grad is not None).grad.fill_(torch.nan)
        return losses

    monkeypatch.setattr(loop.Differentiated, "__call__", spoiled)
    assert train(from_mapping(on_gpu)) is not None
    state = torch.load(Path(on_gpu["run"]["dir"]) / "state.pt", weights_only=True)
    assert state["skipped"] == 1
    assert all(torch.isfinite(t).all() for t in state["objective"].values())


def test_batches_on_the_device_are_those_of_the_loader(sound_store: Path) -> None:
    """Bit for bit."""
    segments = Segments(PackedStore(sound_store), [Phase(5, 3, 640, 320)], 16, 0)
    resident = segments.resident(torch.device("cuda"))
    for step in range(5):
        for loaded, gathered in zip(segments[step], resident[step], strict=True):
            assert torch.equal(loaded, gathered.cpu())


def test_the_batch_is_found_by_trials(on_gpu: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed and kept."""
    on_gpu["data"] |= {"batch": "auto", "resident": "yes"}
    on_gpu["optimizer"]["steps"] = 4
    assert train(from_mapping(on_gpu)) is not None
    assert "data.batch=auto: " in capsys.readouterr().out
    state = torch.load(Path(on_gpu["run"]["dir"]) / "state.pt", weights_only=True)
    assert state["batch"] >= 1


@pytest.mark.slow
def test_a_deadline_is_kept(on_gpu: Settings, write_settings: Callable[[Settings], Path]) -> None:
    """Compilation, scores and files included."""
    on_gpu["run"] |= {"deadline_s": 75.0, "compile": True, "compile_s": 40}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "vqspeech.training", str(write_settings(on_gpu))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 60 < time.monotonic() - began < 75
    assert (Path(on_gpu["run"]["dir"]) / "metrics.json").is_file()
