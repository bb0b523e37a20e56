"""The settings of a training run: plain dataclasses, to JSON and back."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from vqspeech.errors import ConfigurationError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import shapes_only
from vqspeech.models.config import ModelConfig, check_config
from vqspeech.training.data.segments import Phase

POSITIVE = (
    *("batch", "segment", "crop", "scored_every", "channels", "shifts"),
    *("validate_every", "log_every", "devices", "nodes", "threads", "compile_s"),
)
"""Settings that are at least 1; all other numbers are at least 0."""

SHORTEST_S = 20
"""Shortest deadline of a run."""

TARGETS = ("mel", "cepstra")
"""Targets of a spectral head."""

LEARN = ("all", "decoder", "speakers", "spectrum", "contours")
"""Parts that may be trained."""

ALONE = LEARN[3:]
"""Those that learn alone, in `spectral.steps`, while no likelihood of samples is taken."""

PRECISIONS = ("32-true", "bf16-mixed")
"""Arithmetics of training: float32, or bfloat16 where that is safe."""

RENAMED = {"history_noise": "input_noise", "nobody": "speaker_dropout", "wavenet": "init_wavenet"}
"""Former names of settings."""

RESIDENT = ("auto", "yes", "no")
"""Where training data may lie."""


@dataclass(frozen=True)
class DataConfig:
    """Data of a step; see `vqspeech.training.data.segments.Phase`.

    Attributes
    ----------
    store : str
        Folder from ``vqspeech prepare``, or from ``vqspeech pack`` where codes are fixed from the start.
    batch : int or str
        Segments per step and worker; ``auto`` for the fewest within a tenth of the best speed on this device, found by
        a few seconds of trials.
    segment, crop : int
        Samples per segment, and those of them that the WaveNet learns from.
    scored_every : int
        The likelihood is taken of one in so many of these: neighbours are redundant, and a step takes two thirds of the
        time.
    input_noise : float
        Largest standard deviation, in levels, of noise on the teacher-forced inputs, in half of the crops. In sampling
        the inputs are the WaveNet's own samples; noise makes it robust to their errors.
    balance : float
        How far speakers are weighted equally; 0 by amount of speech, 1 equally.
    workers : int
        Loader processes; 0 loads in the training process.
    resident : str
        Whether all training data is on the device, where batches are gathered: ``yes``, ``no``, or ``auto``, on a GPU
        with room for it.
    pitch : str
        File of the store's pitch tracks, for a decoder with pitch; ``auto`` for the store's own, made when needed.
    """

    store: str
    batch: int | str
    segment: int
    crop: int
    scored_every: int
    input_noise: float
    balance: float
    workers: int
    resident: str
    pitch: str


@dataclass(frozen=True)
class AdamConfig:
    """Adam, its schedule and the average of the weights.

    Attributes
    ----------
    steps : int
        Steps; of joint training, after a warm start.
    learning_rate : float
        Highest rate for one worker, of a model that of its decoder, after `warmup` steps; then a cosine to 0. N
        workers, with N times the batch, have sqrt(N) times the rate (Malladi et al. 2022, for Adam, arXiv 2205.10287).
    warmup : int
        Steps of linear rise.
    betas : list of float
        Adam's two decays.
    clip : float
        Largest norm of the gradient, over all trained weights.
    average : float
        Decay of the running average of the weights, of a model those of its decoder, for evaluation and export.
    """

    steps: int
    learning_rate: float
    warmup: int
    betas: list[float]
    clip: float
    average: float


@dataclass(frozen=True)
class OptimizerConfig(AdamConfig):
    """Adam for a model, or Muon for a part of it.

    Attributes
    ----------
    encoder_learning_rate : float
        As `learning_rate`, for encoder, codebook and spectral head. After a warm start they need less than a new
        decoder.
    muon_learning_rate : float
        The same for the WaveNet's matrices under Muon; 0 leaves them to Adam.
    """

    encoder_learning_rate: float
    muon_learning_rate: float


@dataclass(frozen=True)
class SpectralConfig:
    """The spectral head: a warm start of encoder and codebook, and an auxiliary loss.

    Attributes
    ----------
    target : str
        ``mel``, the log-mel spectrogram, or ``cepstra``, normalised cepstra once per code.
    weight : float
        Weight of the auxiliary loss beside the WaveNet's; 0 is the paper's own objective.
    steps : int
        Steps of the warm start, without the WaveNet; 0 for none.
    batch, segment : int
        Segments per step and samples per segment in the warm start.
    learning_rate : float
        Highest rate of the warm start, which has its own schedule.
    channels : int
        Channels of heads for training only. A decoder with ``spectral_channels`` has its own head for the log-mel
        spectrogram.
    """

    target: str
    weight: float
    steps: int
    batch: int
    segment: int
    learning_rate: float
    channels: int


@dataclass(frozen=True)
class PerturbConfig:
    """Perturbation of the encoder's input, not of its target; see `vqspeech.training.perturb.Perturbation`.

    Attributes
    ----------
    share : float
        Share of batches that are perturbed; 0 is the paper's own objective.
    pitch_semitones, formant_percent, colour_db, level_db, noise_db : float
        Largest perturbation of each kind.
    """

    share: float
    pitch_semitones: float
    formant_percent: float
    colour_db: float
    level_db: float
    noise_db: float


@dataclass(frozen=True)
class RunConfig:
    """Outputs of a run, its intervals, and its hardware.

    Attributes
    ----------
    dir : str
        Folder of the run: state, model file, metrics, TensorBoard events.
    seed : int
        Seed of weights, data and jitter.
    validate_every, save_every_s, log_every : int
        Steps between validations, seconds between states, steps between logged training losses.
    validate_s : float
        Seconds of held-out speech in a validation while training; the last one takes the whole split.
    listen_s : float
        Seconds of speech decoded for TensorBoard at each validation; 0 for none.
    accelerator : str
        As for Lightning Fabric.
    precision : str
        One of `PRECISIONS`.
    devices, nodes, threads : int
        Workers per machine, machines, and CPU threads per worker.
    compile : bool
        Compile the training step; for GPUs. Where that fails, training is eager.
    compile_s : int
        Seconds that compilation may take.
    deadline_s : float
        Seconds after the start of the process at which everything, scores and files included, is done; 0 for none. The
        learning rate then follows time instead of steps, which warm start and joint training share in the ratio of
        their steps; a resumed run has the clock of its new process.
    """

    dir: str
    seed: int
    validate_every: int
    save_every_s: int
    log_every: int
    validate_s: float
    listen_s: float
    accelerator: str
    precision: str
    devices: int
    nodes: int
    threads: int
    compile: bool
    compile_s: int
    deadline_s: float


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training run.

    Attributes
    ----------
    model : ModelConfig
        The model to train; not used with `init`.
    init : str
        Model to start from, a shipped name or a file; its architecture is kept, and new speakers of the store are added
        to its table. Empty for a new model.
    learn : str
        ``all``; ``decoder``, with fixed codes: those of `init`, or without it those of the end of the warm start;
        ``speakers``, only the vectors of the store's speakers; or, in `spectral.steps`, only one part: ``spectrum``,
        what predicts the spectrum for the post-filter, or ``contours``, the distribution of pitch contours.
    init_wavenet : str
        Model that a new WaveNet is initialised from, a shipped name or a file; empty for random weights.
    jitter : float
        Probability that a latent is replaced by a neighbour while codes learn.
    resume : str
        ``auto`` resumes from the state in ``run.dir`` if there is one; ``never`` refuses when there is one.
    data, optimizer, spectral, perturb, run
        The other settings.
    """

    model: ModelConfig
    init: str
    learn: str
    init_wavenet: str
    jitter: float
    resume: str
    data: DataConfig
    optimizer: OptimizerConfig
    spectral: SpectralConfig
    perturb: PerturbConfig
    run: RunConfig

    def codes_given(self, model: Autoencoder) -> bool:
        """Whether the WaveNet learns from fixed codes, without running an encoder."""
        return self.learn != "all" and model.discrete and model.config.levels <= 256

    def phases(self) -> list[Phase]:
        """The stretches of training: the warm start, if any, and joint training."""
        spectral, data = self.spectral, self.data
        # codes are learned from all speech alike, voices are not
        balance = data.balance if self.learn in ALONE else 0.0
        warm = Phase(spectral.steps, spectral.batch, spectral.segment, 0, balance)
        # irrelevant while the batch is not chosen yet
        batch = data.batch if isinstance(data.batch, int) else 1
        joint = Phase(self.optimizer.steps, batch, data.segment, data.crop, data.balance)
        return [warm, joint] if warm.steps else [joint]


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, int | float) for v in value)


