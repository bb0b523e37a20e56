"""The loop on a tiny model: what it writes, what it refuses, and what a broken batch does to it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from one_line import one_line
from safetensors.torch import load_file
from torch import Tensor

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, CorpusError, VqspeechError
from vqspeech.models.checkpoint import load_model, read_header
from vqspeech.training import loop, process, run
from vqspeech.training.config import from_mapping
from vqspeech.training.loop import train
from vqspeech.training.objective import Losses, Objective
from vqspeech.training.run import BAD_STEPS_IN_A_ROW

Settings = dict[str, Any]
Events = Callable[[Path], Any]
WARM, JOINT = 4, 8
OVERFIT = 150


def _run(settings: Settings) -> Path | None:
    return train(from_mapping(settings))


def _state(settings: Settings) -> dict[str, Any]:
    return torch.load(Path(settings["run"]["dir"]) / "state.pt", weights_only=True)


@pytest.fixture(scope="module")
def finished(plain_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return the settings of a complete run, long enough to learn, with a validation on its way."""
    own = deepcopy(plain_settings)
    own["run"] |= {"dir": str(tmp_path_factory.mktemp("run")), "listen_s": 0.01}
    own["run"]["validate_every"] = 100
    own["optimizer"]["steps"] = OVERFIT - WARM
    _run(own)
    return own


def test_loss_falls(finished: Settings, events: Events) -> None:
    """A run of some seconds on some seconds of sound takes far more than noise off the likelihood."""
    nll = [e.value for e in events(Path(finished["run"]["dir"])).Scalars("train/nats_per_sample")]
    assert nll[:WARM] == [0.0] * WARM
    learned = sum(nll[WARM : WARM + 10]) / 10 - sum(nll[-10:]) / 10
    assert learned > 1.0


def test_metrics_hold_every_figure_beside_its_baseline(finished: Settings) -> None:
    """metrics.json has the scores of the test split, and the curve of those of the validation split."""
    metrics = json.loads((Path(finished["run"]["dir"]) / "metrics.json").read_text())
    assert (metrics["split"], metrics["steps"], metrics["codebook_size"]) == ("test", OVERFIT, 16)
    assert metrics["bits_per_sample"] < metrics["uniform_bits"] == 8.0
    assert 0 < metrics["unigram_bits"] < 8.0
    assert metrics["shuffled_bits"] > 0
    (entry,) = metrics["curve"]
    assert entry["step"] == 100
    assert {"bits_per_sample", "shuffled_bits", "unigram_bits", "perplexity"} <= entry.keys()


def test_model_file_says_how_it_was_trained_and_what_it_scores(finished: Settings) -> None:
    """The header holds steps, data, settings, hardware and scores, and agrees with the metrics."""
    folder = Path(finished["run"]["dir"])
    header = read_header(folder / "model.safetensors")
    training, metrics = header["training"], json.loads((folder / "metrics.json").read_text())
    assert training["steps"] == OVERFIT
    assert training["samples_seen"] == (OVERFIT - WARM) * 2 * 320
    assert training["skipped_steps"] == 0
    assert training["config"] == finished
    assert "cpu" in training["hardware"]
    assert training["seconds"] > 0
    assert training["curve"] == metrics["curve"]
    assert header["scores"]["held_out"]["bits_per_sample"] == metrics["bits_per_sample"]
    assert header["speakers"] == ["ann", "bob", "eve"]


def test_model_file_is_the_averaged_decoder_without_the_spectral_head(finished: Settings) -> None:
    """What is exported: encoder and codebook as trained, the average of the decoder, nothing else."""
    exported = load_file(Path(finished["run"]["dir"]) / "model.safetensors")
    state = _state(finished)
    trained = {
        k.removeprefix("model."): v for k, v in state["objective"].items() if k.startswith("model.")
    }
    assert any(k.startswith("head.") for k in state["objective"])
    assert exported.keys() == trained.keys()
    moved = 0
    for key, tensor in exported.items():
        if key.startswith("decoder."):
            average = state["average"][key.replace("decoder.", "module.", 1)]
            assert torch.equal(tensor, average), key
            moved += not torch.equal(tensor, trained[key])
        else:
            assert torch.equal(tensor, trained[key]), key
    assert moved > 0


def test_average_starts_with_joint_training(settings: Settings) -> None:
    """The warm start, which leaves the decoder as it was, does not count towards its average."""
    _run(settings)
    assert int(_state(settings)["average"]["n_averaged"]) == JOINT


