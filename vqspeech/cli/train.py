"""``vqspeech train``: settings composed by Hydra, or a resolved JSON file, to a model file or a prior."""

import argparse
import re
from dataclasses import asdict, is_dataclass
from inspect import signature
from typing import Any, get_type_hints

from vqspeech.errors import ConfigurationError

HELP = "train a model, or a prior over its codes: key=value settings over conf/train.yaml"

CONFIGURATIONS = ("train", "prior")
"""Files in ``conf`` that settings are given over."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="Hydra overrides, for example experiment=mini data.store=DIR run.dir=DIR; machine=auto, the default, takes"
        " a GPU where there is one",
    )
    parser.add_argument(
        "--config-name",
        choices=CONFIGURATIONS,
        default=CONFIGURATIONS[0],
        help="train: encoder, codebook and decoder; prior: a model of the codes of prior.model (default: train)",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="a resolved config.json of an earlier run instead"
    )
    parser.add_argument(
        "--show", action="store_true", help="print the settings as YAML and do not train"
    )


def _forced(setting: str) -> str:
    # Hydra would stop at the first key it does not know; who reads the result names all of them.
    from importlib.resources import files

    groups = {entry.name for entry in files("vqspeech.conf").iterdir() if entry.is_dir()}
    key, equals, value = setting.partition("=")
    plain = equals and key not in groups and not set(key) & set("+~@/")
    if not plain:
        return setting
    if key in _texts() and not re.fullmatch(r"""(?s)(["']).*\1|\$\{.*\}|\?{3}""", value):
        # A folder is a text, be it a number, a date or in parentheses. Backslashes count before a quote alone.
        value = re.sub(r"(\\*)'", r"\1\1\\'", value)
        value = re.sub(r"(\\+)$", r"\1\1", value)
        value = f"'{value}'"
    return f"++{key}={value}"


def _as_typed(error: Exception) -> str:
    """Return what Hydra says on one line, with keys as they were given."""
    return re.sub(r"\+\+(?=\w)", "", " ".join(str(error).split()))


def _texts() -> set[str]:
    """Return the keys of settings that are texts."""
    from vqspeech.training.config import TrainConfig
    from vqspeech.training.prior.config import PriorTrainConfig

    found: set[str] = set()
    groups: list[tuple[str, Any]] = [("", TrainConfig), ("", PriorTrainConfig)]
    while groups:
        prefix, group = groups.pop()
        for name, kind in get_type_hints(group).items():
            if kind is str:
                found.add(prefix + name)
            elif is_dataclass(kind):
                groups.append((f"{prefix}{name}.", kind))
    return found


def compose(settings: list[str], name: str = CONFIGURATIONS[0]) -> dict[str, Any]:
    """Compose the configuration with Hydra, for the GPU or the CPU that is there where no machine is named.

    Parameters
    ----------
    settings : list of str
        Overrides as Hydra takes them.
    name : str
        One of `CONFIGURATIONS`.

    Returns
    -------
    dict
        Plain values, settings that nobody knows among them.

    Raises
    ------
    ConfigurationError
        An override cannot be read or names a file that is not there, or a setting without a default is missing.
    """
    if name != "train" or not set(settings).isdisjoint(_machines()):
        return _composed(settings, name)
    settings = [setting for setting in settings if setting != "machine=auto"]
    # what is meant for a CPU says so
    for_cpu = _composed(settings, name)["run"]["accelerator"] == "cpu"
    machine = "cpu" if for_cpu or not _has_gpu() else "gpu"
    return _composed([*settings, f"machine={machine}"], name)


def _machines() -> list[str]:
    """Overrides that name a machine."""
    from importlib.resources import files

    entries = (files("vqspeech.conf") / "machine").iterdir()
    return [f"machine={entry.name.removesuffix('.yaml')}" for entry in entries] + ["machine=null"]


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _composed(settings: list[str], name: str) -> dict[str, Any]:
    """See `compose`; the machine is what `settings` say."""
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_module("vqspeech.conf", version_base="1.3"):
            composed = compose(name, overrides=[_forced(setting) for setting in settings])
        missing = sorted(str(key) for key in OmegaConf.missing_keys(composed))
        if missing:
            raise ConfigurationError(f"no value for {', '.join(missing)}: give it as key=value")
        values = OmegaConf.to_container(composed, resolve=True)
    except OverrideParseException as error:
        given = str(error.override).removeprefix("++")
        raise ConfigurationError(
            f"{given}: not a setting as key=value; other characters than letters, digits and"
            f""" -_./ may need quotes, as in key='"value"' ({_as_typed(error)})"""
        ) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(_as_typed(error)) from None
    assert isinstance(values, dict)
    if name == "train":
        _leave_out_unfit(values["model"]["bottleneck"], settings)
    return {str(key): value for key, value in values.items()}


def _leave_out_unfit(bottleneck: dict[str, Any], settings: list[str]) -> None:
    """Leave out what an experiment sets for its own bottleneck and the one chosen instead does not take."""
    from vqspeech.models.config import BOTTLENECKS

    given = {setting.partition("=")[0].lstrip("+") for setting in settings}
    kind = bottleneck.get("kind")
    if "bottleneck" in given and kind in BOTTLENECKS:
        for key in list(bottleneck):
            chosen = key == "kind" or f"model.bottleneck.{key}" in given
            if not chosen and key not in signature(BOTTLENECKS[kind]).parameters:
                del bottleneck[key]


def run(args: argparse.Namespace) -> None:
    """Train as `args` say.

    Raises
    ------
    VqspeechError
        Settings, store or state are not usable, or the loss has stopped being finite.
    """
    if args.config and args.settings:
        raise ConfigurationError("--config takes no key=value settings: they are in the file")
    from vqspeech.training.config import read_config
    from vqspeech.training.kinds import configured, run_training

    if args.config:
        config = read_config(args.config, configured)
    else:
        config = configured(compose(args.settings, args.config_name))
    if args.show:
        import yaml

        print(yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True), end="")
        return

    file = run_training(config)
    if file is not None:
        print(f"model file: {file}")