def fill(cls: type, given: Any, where: str, wrong: list[str]) -> Any:
    """Make a dataclass, and those inside it, from plain values; None when anything is wrong.

    `where` is the name of the group, empty for all settings; `wrong` receives a phrase for each unknown, missing or
    mistyped setting.
    """
    if not isinstance(given, Mapping):
        wrong.append(f"{where or 'the configuration'}: expected a group of settings")
        return None
    hints = get_type_hints(cls)
    names = [field.name for field in fields(cls)]
    prefix = f"{where}." if where else ""
    before = len(wrong)
    for name in given:
        if name not in names:
            now = (
                f"now {prefix}{RENAMED[name]}" if RENAMED.get(name) in names else "no such setting"
            )
            wrong.append(f"{prefix}{name}: {now}")
    values = {}
    for name in names:
        kind = hints[name]
        if name not in given:
            wrong.append(f"{prefix}{name}: missing")
            continue
        value = given[name]
        if is_dataclass(kind):
            value = fill(kind, value, prefix + name, wrong)  # type: ignore[arg-type]
        elif kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        elif kind in (int, float, str, bool) and type(value) is not kind:
            wrong.append(f"{prefix}{name}: {value!r} is not of type {kind.__name__}")
        elif get_origin(kind) is list and not _numbers(value):
            wrong.append(f"{prefix}{name}: {value!r} is not a list of numbers")
        elif get_origin(kind) is Mapping and not isinstance(value, Mapping):
            wrong.append(f"{prefix}{name}: expected a group of settings")
        values[name] = value
    if len(wrong) > before:
        return None
    filled = cls(**values)
    if isinstance(filled, ModelConfig):
        try:
            check_config(filled)
        except ConfigurationError as error:
            wrong.append(str(error))
    return filled