def test_events_hold_scalars_and_sound(finished: Settings, events: Events) -> None:
    """TensorBoard shows losses, codes and rates of training and validation, and two sounds."""
    found = events(Path(finished["run"]["dir"]))
    scalars = set(found.Tags()["scalars"])
    assert {"train/spectral", "train/bottleneck", "train/batch_perplexity"} <= scalars
    assert {"train/samples_per_s", "train/gradient_norm", "train/skipped_steps"} <= scalars
    assert {"valid/bits_per_sample", "valid/shuffled_bits", "valid/used_codes"} <= scalars
    assert [e.step for e in found.Scalars("train/nats_per_sample")] == [*range(1, OVERFIT + 1)]
    for name in ("valid/original", "valid/reconstructed"):
        (sound,) = found.Audio(name)
        assert (sound.step, sound.sample_rate, sound.length_frames) == (100, 16000, 160)


def test_finished_run_has_nothing_left_to_do(
    finished: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started again, a finished run scores nothing and writes nothing, and returns its model file."""
    folder = Path(finished["run"]["dir"])
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(loop, "held_out", None)
    assert _run(finished) == folder / "model.safetensors"
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_finished_run_goes_on_when_it_is_given_more_steps(settings: Settings) -> None:
    """With more steps a finished run continues, and its metrics are those of the later step."""
    _run(settings)
    settings["optimizer"]["steps"] += 3
    _run(settings)
    metrics = json.loads((Path(settings["run"]["dir"]) / "metrics.json").read_text())
    assert metrics["steps"] == _state(settings)["step"] == WARM + JOINT + 3


def test_killed_while_scoring_scores_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ended between its last step and its metrics writes them when started again."""

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "held_out", killed)
        with pytest.raises(KeyboardInterrupt):
            _run(settings)
    folder = Path(settings["run"]["dir"])
    assert _state(settings)["step"] == WARM + JOINT
    assert not (folder / "metrics.json").exists()
    assert _run(settings) == folder / "model.safetensors"
    assert json.loads((folder / "metrics.json").read_text())["steps"] == WARM + JOINT


def test_model_file_is_there_from_the_first_validation_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validation writes a model file that loads and encodes, before training is complete."""
    settings["run"]["validate_every"] = 5
    path = Path(settings["run"]["dir"]) / "model.safetensors"
    step, found = loop._step, []

    def look(config: Any, state: Any, *rest: Any) -> Any:
        if state.step == 7:
            found.append(read_header(path)["training"]["steps"])
            assert load_model(path).encode(torch.zeros(100)).shape == (7,)
        return step(config, state, *rest)

    monkeypatch.setattr(loop, "_step", look)
    _run(settings)
    assert found == [5]
    assert [entry["step"] for entry in _state(settings)["curve"]] == [5, 10]


def test_resumed_run_keeps_the_events_of_the_step_it_stopped_at(
    settings: Settings, stop_at: Callable[[int], Any], events: Events
) -> None:
    """No step is missing from the events after a stop, and none is there twice."""
    with stop_at(7):
        assert _run(settings) is None
    # to the file before the process ends
    assert len(events(Path(settings["run"]["dir"])).Scalars("train/bottleneck")) == 7
    # TensorBoard reads files in the order of their names, which tell the time to the second.
    stopped = int(time.time())
    while int(time.time()) == stopped:
        time.sleep(0.05)
    assert _run(settings) is not None
    logged = events(Path(settings["run"]["dir"])).Scalars("train/bottleneck")
    assert [e.step for e in logged] == [*range(1, WARM + JOINT + 1)]


def test_resumed_run_has_each_step_once_in_its_curve(settings: Settings) -> None:
    """What a killed run logged after its last state, and a line it did not finish, are gone when it goes on."""
    _run(settings)
    curve = Path(settings["run"]["dir"]) / "curve.jsonl"
    whole = curve.read_text()
    ahead = json.dumps({"step": WARM + JOINT + 1, "samples": 1})
    curve.write_text(f'{whole}{ahead}\n{{"step": {WARM + JOINT}, "sam')
    settings["optimizer"]["steps"] += 2
    _run(settings)
    assert curve.read_text().startswith(whole)
    steps = [json.loads(line)["step"] for line in curve.open()]
    assert sorted(set(steps)) == sorted(steps)
    assert steps[-1] == WARM + JOINT + 2


def test_signals_ask_once_and_a_second_interrupt_insists() -> None:
    """SIGTERM may come twice, as from `timeout`; a second Ctrl-C ends even a long validation."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with process.stop_signal() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    with process.stop_signal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


Poison = Callable[[Losses, Objective], Losses]


def _bad_loss(losses: Losses, _: Objective) -> Losses:
    return losses._replace(total=losses.total * torch.nan)


def _infinite_loss(losses: Losses, _: Objective) -> Losses:
    return losses._replace(total=losses.total + torch.inf)


