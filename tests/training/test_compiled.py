"""The training step compiled: whole graphs, the losses of the eager one, and eager where compilation does not work."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from vqspeech.training.compiled import CompileTimeoutError, Differentiated, time_limit
from vqspeech.training.config import from_mapping
from vqspeech.training.data.segments import Batch, CodedBatch
from vqspeech.training.objective import Objective
from vqspeech.training.start import start

Settings = dict[str, Any]
CPU = torch.device("cpu")
CROP, SEGMENT = 320, 640


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Forget what was compiled before and after."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def objective(settings: Settings) -> Objective:
    """Return an objective with all that the shipped decoder is trained with."""
    settings["model"]["decoder"] = {
        **settings["model"]["decoder"],
        "pitch": True,
        "spectral_channels": 8,
    }
    settings["data"]["scored_every"] = 4
    settings["perturb"]["share"] = 0.0
    settings["spectral"]["target"] = "cepstra"
    settings["jitter"] = 0.3
    return start(from_mapping(settings), ["ann", "bob"], CPU).objective


def _batches(objective: Objective) -> tuple[Batch, CodedBatch]:
    model = objective.model
    draw = torch.Generator().manual_seed(0)
    frames = SEGMENT // model.hop
    pcm = torch.randint(-9000, 9000, (2, SEGMENT), generator=draw, dtype=torch.int16)
    rest = (
        torch.tensor([0, 1]),
        torch.tensor([SEGMENT, SEGMENT - 99]),
        torch.tensor([1, 4]),
        torch.full((2, SEGMENT // model.decoder.condition_hop), 120.0),
    )
    levels = torch.randint(256, (2, SEGMENT), generator=draw, dtype=torch.uint8)
    codes = torch.randint(model.codebook_size, (2, frames), generator=draw)
    return Batch(pcm, *rest), CodedBatch(levels, codes, *rest)


def _gradient(objective: Objective) -> Tensor:
    parts = [w.grad.flatten() for w in objective.parameters() if w.grad is not None]
    objective.zero_grad()
    return torch.cat(parts)


STEPS = [(0, 0, True), (0, CROP, True), (1, CROP, False)]
"""Batch, crop and whether codes learn: warm start, joint training, and a decoder on fixed codes."""


def test_there_is_no_break_and_one_graph_a_kind_of_step(objective: Objective) -> None:
    """Warm start, joint training and training on fixed codes are one graph each."""
    batches = _batches(objective)
    for which, crop, codes_learn in STEPS:
        torch.compiler.reset()
        found = torch._dynamo.explain(objective)(batches[which], crop, codes_learn)
        assert found.graph_break_count == 0, [reason.reason for reason in found.break_reasons]
        assert found.graph_count == 1


def _compare(
    objective: Objective, steps: list[tuple[int, int, bool]], precision: torch.dtype
) -> None:
    """Hold the compiled step against the eager one."""
    batches = _batches(objective)

    def autocast() -> Any:
        return torch.autocast("cpu", precision, enabled=precision != torch.float32)

    def reseed() -> None:
        torch.manual_seed(3)

    compiled = Differentiated(objective, autocast, True, 600)
    eager = Differentiated(objective, autocast, False, 600)
    exact = Differentiated(objective, nullcontext, False, 600)
    for which, crop, codes_learn in steps:
        found = compiled(reseed, batches[which], crop, codes_learn).total.detach()
        gradient = _gradient(objective)
        assert compiled.compiled is not None
        expected = eager(reseed, batches[which], crop, codes_learn).total.detach()
        eager_gradient = _gradient(objective)
        truth = exact(reseed, batches[which], crop, codes_learn).total.detach()
        true_gradient = _gradient(objective)
        scale = true_gradient.norm()
        if precision == torch.float32:
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
            assert (gradient - eager_gradient).norm() < 1e-4 * scale
            continue
        # as far from float32 as eager bfloat16 is
        assert abs(found - truth) <= 2 * abs(expected - truth) + 2e-3 * truth
        noise = (eager_gradient - true_gradient).norm()
        assert (gradient - true_gradient).norm() <= 2 * noise


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses_and_gradients_of_the_graphs_are_those_of_the_eager_step(
    objective: Objective, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 to rounding, in bfloat16 to its noise; the graphs of both passes, run without generated code."""
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: compile(*a, **k, backend="aot_eager"))
    _compare(objective, STEPS, precision)


@pytest.mark.slow
def test_losses_and_gradients_of_generated_code_are_those_of_the_eager_step(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with code that Inductor generates, for a decoder on fixed codes."""
    # generated code draws other random numbers
    objective.input_noise, objective.scored_every = 0.0, 1
    monkeypatch.setattr("vqspeech.training.objective.degraded", lambda contour, _: contour)
    _compare(objective, STEPS[2:], torch.float32)


def _broken(error: Callable[[], None]) -> Callable[..., Any]:
    def compile(*_: Any, **__: Any) -> Callable[..., Any]:
        def call(*_: Any) -> Any:
            error()
            raise AssertionError

        return call

    return compile


def _raise() -> None:
    raise RuntimeError("no C++ compiler\nfound here")


@pytest.mark.parametrize(
    ("error", "limit_s", "line"),
    [
        (_raise, 600, "no C\\+\\+ compiler found here"),
        (signal.pause, 1, "not done after 1 s"),
    ],
    ids=["raises", "hangs"],
)
def test_where_compilation_fails_or_hangs_training_goes_on_eager(
    objective: Objective,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Callable[[], None],
    limit_s: int,
    line: str,
) -> None:
    """One line says why; the loss and the gradient of the step are the eager ones, and so are those after it."""
    monkeypatch.setattr(torch, "compile", _broken(error))
    batch = _batches(objective)[1]
    step = Differentiated(objective, nullcontext, True, limit_s)
    eager = Differentiated(objective, nullcontext, False, 1)

    def reseed() -> None:
        torch.manual_seed(3)

    for said in (True, False):
        loss = step(reseed, batch, CROP, False).total
        gradient = _gradient(objective)
        assert torch.equal(loss, eager(reseed, batch, CROP, False).total)
        assert torch.equal(gradient, _gradient(objective))
        (*lines,) = capfd.readouterr().err.splitlines()
        assert len(lines) == said
        if said:
            assert lines[0].startswith("run.compile: ")
            assert lines[0].endswith("; going on without")
            assert re.search(line, lines[0])


def test_time_limit_ends_with_its_body() -> None:
    """What is done in time is left alone afterwards."""
    with time_limit(600):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with pytest.raises(CompileTimeoutError), time_limit(0.1):
        signal.pause()
