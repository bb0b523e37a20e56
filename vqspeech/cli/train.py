"""``vqspeech train``: settings composed by Hydra, or a resolved JSON file, to a model file."""

import argparse
from typing import Any

from vqspeech.errors import ConfigurationError

HELP = "train a model: key=value settings over conf/train.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="Hydra overrides, for example experiment=mini data.store=DIR run.dir=DIR",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="a resolved config.json of an earlier run instead"
    )
    parser.add_argument(
        "--show", action="store_true", help="print the settings as YAML and do not train"
    )


def compose(settings: list[str]) -> dict[str, Any]:
    """Compose the configuration with Hydra.

    Parameters
    ----------
    settings : list of str
        Overrides as Hydra takes them.

    Returns
    -------
    dict
        Plain values.

    Raises
    ------
    ConfigurationError
        An override names something that is not there, or a setting without a default is missing.
    """
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_module("vqspeech.conf", version_base="1.3"):
            composed = compose("train", overrides=settings)
        missing = sorted(str(key) for key in OmegaConf.missing_keys(composed))
        if missing:
            raise ConfigurationError(f"no value for {', '.join(missing)}: give it as key=value")
        values = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(" ".join(str(error).split())) from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def run(args: argparse.Namespace) -> None:
    """Train as `args` say.

    Raises
    ------
    VqspeechError
        Settings, store or state are not usable, or the loss has stopped being finite.
    """
    if args.config and args.settings:
        raise ConfigurationError("--config takes no key=value settings: they are in the file")
    if args.show:
        import yaml

        print(yaml.safe_dump(compose(args.settings), sort_keys=False), end="")
        return
    from vqspeech.training.config import from_mapping, read_config

    config = read_config(args.config) if args.config else from_mapping(compose(args.settings))

    from vqspeech.training.loop import train

    print(f"model file: {train(config)}")