def _bad_gradient(losses: Losses, objective: Objective) -> Losses:
    nothing = 0 * next(objective.model.encoder.parameters()).sum()
    # the root of zero is finite and its slope is not
    return losses._replace(total=losses.total + nothing.sqrt())


def _poison(patch: pytest.MonkeyPatch, bad: set[int], poison: Poison) -> list[bool]:
    """Spoil the losses of the steps in `bad`, counted from 0; return, filled on the way, which were finite."""
    forward = Objective.forward
    finite: list[bool] = []
    # it takes steps of its own
    patch.setattr(loop, "plan", lambda *_: "")

    def spoiled(self: Objective, *args: Any) -> Losses:
        losses = forward(self, *args)
        if len(finite) in bad:
            losses = poison(losses, self)
        finite.append(bool(torch.isfinite(losses.total)))
        return losses

    patch.setattr(Objective, "forward", spoiled)
    return finite


def _record_states(patch: pytest.MonkeyPatch, settings: Settings) -> list[dict[str, Tensor]]:
    """Save every step; return, filled on the way, all tensors of the state after each."""
    settings["run"]["save_every_s"] = 0
    save_state = run.save_state
    seen: list[dict[str, Tensor]] = []

    def record(state: Any, path: Path) -> None:
        tensors = {f"objective.{k}": v for k, v in state.objective.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in state.average.state_dict().items()}
        for number, optimizer in enumerate(state.optimizers):
            for i, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{i}.{k}": v for k, v in moments.items()}
        seen.append({k: v.clone() for k, v in tensors.items()})
        save_state(state, path)

    patch.setattr(run, "save_state", record)
    return seen


@pytest.mark.parametrize(
    ("poison", "finite_loss"),
    [(_bad_loss, False), (_infinite_loss, False), (_bad_gradient, True)],
)
@pytest.mark.parametrize("kind", ["vq", "vq_ema"])
def test_bad_step_moves_nothing_and_is_counted(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    poison: Poison,
    finite_loss: bool,
    kind: str,
) -> None:
    """Weights, codebook, counts, sums, moments and average stay, in the warm start and after it."""
    settings["model"]["bottleneck"]["kind"] = kind
    finite = _poison(monkeypatch, {2, 8}, poison)
    states = _record_states(monkeypatch, settings)
    _run(settings)
    assert finite == [i not in (2, 8) or finite_loss for i in range(WARM + JOINT)]
    for step in range(1, WARM + JOINT):
        before, after = states[step - 1], states[step]
        moved = [k for k in after if k not in before or not torch.equal(before[k], after[k])]
        if step in (2, 8):
            assert moved == []
        else:
            assert "objective.model.bottleneck.usage" in moved
            assert "objective.model.bottleneck.codebook" in moved
            assert "objective.model.encoder.output.weight" in moved
            assert any(k.endswith("exp_avg_sq") for k in moved)
            assert ("average.n_averaged" in moved) == (step >= WARM)
    assert (_state(settings)["skipped"], _state(settings)["step"]) == (2, WARM + JOINT)
    header = read_header(Path(settings["run"]["dir"]) / "model.safetensors")
    assert header["training"]["skipped_steps"] == 2


def test_bad_steps_in_a_row_end_the_run_with_the_good_state_on_disk(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says where it ended; the weights on disk are those before the first bad step."""
    last_good = 5
    with monkeypatch.context() as patch:
        _poison(patch, set(range(last_good + 1, 100)), _bad_loss)
        states = _record_states(patch, settings)
        with pytest.raises(VqspeechError, match="was not finite in") as error:
            _run(settings)
    line = str(error.value)
    assert "\n" not in line
    assert f"in {BAD_STEPS_IN_A_ROW} steps in a row" in line
    assert f"step {last_good + 1 + BAD_STEPS_IN_A_ROW};" in line
    assert "state.pt" in line
    state = _state(settings)
    assert state["skipped"] == BAD_STEPS_IN_A_ROW
    for key, tensor in state["objective"].items():
        assert torch.isfinite(tensor).all(), key
        assert torch.equal(tensor, states[last_good][f"objective.{key}"]), key
    assert _run(settings) is not None


def test_good_steps_between_bad_ones_keep_a_run_going(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only bad steps without a good one between them end a run."""
    bad = {1, 2, 3, 4, 6, 7, 8, 9}
    assert BAD_STEPS_IN_A_ROW == 5
    _poison(monkeypatch, bad, _bad_loss)
    assert _run(settings) is not None
    assert _state(settings)["skipped"] == len(bad)


def test_resume_never_refuses_an_existing_run(settings: Settings) -> None:
    """``resume=never`` starts a run, and refuses the folder of one without touching it."""
    settings["resume"] = "never"
    _run(settings)
    before = (Path(settings["run"]["dir"]) / "state.pt").read_bytes()
    with pytest.raises(ConfigurationError, match=r"state\.pt: there is a run already"):
        _run(settings)
    assert (Path(settings["run"]["dir"]) / "state.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("model", "sample_rate", 22050, r"at 16000 Hz.* 22050"),
        ("run", "accelerator", "abacus", "abacus"),
    ],
)
def test_what_store_or_machine_cannot_give_is_refused(
    settings: Settings, section: str, key: str, value: object, expected: str
) -> None:
    """One line with what was asked for, no traceback of Fabric's, and no folder."""
    settings[section][key] = value
    with one_line(ConfigurationError, match=expected):
        _run(settings)
    assert not Path(settings["run"]["dir"]).exists()


