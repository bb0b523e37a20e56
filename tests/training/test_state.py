"""The state of a run: whole or not at all, plain values only, and for the model it was made with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from one_line import one_line

from vqspeech.errors import ModelFileError
from vqspeech.training.config import from_mapping
from vqspeech.training.start import start
from vqspeech.training.state import State, fill_state, read_state, save_state

Make = Callable[..., State]


def load_state(state: State, path: Path) -> None:
    """Fill a state from a file, as `resume` does."""
    fill_state(state, read_state(path), path)


@pytest.fixture
def make(settings: dict[str, Any]) -> Make:
    """Return a function that makes the state before the first step; decoder settings may be changed."""

    def build(seed: int = 0, **decoder: Any) -> State:
        settings["run"]["seed"] = seed
        settings["model"]["decoder"] |= decoder
        return start(from_mapping(settings), ["ann", "bob"], torch.device("cpu"))

    return build


def _move(state: State) -> None:
    """Take a step with made-up gradients, so that the optimizer has moments."""
    for number, parameter in enumerate(state.objective.parameters()):
        parameter.grad = torch.full_like(parameter, 0.1 * number)
    for optimizer in state.optimizers:
        optimizer.step()
    state.average.update(state.objective.model.decoder)
    state.step, state.skipped, state.samples, state.seconds = 7, 1, 4480, 1.5
    state.curve.append({"step": 5, "bits_per_sample": 7.5})


def _moments(state: State) -> dict[tuple[int, int], dict[str, torch.Tensor]]:
    return {
        (number, i): moments
        for number, optimizer in enumerate(state.optimizers)
        for i, moments in optimizer.state_dict()["state"].items()
    }


def _without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


def test_there_and_back(make: Make, tmp_path: Path) -> None:
    """Weights, moments, average and counts come back bitwise, into a state of another seed."""
    saved, loaded = make(), make(seed=1)
    _move(saved)
    save_state(saved, tmp_path / "state.pt")
    load_state(loaded, tmp_path / "state.pt")
    for part in ("objective", "average"):
        found, expected = getattr(loaded, part).state_dict(), getattr(saved, part).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[k], expected[k]) for k in expected)
    moments = _moments(loaded)
    assert moments.keys() == _moments(saved).keys()
    for i, expected in _moments(saved).items():
        assert all(torch.equal(moments[i][k], expected[k]) for k in expected)
    assert (loaded.step, loaded.skipped, loaded.samples, loaded.seconds) == (7, 1, 4480, 1.5)
    assert loaded.curve == saved.curve


def test_state_that_would_run_code_is_refused_and_nothing_run(
    make: Make, tmp_path: Path, harmful: object
) -> None:
    """A pickle that calls a function is refused in one line, and the function is not called."""
    path, trace = tmp_path / "state.pt", tmp_path / "harmed"
    torch.save({"format": "vqspeech-state", "version": 1, "step": harmful}, path)
    with one_line(ModelFileError, match=r"state\.pt: not a training state.*safely"):
        load_state(make(), path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), "the file was harmless, so the test shows nothing"


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_damaged_files_are_told_in_one_line(make: Make, tmp_path: Path, damage: str) -> None:
    """An empty file, the first half of a state and a text are each refused by name."""
    path, state = tmp_path / "state.pt", make()
    save_state(state, path)
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"hello\n" * 9}[damage]
    )
    with one_line(ModelFileError, match=r"state\.pt: not a training state"):
        load_state(state, path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: [1, 2], "not a vqspeech training state"),
        (lambda c: c | {"format": "other"}, "not a vqspeech training state"),
        (lambda c: c | {"version": 9}, "state version 9 found, 4 expected"),
        (
            lambda c: c | {"version": torch.zeros(3)},
            "state version of type Tensor found, 4 expected",
        ),
        (lambda c: _without(c, "format"), "not a vqspeech training state"),
        (lambda c: _without(c, "optimizers"), "without optimizers"),
        (lambda c: _without(c, "step"), "without step"),
        (
            lambda c: c | {"objective": _without(c["objective"], "model.encoder.output.bias")},
            "output.bias missing",
        ),
        (
            lambda c: c | {"objective": c["objective"] | {"extra": torch.zeros(1)}},
            "extra found, the configured model has none",
        ),
        *(
            (lambda c, part=part: c | part, "")
            for part in (
                {"speakers": None},
                {"objective": []},
                {"optimizers": []},
                {"optimizers": [{}]},
                {"average": {}},
                {"step": "seven"},
                {"curve": None},
            )
        ),
    ],
)
def test_foreign_states_are_refused_by_what_is_wrong(
    make: Make, tmp_path: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    """Of another format, version or entries, or at odds with itself: one line, and the state at hand stays."""
    path, state = tmp_path / "state.pt", make()
    save_state(state, path)
    torch.save(change(torch.load(path, weights_only=True)), path)
    other = make(seed=1)
    before = other.objective.model.encoder.output.weight.clone()
    with one_line(ModelFileError, start=f"{path}: ", match=complaint):
        load_state(other, path)
    if complaint:
        assert torch.equal(other.objective.model.encoder.output.weight, before)
        assert other.step == 0


def test_another_model_is_refused_by_key_and_both_shapes(make: Make, tmp_path: Path) -> None:
    """The first weight that does not fit is named with what was found and what is configured."""
    path = tmp_path / "state.pt"
    save_state(make(), path)
    with pytest.raises(
        ModelFileError,
        match=r"model\.decoder\.wavenet\.hidden\.bias has shape \(16,\).* has \(32,\); use another",
    ):
        load_state(make(skip_channels=32), path)


def test_failed_save_leaves_the_state_before_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up half way costs nothing: the old state is whole, nothing else is left."""
    path, state = tmp_path / "state.pt", make()
    save_state(state, path)
    before = path.read_bytes()

    def full(file: Path, content: memoryview) -> None:
        with file.open("wb") as opened:
            opened.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    state.step = 1
    with pytest.raises(ModelFileError, match=r"state\.pt: could not be written \(No space left"):
        save_state(state, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]
