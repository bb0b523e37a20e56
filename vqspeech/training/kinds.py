"""Training of a model or of a prior, by the settings."""

import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from vqspeech.jobs.lock import only_run
from vqspeech.training.config import TrainConfig, from_mapping
from vqspeech.training.prior.config import PriorTrainConfig, prior_from_mapping


def configured(given: Mapping[str, Any]) -> TrainConfig | PriorTrainConfig:
    """Make a configuration from plain values: a prior's where there is a group ``prior``.

    Raises `ConfigurationError`; see `from_mapping` and `prior_from_mapping`.
    """
    if isinstance(given, Mapping) and "prior" in given:
        return prior_from_mapping(given)
    return from_mapping(given)


def run_training(config: TrainConfig | PriorTrainConfig) -> Path | None:
    """Train a model or a prior, alone in its folder; see `train` and `train_prior`.

    Raises
    ------
    VqspeechError
        Another run is writing into the folder; or from the two functions.
    """
    from vqspeech.training.process import lost_workers

    ranks = {os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "NODE_RANK")}
    # one process holds the folder for all workers of the run
    alone = only_run(Path(config.run.dir)) if ranks == {"0"} else nullcontext()
    with alone, lost_workers(config.run.dir):
        if isinstance(config, PriorTrainConfig):
            from vqspeech.training.prior.train import train_prior

            return train_prior(config)
        from vqspeech.training.loop import train

        return train(config)
