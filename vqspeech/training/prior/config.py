"""The settings of a run that trains a prior: plain dataclasses that go to JSON and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqspeech.errors import ConfigurationError
from vqspeech.models.checkpoint import MISFITS, shapes_only
from vqspeech.models.prior import Prior, PriorConfig
from vqspeech.training.config import RunConfig, fill, not_shares, out_of_range


@dataclass(frozen=True)
class PriorModelConfig:
    """What is trained, over whose codes.

    Attributes
    ----------
    model : str
        The autoencoder, a shipped name or a file.
    network : mapping
        Arguments of `vqspeech.nn.code_convolutions.CodeConvolutions`.
    dropout : float
        Share that is left out in training.
    nobody : float
        Share of the segments whose speaker is withheld, so that the prior knows nobody as well.
    """

    model: str
    network: Mapping[str, Any]
    dropout: float
    nobody: float


@dataclass(frozen=True)
class CodesConfig:
    """Which codes, and how many of them a step sees.

    Attributes
    ----------
    store : str
        Folder that ``vqspeech prepare`` made.
    codes : str
        Folder of its codes, extracted if they are not there; empty for ``codes`` in the folder of the run.
    shifts : int
        How many times each training utterance is encoded, each time from a part of a hop later on.
    batch, segment : int
        Segments a step and worker, codes a segment.
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
class PriorOptimizerConfig:
    """Adam, its schedule and the average of the weights.

    Attributes
    ----------
    steps : int
        Steps.
    learning_rate : float
        Highest rate, reached after `warmup` steps; then it falls as a cosine to a hundredth of it.
    warmup : int
        Steps of linear rise.
    betas : list of float
        Adam's two decays.
    clip : float
        Largest norm of the gradient.
    average : float
        Decay of the running average of the weights, which is what is judged and exported.
    """

    steps: int
    learning_rate: float
    warmup: int
    betas: list[float]
    clip: float
    average: float


@dataclass(frozen=True)
class PriorTrainConfig:
    """Everything that decides the training of a prior.

    Attributes
    ----------
    prior, data, optimizer : PriorModelConfig, CodesConfig, PriorOptimizerConfig
        What, on what, how.
    resume : str
        ``auto`` goes on from the state in ``run.dir`` if there is one; ``never`` refuses when there is one.
    run : RunConfig
        As for a model; ``listen_s`` is how much is drawn and decoded at a validation.
    """

    prior: PriorModelConfig
    data: CodesConfig
    optimizer: PriorOptimizerConfig
    resume: str
    run: RunConfig


def prior_from_mapping(given: Mapping[str, Any]) -> PriorTrainConfig:
    """Make a configuration from plain values.

    Raises
    ------
    ConfigurationError
        With every unknown, missing or mistyped setting at once, then every impossible value.
    """
    wrong: list[str] = []
    config: PriorTrainConfig = fill(PriorTrainConfig, given, "", wrong)
    if not wrong:
        wrong += out_of_range(config, ("prior", "data", "optimizer", "run"))
        wrong += not_shares(
            {
                "prior.dropout": config.prior.dropout,
                "prior.nobody": config.prior.nobody,
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