def out_of_range(config: Any, groups: Sequence[str]) -> list[str]:
    """Errors in the numbers of groups of settings, in Adam's decays and in ``resume``."""
    wrong = []
    for group in groups:
        for name, value in vars(getattr(config, group)).items():
            least = 1 if name in POSITIVE else 0
            if isinstance(value, int | float) and not value >= least:
                wrong.append(f"{group}.{name}: {value!r} is less than {least}")
    if len(config.optimizer.betas) != 2 or not all(0 <= b < 1 for b in config.optimizer.betas):
        wrong.append(f"optimizer.betas: {config.optimizer.betas} are not two numbers in [0, 1)")
    run: RunConfig = config.run
    wrong += not_one_of("run.precision", run.precision, PRECISIONS)
    if 0 < run.deadline_s < SHORTEST_S:
        wrong.append(
            f"run.deadline_s: {run.deadline_s:g} is less than {SHORTEST_S}, too short to load and score"
        )
    if config.resume not in ("auto", "never"):
        wrong.append(f"resume: {config.resume!r} is neither auto nor never")
    return wrong


def not_shares(shares: Mapping[str, float]) -> list[str]:
    """Name the settings that are not in [0, 1]."""
    return [f"{k}: {v!r} is not in [0, 1]" for k, v in shares.items() if not 0 <= v <= 1]


def not_one_of(name: str, value: str, choices: Sequence[str]) -> list[str]:
    """Name a setting that is none of its choices."""
    return [] if value in choices else [f"{name}: {value!r} is not one of {', '.join(choices)}"]


def _out_of_range(config: TrainConfig) -> list[str]:
    wrong = out_of_range(config, ("data", "optimizer", "spectral", "perturb", "run"))
    shares = {
        "jitter": config.jitter,
        "data.balance": config.data.balance,
        "optimizer.average": config.optimizer.average,
        "perturb.share": config.perturb.share,
    }
    wrong += not_shares(shares)
    if not isinstance(config.data.batch, int) and config.data.batch != "auto":
        wrong.append(f"data.batch: {config.data.batch!r} is neither a number nor auto")
    wrong += not_one_of("data.resident", config.data.resident, RESIDENT)
    if config.init and config.init_wavenet:
        wrong.append("init_wavenet: the model of init has one; give one of the two")
    wrong += not_one_of("spectral.target", config.spectral.target, TARGETS)
    wrong += not_one_of("learn", config.learn, LEARN)
    if config.learn == "speakers" and config.spectral.steps:
        wrong.append(
            "spectral.steps: a warm start is for encoder, codebook and conditioner, which learn nothing"
        )
    elif config.learn in ALONE and not (config.init and config.spectral.steps):
        wrong.append(f"learn: {config.learn!r} needs a model, given as init, and spectral.steps")
    elif config.learn in ALONE and config.optimizer.steps:
        wrong.append(f"learn: {config.learn!r} is a warm start alone; give optimizer.steps=0")
    elif config.learn in LEARN[1:] and not (config.init or config.spectral.steps):
        wrong.append(f"learn: {config.learn!r} needs a model to start from; give it as init")
    return wrong


def from_mapping(given: Mapping[str, Any]) -> TrainConfig:
    """Make a configuration from plain values.

    Raises `ConfigurationError` with every unknown, missing or mistyped setting at once, else with every impossible
    value.
    """
    wrong: list[str] = []
    config = fill(TrainConfig, given, "", wrong)
    wrong = wrong or _out_of_range(config)
    if wrong:
        raise ConfigurationError("; ".join(wrong))
    try:
        with shapes_only():
            Autoencoder(config.model, ["somebody"])
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigurationError(f"model: {' '.join(str(error).split())}") from None
    return config


def read_config(path: str | Path, make: Callable[[Mapping[str, Any]], Any] = from_mapping) -> Any:
    """Read a resolved configuration from a JSON file, with `make` from its plain values.

    Raises `ConfigurationError` where the file is missing or not JSON, or its settings are wrong.
    """
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not a readable JSON file ({error})") from None
    try:
        return make(given)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
