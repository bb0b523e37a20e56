"""Every YAML file that ships, against the signatures it configures, and mistakes on the command line of ``train``."""

import inspect
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from vqspeech.cli import main
from vqspeech.cli.train import compose
from vqspeech.errors import ConfigurationError
from vqspeech.models.config import BOTTLENECKS
from vqspeech.nn.decoder import Decoder
from vqspeech.nn.encoder import Encoder
from vqspeech.training.config import TrainConfig, from_mapping
from vqspeech.training.kinds import configured
from vqspeech.training.prior.config import PriorTrainConfig

CONF = Path(__file__).parents[1] / "conf"
FILES = sorted(CONF.glob("*/*.yaml"))
EXPERIMENTS = sorted(path.stem for path in CONF.glob("experiment/*.yaml"))
SETTINGS_OF_ALL = {"experiment", "machine", "budget"}
"""Groups whose files set values of the other groups."""

PLACES = ["data.store=store", "run.dir=run"]


def part_of(group: str, settings: dict[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return what a file of a group configures, and the arguments that the model adds."""
    if group == "bottleneck":
        return BOTTLENECKS[settings.pop("kind")], {"dim": 64}
    if group == "encoder":
        return Encoder, {"dim": 64}
    return Decoder, {"dim": 64, "speakers": 10, "levels": 256, "hop": 64, "sample_rate": 16000}


def test_every_group_has_files() -> None:
    """The glob below finds what it is meant to find."""
    assert {path.parent.name for path in FILES} == {
        "encoder",
        "bottleneck",
        "decoder",
        "experiment",
        "machine",
        "budget",
    }
    assert {"paper64", "phoneme640", "mini", "real", "vctk", "phoneme25"} <= set(EXPERIMENTS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_composes_to_a_model(path: Path) -> None:
    """Chosen by name, each file leads to a complete configuration whose parts fit one another."""
    config = from_mapping(compose([f"{path.parent.name}={path.stem}", *PLACES]))
    assert isinstance(config, TrainConfig)
    if path.parent.name not in SETTINGS_OF_ALL:
        settings = yaml.safe_load(path.read_text())
        assert getattr(config.model, path.parent.name) == settings


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.parent.name not in SETTINGS_OF_ALL],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_every_part_binds_to_its_signature(path: Path) -> None:
    """A file has no key that its class does not take, and all that the class needs."""
    settings = yaml.safe_load(path.read_text())
    function, own = part_of(path.parent.name, settings)
    inspect.signature(function).bind(**own, **settings)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_says_where_it_belongs(path: Path) -> None:
    """Without its header a file would land at the place of its folder, and be ignored by the model."""
    group = path.parent.name
    package = "_global_" if group in SETTINGS_OF_ALL else f"model.{group}"
    assert path.read_text().startswith(f"# @package {package}\n")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_fit_the_model_they_train(experiment: str) -> None:
    """Segments and crops are whole frames, and a segment holds the crop."""
    config = from_mapping(compose([f"experiment={experiment}", *PLACES]))
    hop = Encoder(dim=8, **config.model.encoder).hop
    assert config.data.crop <= config.data.segment
    sizes = [config.data.segment, config.data.crop]
    if config.spectral.steps:
        sizes.append(config.spectral.segment)
    assert [size % hop for size in sizes] == [0] * len(sizes)


@pytest.mark.parametrize("experiment", ["mini", "phoneme25", "vctk"])
def test_an_experiment_takes_any_bottleneck(experiment: str) -> None:
    """What it sets for its own kind is left out where another has no such setting; what is given is kept."""
    chosen = [f"experiment={experiment}", *PLACES]
    own = compose(chosen)["model"]["bottleneck"]
    for kind, cls in BOTTLENECKS.items():
        settings = from_mapping(compose([f"bottleneck={kind}", *chosen])).model.bottleneck
        assert settings["kind"] == kind
        if "codebook_size" in inspect.signature(cls).parameters:
            assert settings["codebook_size"] == own["codebook_size"]
    with pytest.raises(ConfigurationError, match="unknown setting 'codebook_size'"):
        from_mapping(compose(["bottleneck=none", "model.bottleneck.codebook_size=7", *chosen]))


def test_the_settings_of_a_prior_are_whole() -> None:
    """prior.yaml has every setting, and says which must be given."""
    config = configured(compose(["prior.model=vctk", *PLACES], "prior"))
    assert isinstance(config, PriorTrainConfig)
    assert configured(asdict(config)) == config
    with pytest.raises(
        ConfigurationError, match=r"no value for data\.store, prior\.model, run\.dir"
    ):
        compose([], "prior")


def test_a_setting_beats_the_experiment() -> None:
    """What is given as key=value is what comes out, wherever it stands."""
    overrides = ["model.bottleneck.codebook_size=7", "experiment=mini", "data.batch=3", *PLACES]
    config = from_mapping(compose(overrides))
    assert config.model.bottleneck["codebook_size"] == 7
    assert config.data.batch == 3
    assert config.data.store == "store"
    assert from_mapping(asdict(config)) == config


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            ["foo=1", "data.bar=2", "model.encoder.zip=3", "run.seed=x", *PLACES],
            ["foo: no such", "data.bar: no such", "setting 'zip'", "run.seed: 'x' is not of type"],
        ),
        (["steps", *PLACES], ["Error parsing override 'steps'"]),
        (["data.batch=[1", *PLACES], ["data.batch=[1: not a setting as key=value"]),
        (["run.steps=(2", *PLACES], ["vqspeech: run.steps=(2: not a setting"]),
        (["data.batch=many", *PLACES], ["data.batch: 'many' is neither a number nor auto"]),
        (["data.store=${nowhere}", "run.dir=run"], ["nowhere"]),
        ([PLACES[0]], ["vqspeech: no value for run.dir: give it as key=value"]),
        (["+foo=1", "+run.bar=2", *PLACES], ["foo: no such setting", "run.bar: no such setting"]),
        (["experimnt=mini", *PLACES], ["experimnt: no such setting"]),
        (["experiment=nothing", *PLACES], ["experiment/nothing", "phoneme640"]),
        (["~data.batch", *PLACES], ["data.batch: missing"]),
        (["experiment=mini"], ["no value for data.store, run.dir: give it as key=value"]),
        (["data.store"], ["Error parsing override 'data.store'"]),
        (["model.decoder.upsample=3", *PLACES], ["upsample 3 does not divide the hop 64"]),
        (["model.decoder.gate_channels=7", *PLACES], ["gate_channels 7"]),
        (["model.bottleneck.kind=fsq", *PLACES], ["kind 'fsq' is not one of vq, vq_ema"]),
        (["model.sample_rate=0", *PLACES], ["sample_rate: 0 is not a whole number above 0"]),
        (["--config-name=prior", "model.dim=3", "prior.model=x", *PLACES], ["model: no such"]),
        (["--config-name=other"], ["invalid choice: 'other'"]),
    ],
)
def test_mistakes_are_one_line_that_names_them_all(
    settings: list[str],
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Unknown, missing and impossible settings end ``vqspeech train`` before it touches a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VQSPEECH_TRACEBACK", raising=False)
    assert main(["train", *settings]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert all(phrase in line for phrase in expected), line
    # what Hydra needs in front of a key is not shown to the person who did not write it
    assert "++" not in line
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_is_no_group() -> None:
    """A value where a group is expected is named."""
    given = compose(PLACES)
    given["optimizer"] = 3
    with pytest.raises(ConfigurationError, match=re.escape("optimizer: expected a group")):
        from_mapping(given)


@pytest.mark.parametrize(
    ("gpu", "settings", "expected"),
    [
        (True, ["experiment=paper64"], "cuda"),
        (False, ["experiment=paper64"], "cpu"),
        (True, ["experiment=paper64", "machine=auto"], "cuda"),
        (True, ["experiment=mini"], "cpu"),
        (True, ["experiment=paper64", "machine=cpu"], "cpu"),
        (False, ["experiment=paper64", "machine=gpu"], "cuda"),
    ],
)
def test_a_gpu_is_taken_where_there_is_one_and_the_experiment_is_not_for_a_cpu(
    gpu: bool, settings: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word; a machine that is named is the one that is taken."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    run = compose([*settings, *PLACES])["run"]
    assert run["accelerator"] == expected
    assert run["compile"] == (expected == "cuda")
    assert run["precision"] == {"cuda": "bf16-mixed", "cpu": "32-true"}[expected]
