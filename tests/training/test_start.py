"""The state before the first step: new or from a model file, with more speakers, and what of it may learn."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vqspeech.cli.train import compose
from vqspeech.errors import ConfigurationError
from vqspeech.models.checkpoint import load_model
from vqspeech.training.config import TARGETS, TrainConfig, from_mapping
from vqspeech.training.loop import train
from vqspeech.training.start import start, with_speakers

EXPERIMENTS = sorted(
    path.stem for path in (Path(__file__).parents[2] / "conf/experiment").glob("*.yaml")
)
TABLE = "decoder.conditioner.speaker.weight"


def _from(known: Path, settings: dict[str, Any], learn: str) -> TrainConfig:
    settings |= {"init": str(known), "learn": learn}
    settings["spectral"]["steps"] = 0 if learn != "all" else settings["spectral"]["steps"]
    return from_mapping(settings)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_begins(experiment: str) -> None:
    """With its settings as they are: the models it goes on from fit it, and something may learn."""
    composed = compose([f"experiment={experiment}", "data.store=none", "run.dir=none"])
    state = start(from_mapping(composed), ["p225"], torch.device("cpu"))
    assert any(weight.requires_grad for weight in state.objective.model.parameters())


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_its_heads(settings: dict[str, Any], target: str) -> None:
    """Spectrum from the condition always; cepstra from the latents when they are the target."""
    settings["spectral"]["target"] = target
    objective = start(from_mapping(settings), ["ann"], torch.device("cpu")).objective
    assert objective.head is not None
    assert (objective.cepstral is not None) == (target == "cepstra")


def test_a_wavenet_is_lent(known: Path, settings: dict[str, Any]) -> None:
    """All of it but the projection of the condition, which starts at zero; encoder and conditioner are new."""
    settings["init_wavenet"] = str(known)
    settings["model"]["decoder"] = {**settings["model"]["decoder"], "condition_channels": 24}
    model = start(from_mapping(settings), ["ann"], torch.device("cpu")).objective.model
    new, old = model.state_dict(), load_model(known).state_dict()
    for key in (key for key in new if key.startswith("decoder.wavenet.")):
        if key == "decoder.wavenet.condition.weight":
            assert (new[key] == 0).all()
        else:
            assert torch.equal(new[key], old[key])
    assert not torch.equal(new["encoder.output.weight"], old["encoder.output.weight"])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"dilations": [1, 2]}, "has gate_weight of shape"),
        ({"skip_channels": 24}, "has skip.weight of shape"),
        ({"dilations": [1, 2, 8]}, "dilations of"),
    ],
)
def test_a_wavenet_of_another_shape_is_refused(
    known: Path, settings: dict[str, Any], change: dict[str, Any], line: str
) -> None:
    """The line names the model and what differs."""
    settings["init_wavenet"] = str(known)
    settings["model"]["decoder"] = {**settings["model"]["decoder"], **change}
    with pytest.raises(ConfigurationError, match=rf"wavenet: .*{line}"):
        start(from_mapping(settings), ["ann"], torch.device("cpu"))
    settings["init"] = str(known)
    with pytest.raises(ConfigurationError, match="wavenet: the model of init has one"):
        from_mapping(settings)


def test_new_speakers_start_as_the_mean_and_old_ones_stay(known: Path) -> None:
    """Rows of known speakers keep place and value, all other weights are the same."""
    model = load_model(known)
    larger = with_speakers(model, ["bob", "ann", "eve"])
    assert larger.speakers == ("zoe", "bob", "ann", "eve")
    old, new = model.state_dict(), larger.state_dict()
    assert torch.equal(new[TABLE][:2], old[TABLE])
    assert torch.allclose(new[TABLE][2:], old[TABLE].mean(0).expand(2, -1))
    assert all(torch.equal(new[k], old[k]) for k in old if k != TABLE)


def test_nobody_new_changes_nothing(known: Path) -> None:
    """A store whose speakers are all known leaves the model as it is."""
    model = load_model(known)
    assert with_speakers(model, ["bob"]) is model


@pytest.mark.parametrize("learn", ["all", "decoder", "speakers"])
def test_only_what_may_learn_moves(known: Path, settings: dict[str, Any], learn: str) -> None:
    """Codes stay the same unless all learns; with ``speakers`` only the vectors of the store's speakers move."""
    config = _from(known, settings, learn)
    before = with_speakers(load_model(known), ["ann", "bob", "eve"])
    path = train(config)
    assert path is not None
    after = load_model(path)
    assert after.speakers == ("zoe", "bob", "ann", "eve")
    old, new = before.state_dict(), after.state_dict()
    moved = {key for key in old if not torch.equal(old[key], new[key])}
    if learn == "all":
        assert any(key.startswith("encoder.") for key in moved)
        assert any(key.startswith("bottleneck.") for key in moved)
    else:
        assert not any(key.startswith(("encoder.", "bottleneck.")) for key in moved)
    assert TABLE in moved
    if learn == "speakers":
        assert moved == {TABLE}
        assert torch.equal(old[TABLE][0], new[TABLE][0])
    else:
        assert any(key.startswith("decoder.wavenet.") for key in moved)


