"""Training a prior over the codes of a model, from a configuration to its file; read it from `train_prior` down."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, ModelFileError
from vqspeech.jobs.atomic import write_file
from vqspeech.metrics.ngrams import NGrams
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, load_prior, read_prior_header, save_prior
from vqspeech.models.prior import Prior, PriorConfig
from vqspeech.training.compiled import Differentiated
from vqspeech.training.data.codeshards import find_shards, import_shards
from vqspeech.training.data.codestore import CodeStore, extract_codes
from vqspeech.training.prior.config import PriorTrainConfig
from vqspeech.training.prior.scores import (
    HeldOutCodes,
    bits_per_code,
    chosen,
    count_training,
    held_out_codes,
)
from vqspeech.training.prior.segments import CodeBatch, CodeSegments
from vqspeech.training.process import is_finished, launch, seed_of_step
from vqspeech.training.run import Run, Stretch
from vqspeech.training.schedule import Clock
from vqspeech.training.state import RunningAverage, State, resume


class PriorObjective(nn.Module):
    """A prior under its loss, nats per code; `speaker_dropout` is the share of unconditional segments."""

    def __init__(self, model: Prior, speaker_dropout: float) -> None:
        super().__init__()
        self.model, self.speaker_dropout = model, speaker_dropout

    def forward(self, batch: CodeBatch) -> Tensor:
        """Return the loss of a batch, a scalar."""
        codes, frames = batch.codes, batch.codes.shape[1]
        previous = torch.cat([batch.before[:, None], codes[:, :-1]], 1)
        withheld = torch.rand(len(codes), device=codes.device) < self.speaker_dropout
        speaker = torch.where(withheld, self.model.speaker_row(None), batch.speaker)
        logits = self.model.network(previous, speaker).logits
        losses = F.cross_entropy(logits.flatten(0, 1).float(), codes.flatten(), reduction="none")
        inside = torch.arange(frames, device=codes.device) < batch.valid[:, None]
        return (losses * inside.flatten()).sum() / inside.sum()


def train_prior(config: PriorTrainConfig) -> Path | None:
    """Train a prior, or resume its training, and write its file: the weights that were best on the validation split.

    Writes into ``config.run.dir``: ``codes/`` unless ``data.codes`` names a folder, ``config.json``, ``state.pt``,
    ``prior.safetensors``, ``metrics.json`` when training is complete, and TensorBoard events.

    Parameters
    ----------
    config : PriorTrainConfig
        All settings.

    Returns
    -------
    Path or None
        The prior; None when a signal ended the run before its last step.

    Raises
    ------
    VqspeechError
        Settings, model, store, codes or state cannot be used, or the loss is no longer finite.
    """
    folder, run = Path(config.run.dir), config.run
    state_file, prior_file = folder / "state.pt", folder / "prior.safetensors"
    if config.resume == "never" and state_file.exists():
        raise ConfigurationError(f"{state_file}: there is a run already; use resume=auto")
    fabric = launch(run)
    model = load_model(config.prior.model).to(fabric.device)
    with fabric.rank_zero_first(local=True):
        store = _codes(config, model, folder)
    simpler = count_training(store)
    state = _start(config, store, simpler[0], fabric.device)
    data = config.data
    segments = CodeSegments(
        store, config.optimizer.steps, data.batch, data.segment, run.seed, fabric.global_rank
    )
    resumed = _resume(state, state_file, store, fabric) and not run.deadline_s
    if fabric.broadcast(resumed and is_finished(state, len(segments), prior_file)):
        return prior_file
    if fabric.is_global_zero:
        settings = json.dumps(asdict(config), indent=1)
        write_file(folder / "config.json", settings)

    differentiated = Differentiated(state.objective, fabric.autocast, run.compile, run.compile_s)

    def learn(batch: CodeBatch) -> None:
        (adam,), step = state.optimizers, state.step
        for group in adam.param_groups:
            group["lr"] = of.learning_rate * steps.learning_rate() * fabric.world_size**0.5
        loss = differentiated(lambda: seed_of_step(run, fabric, step), batch)
        state.samples += batch.codes.numel() * fabric.world_size
        if steps.apply(loss, state.optimizers):
            state.average.update(state.objective.model)
        steps.report(
            batch.codes.numel(),
            lambda: f"{float(loss.detach()) / math.log(2):.3f} bits a code",
            lambda: {
                "train/bits_per_code": loss.detach() / math.log(2),
                "train/learning_rate": adam.param_groups[0]["lr"],
            },
        )

    def validate(writer: SummaryWriter | None) -> None:
        # the prior is small: the first worker scores it alone
        if fabric.is_global_zero:
            _validate(config, state, store, prior_file, simpler)
        if writer is None:
            return
        writer.add_scalar("valid/bits_per_code", state.curve[-1]["bits_per_code"], state.step)
        if run.listen_s:
            drawn = _listen(_averaged(state), model, run.listen_s, run.seed)
            writer.add_audio("valid/drawn", drawn[None], state.step, model.sample_rate)

    of, clock = config.optimizer, Clock(run.deadline_s)
    with Run(fabric, run, state, "codes", of.clip, lambda: None, clock) as steps:
        stretch = Stretch(
            0, of.steps, steps.now_s, clock.training_ends_s, of.warmup / max(1, of.steps)
        )
        for batch in steps.steps(segments, stretch, data.workers):
            learn(batch)
            steps.judge(validate)
        if steps.was_stopped():
            return None
        steps.save()
        if fabric.is_global_zero:
            if not state.curve or state.curve[-1]["step"] != state.step:
                validate(None)
                steps.save()
            _finish(state, store, prior_file, simpler)
    fabric.barrier()
    return prior_file


def _codes(config: PriorTrainConfig, model: Autoencoder, folder: Path) -> CodeStore:
    """Codes of ``data.store``, extracted, or copied from shards."""
    source, place = Path(config.data.store), Path(config.data.codes or folder / "codes")
    if shards := find_shards(source):
        return import_shards(model, shards, place)
    return extract_codes(model, PackedStore(source), place, config.data.shifts)


def _start(
    config: PriorTrainConfig, store: CodeStore, unigram: NGrams, device: torch.device
) -> State:
    torch.manual_seed(config.run.seed)
    shape = PriorConfig(store.codebook_size, store.codebook_id, config.prior.network)
    prior = Prior(shape, store.speakers, config.prior.dropout)
    prior.unigram.copy_(torch.from_numpy(np.log(unigram.following(()))))
    objective = PriorObjective(prior, config.prior.speaker_dropout).to(device)
    average = RunningAverage(prior, config.optimizer.average)
    average.eval()
    first, second = config.optimizer.betas
    adam = torch.optim.Adam(prior.parameters(), lr=0.0, betas=(first, second))
    return State(objective, [adam], average)


def _resume(state: State, state_file: Path, store: CodeStore, fabric: Fabric) -> bool:
    expected = state.objective.model.unigram.clone()
    if not resume(fabric, state, state_file):
        return False
    if not torch.equal(state.objective.model.unigram, expected):
        raise ModelFileError(
            f"{state_file}: trained on other codes than those in {store.path}; use another run.dir"
        )
    return True


def _averaged(state: State) -> Prior:
    """Return the prior with averaged weights, for evaluation and export."""
    prior: Prior = state.average.module  # type: ignore[assignment]
    return prior


def _validate(
    config: PriorTrainConfig,
    state: State,
    store: CodeStore,
    prior_file: Path,
    simpler: Sequence[NGrams],
) -> None:
    """Score the averaged weights, and write them when they are the best so far."""
    places = chosen(store, "valid", config.run.validate_s)
    bits = bits_per_code(_averaged(state), store, places)
    best = min((entry["bits_per_code"] for entry in state.curve), default=math.inf)
    entry = {"step": state.step, "training_s": round(state.seconds, 1), "bits_per_code": bits}
    state.curve.append(entry)
    beside = simpler[1].bits([store.sequence(i) for i in places])
    print(f"step {state.step}: valid: {bits:.3f} bits/code (bigram {beside:.3f})", flush=True)
    if bits < best:
        _export(config, state, prior_file)


def _export(config: PriorTrainConfig, state: State, prior_file: Path) -> None:
    training = {
        "steps": state.step,
        "skipped_steps": state.skipped,
        "codes_seen": state.samples,
        "seconds": round(state.seconds, 1),
        "hardware": f"{config.run.devices} x {_averaged(state).device.type}, {config.run.threads} threads",
        "config": asdict(config),
    }
    save_prior(_averaged(state), prior_file, training, {})


def _listen(prior: Prior, model: Autoencoder, seconds: float, seed: int) -> Tensor:
    """Draw and decode some seconds in the voice of the model's first speaker."""
    speaker = model.speakers[0]
    codes = prior.sample(math.ceil(seconds * model.frame_rate_hz), speaker, seed=seed)
    return model.decode(codes, speaker, seed=seed)


def _finish(state: State, store: CodeStore, prior_file: Path, simpler: Sequence[NGrams]) -> None:
    """Score the best weights on the test split, once, and write the final files."""
    prior, header = load_prior(prior_file), read_prior_header(prior_file)
    split = "test" if len(store.indices("test")) else "valid"
    scores = held_out_codes(prior, store, split, simpler)
    print(describe(scores), flush=True)
    training = header["training"] | {"curve": state.curve}
    save_prior(prior, prior_file, training, {"held_out": asdict(scores)})
    metrics = json.dumps({**asdict(scores), "steps": state.step, "curve": state.curve}, indent=1)
    write_file(prior_file.with_name("metrics.json"), metrics)


def describe(scores: HeldOutCodes) -> str:
    """One line of figures, each with its baseline."""
    return (
        f"{scores.split}: {scores.prior:.3f} bits/code ({scores.prior * scores.codes_a_second:.0f} bits/s;"
        f" unconditional {scores.nobody:.3f}, trigram {scores.trigram:.3f}, bigram {scores.bigram:.3f},"
        f" unigram {scores.unigram:.3f}, uniform {scores.uniform:g})"
    )
