"""The settings of a run that trains a prior: plain dataclasses, to JSON and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqspeech.errors import ConfigurationError
from vqspeech.models.checkpoint import MISFITS, shapes_only
from vqspeech.models.prior import Prior, PriorConfig
from vqspeech.training.config import AdamConfig, RunConfig, fill, not_shares, out_of_range


@dataclass(frozen=True)
class PriorModelConfig:
    """The prior, and the model whose codes it is trained on.

    Attributes
    ----------
    model : str
        The autoencoder, a shipped name or a file.
    network : mapping
        Arguments of `vqspeech.nn.code_convolutions.CodeConvolutions`.
    dropout : float
        Dropout in training.
    speaker_dropout : float
        Speaker dropout: share of the segments for which the prior is unconditional.
    """

    model: str
    network: Mapping[str, Any]
    dropout: float
    speaker_dropout: float


@dataclass(frozen=True)
class CodesConfig:
    """Data of a step.

    Attributes
    ----------
    store : str
        Folder from ``vqspeech prepare``, or of shards from ``vqspeech codes --format``.
    codes : str
        Folder of its codes, extracted if missing; empty for ``codes`` in the folder of the run.
    shifts : int
        Number of times each training utterance of a store is encoded, each from a fraction of a hop later; shards have
        each once.
    batch, segment : int
        Segments per step and worker, codes per segment.
    workers : int
        Loader processes; 0 loads in the training process.
    """

    store: str
    codes: str
    shifts: int
    batch: int
    segment: int
    workers: int


@dataclass(frozen=True)
class PriorTrainConfig:
    """All settings of the training of a prior.

    Attributes
    ----------
    prior, data, optimizer : PriorModelConfig, CodesConfig, AdamConfig
        Model, data and optimizer.
    resume : str
        ``auto`` resumes from the state in ``run.dir`` if there is one; ``never`` refuses when there is one.
    run : RunConfig
        As for a model; ``listen_s`` is the length of the sample drawn and decoded at a validation.
    """

    prior: PriorModelConfig
    data: CodesConfig
    optimizer: AdamConfig
    resume: str
    run: RunConfig


def prior_from_mapping(given: Mapping[str, Any]) -> PriorTrainConfig:
    """Make a configuration from plain values.

    Raises `ConfigurationError` with every unknown, missing or mistyped setting at once, else with every impossible
    value.
    """
    wrong: list[str] = []
    config: PriorTrainConfig = fill(PriorTrainConfig, given, "", wrong)
    if not wrong:
        wrong += out_of_range(config, ("prior", "data", "optimizer", "run"))
        wrong += not_shares(
            {
                "prior.dropout": config.prior.dropout,
                "prior.speaker_dropout": config.prior.speaker_dropout,
                "optimizer.average": config.optimizer.average,
            }
        )
    if wrong:
        raise ConfigurationError("; ".join(wrong))
    try:
        with shapes_only():
            Prior(PriorConfig(2, "", config.prior.network), ["somebody"], config.prior.dropout)
    except MISFITS as error:
        raise ConfigurationError(f"prior: {' '.join(str(error).split())}") from None
    return config