def test_codes_stay_after_the_warm_start(settings: dict[str, Any]) -> None:
    """A decoder that learns alone after a warm start: codes learn while it lasts and not a step longer."""
    settings["learn"] = "decoder"
    seen: list[dict[str, torch.Tensor]] = []
    warm = settings["spectral"]["steps"]
    for steps in (0, 1, 5):
        settings["optimizer"]["steps"] = steps
        settings["run"]["dir"] = str(Path(settings["run"]["dir"]).with_name(f"run{steps}"))
        path = train(from_mapping(settings))
        assert path is not None
        seen.append(load_model(path).state_dict())
    settings["spectral"]["steps"] = warm - 1
    settings["run"]["dir"] = str(Path(settings["run"]["dir"]).with_name("shorter"))
    settings["optimizer"]["steps"] = 0
    path = train(from_mapping(settings))
    assert path is not None
    shorter = load_model(path).state_dict()
    codes = [key for key in shorter if key.startswith(("encoder.", "bottleneck."))]
    for later in seen[1:]:
        assert all(torch.equal(later[key], seen[0][key]) for key in codes)
    assert not all(torch.equal(shorter[key], seen[0][key]) for key in codes)
    assert any(not torch.equal(seen[0][key], seen[1][key]) for key in shorter)


def test_codes_of_a_given_model_stay_in_the_warm_start_too(
    known: Path, settings: dict[str, Any]
) -> None:
    """With ``init`` and a decoder that learns, the warm start teaches the conditioner and leaves the codes alone."""
    settings |= {"init": str(known), "learn": "decoder"}
    settings["optimizer"]["steps"] = 0
    before = with_speakers(load_model(known), ["ann", "bob", "eve"]).state_dict()
    path = train(from_mapping(settings))
    assert path is not None
    after = load_model(path).state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert all(key.startswith("decoder.conditioner.") for key in moved)


def test_model_of_another_rate_is_refused(known: Path, settings: dict[str, Any]) -> None:
    """The line names the file and both rates."""
    settings["model"]["sample_rate"] = 8000
    with pytest.raises(ConfigurationError, match=r"known\.safetensors: works at 16000 Hz.* 8000"):
        start(_from(known, settings, "all"), ["ann"], torch.device("cpu"))


def test_learning_less_needs_a_model_to_start_from(settings: dict[str, Any]) -> None:
    """What would stay at random values for ever is refused; so is a warm start of what may not learn."""
    settings["learn"] = "decoder"
    settings["spectral"]["steps"] = 0
    with pytest.raises(ConfigurationError, match="learn: 'decoder' needs a model"):
        from_mapping(settings)
    settings |= {"init": "vctk", "learn": "speakers"}
    settings["spectral"]["steps"] = 4
    with pytest.raises(ConfigurationError, match=r"spectral\.steps"):
        from_mapping(settings)
    settings["learn"] = "everything"
    with pytest.raises(ConfigurationError, match="learn: 'everything' is not one of all"):
        from_mapping(settings)