def test_store_without_validation_speech_is_refused_at_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first validation would need is asked for before the first step."""
    monkeypatch.setattr(loop, "scorable", lambda *_: [])
    with pytest.raises(CorpusError, match="'valid'"):
        _run(settings)
    assert not Path(settings["run"]["dir"]).exists()


def test_strangers_in_the_validation_split_are_passed_over(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation and listening use the speakers that are trained on, whoever else is in the split."""
    settings["run"] |= {"validate_every": 6, "listen_s": 0.01}
    strangers = PackedStore(Path(settings["data"]["store"]))
    valid = strangers.indices("valid")
    first = strangers.utterances[valid[0]]
    strangers.utterances[valid[0]] = type(first)(**{**vars(first), "speaker": "zoe"})
    monkeypatch.setattr(loop, "open_corpus", lambda _: strangers)
    _run(settings)
    (_, entry) = _state(settings)["curve"]
    assert entry["utterances"] <= len(valid) - 1


def test_seed_decides_the_run(settings: Settings) -> None:
    """The same settings give the same weights, another seed others."""
    ends = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        settings["run"] |= {"dir": str(Path(settings["run"]["dir"]).with_name(name)), "seed": seed}
        _run(settings)
        ends.append(_state(settings)["objective"]["model.encoder.output.weight"])
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


BARE_MACHINE = """
import runpy
from importlib.machinery import PathFinder
from importlib.metadata import MetadataPathFinder

modules, distributions = {modules!r}, {distributions!r}
find_spec, find_distributions = PathFinder.find_spec, MetadataPathFinder.find_distributions

def find_module(name, path=None, target=None):
    return None if name.partition(".")[0] in modules else find_spec(name, path, target)

def find_installed(*args):
    return (d for d in find_distributions(*args) if d.metadata["Name"] not in distributions)

PathFinder.find_spec, MetadataPathFinder.find_distributions = find_module, find_installed
runpy.run_module("vqspeech.training", run_name="__main__", alter_sys=True)
"""


def _plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _needs(*distributions: str) -> set[str]:
    """Names of distributions and of all that they cannot be without."""
    needed: set[str] = set()
    waiting = list(distributions)
    while waiting:
        name = _plain(waiting.pop())
        if name in needed:
            continue
        needed.add(name)
        with suppress(metadata.PackageNotFoundError):
            lines = [r for r in metadata.requires(name) or () if "extra ==" not in r]
            waiting += [re.match(r"[\w.-]+", line)[0] for line in lines]
    return needed


@pytest.mark.slow
def test_training_needs_six_packages_alone(
    settings: Settings, write_settings: Callable[[Settings], Path]
) -> None:
    """From JSON with torch, torchaudio, numpy, safetensors, lightning, tensorboard and their needs, all of it works."""
    needed = _needs("torch", "torchaudio", "numpy", "safetensors", "lightning", "tensorboard")
    needed.add("vqspeech")
    providers = metadata.packages_distributions()
    distributions = {d for names in providers.values() for d in names if _plain(d) not in needed}
    modules = {module for module, names in providers.items() if {*names} <= distributions}
    assert {"hydra", "omegaconf", "soundfile", "soxr", "librosa", "pooch"} <= modules
    assert {"scipy", "sklearn", "numba"} <= modules
    settings["run"] |= {"validate_every": 6, "listen_s": 0.01}
    script = BARE_MACHINE.format(modules=modules, distributions=distributions)
    done = subprocess.run(
        [sys.executable, "-c", script, str(write_settings(settings))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "bits/sample" in done.stdout
    assert load_model(Path(settings["run"]["dir"]) / "model.safetensors").speakers


def test_error_from_json_is_one_line(
    settings: Settings,
    write_settings: Callable[[Settings], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``python -m vqspeech.training`` says what is wrong in one line, with exit status 1."""
    from vqspeech.training.__main__ import main

    settings["data"]["store"] = "nowhere"
    monkeypatch.setattr(sys, "argv", ["vqspeech.training", str(write_settings(settings))])
    assert main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vqspeech: nowhere")
