"""Training of an autoencoder, from a configuration to a model file; read it from `train` down.

Steps, not epochs; the data and the jitter of a step follow from (seed, step), so a resumed run is equal to one that was
never stopped.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, CorpusError
from vqspeech.jobs.atomic import write_file
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import read_header, samples_learned, save_model
from vqspeech.training.compiled import Differentiated
from vqspeech.training.config import ALONE, TrainConfig
from vqspeech.training.data.coded import CodedCorpus, CodedStore, require_codebook
from vqspeech.training.data.codestore import extract_codes
from vqspeech.training.data.pack import INDEX as PACK_INDEX
from vqspeech.training.data.pack import Pack
from vqspeech.training.data.pitchtracks import PitchTracks, open_tracks
from vqspeech.training.data.segments import CodedSegments, Phase, Segments
from vqspeech.training.objective import Losses
from vqspeech.training.probe import fitting_batch, plan
from vqspeech.training.process import Steps, is_finished, launch, placed, seed_of_step
from vqspeech.training.run import Run, Stretch
from vqspeech.training.schedule import Clock
from vqspeech.training.start import averaged, set_rates, start, start_codebook
from vqspeech.training.state import State, resume
from vqspeech.training.validate import (
    HeldOut,
    OutOfTimeError,
    contour_error,
    held_out,
    scorable,
    spectral_error,
)

Corpus = PackedStore | CodedCorpus


def train(config: TrainConfig) -> Path | None:
    """Train a model, or resume its training, and write its model file.

    Writes into ``config.run.dir``: ``config.json``, ``state.pt``, ``model.safetensors``, ``metrics.json`` when training
    is complete, ``curve.jsonl``, and TensorBoard events.

    Parameters
    ----------
    config : TrainConfig
        All settings.

    Returns
    -------
    Path or None
        The model file; None when a signal ended the run before its last step.

    Raises
    ------
    VqspeechError
        Settings, store or state cannot be used, or the loss is no longer finite.
    """
    clock = Clock(config.run.deadline_s)
    folder = Path(config.run.dir)
    state_file, model_file = folder / "state.pt", folder / "model.safetensors"
    if config.resume == "never" and state_file.exists():
        raise ConfigurationError(f"{state_file}: there is a run already; use resume=auto")
    corpus = open_corpus(config)
    fabric = launch(config.run)
    tracks = pitch_tracks(config, corpus, fabric)
    voices = None if tracks is None else tracks.voices()
    state = start(config, corpus.speakers, fabric.device, voices)
    model, spoken = state.objective.model, averaged(state)
    if not isinstance(corpus, PackedStore):
        require_codebook(corpus, model.codebook_id)
    config = replace(config, model=model.config)
    resumed = resume(fabric, state, state_file)
    steps = config.spectral.steps + config.optimizer.steps
    finished = resumed and not clock.deadline_s and is_finished(state, steps, model_file)
    if fabric.broadcast(finished):
        return model_file
    differentiated = Differentiated(
        state.objective, fabric.autocast, config.run.compile, config.run.compile_s
    )
    config = _with_batch(config, state, fabric)
    if fabric.is_global_zero:
        print(plan(config, state, fabric, clock.training_ends_s - clock.now_s), flush=True)
        settings = json.dumps(asdict(config), indent=1, default=dict)
        write_file(folder / "config.json", settings)
    if not (resumed or config.init) and isinstance(corpus, PackedStore):
        start_codebook(config, corpus, model)

    def export() -> None:
        _export(config, state, spoken, model_file, {})

    unit, clip = "samples", config.optimizer.clip
    with Run(fabric, config.run, state, unit, clip, export, clock) as run:
        run.total_steps = steps
        warm, joint = _stretches(config, state, clock, run.now_s)
        if config.learn == "contours":
            # codes are all that they learn from
            corpus = _with_codes(config, corpus, model, fabric)
        if state.joined < 0 and config.spectral.steps:
            data = _batches(config, config.phases()[0], corpus, tracks, state, fabric)
            judged = _part_validation(config, state, corpus, tracks, run)
            for batch in run.steps(data, warm, config.data.workers):
                _step(config, state, run, differentiated, batch, 0)
                run.judge(judged)
        if run.was_stopped():
            return None
        if state.joined < 0:
            state.joined = state.step
            # the warm start ends: the model has its conditioner even if nothing follows
            state.average.module.load_state_dict(model.decoder.state_dict())
        if config.learn in ALONE:
            run.save()
            _finish_part(config, state, spoken, corpus, tracks, fabric, model_file)
            fabric.barrier()
            return model_file
        corpus = _with_codes(config, corpus, model, fabric)
        data = _batches(config, config.phases()[-1], corpus, tracks, state, fabric)
        for batch in run.steps(data, joint, config.data.workers):
            _step(config, state, run, differentiated, batch, config.data.crop)
            run.judge(_validation(config, state, spoken, corpus, tracks, clock, run))
        if run.was_stopped():
            return None
        run.save()
        _finish(config, state, spoken, corpus, clock, fabric, model_file)
    fabric.barrier()
    return model_file


def open_corpus(config: TrainConfig) -> Corpus:
    """Open ``data.store``, a store or a pack.

    Raises `CorpusError` or `ConfigurationError` where it cannot be used with these settings.
    """
    path = Path(config.data.store)
    corpus: Corpus = Pack(path) if (path / PACK_INDEX).is_file() else PackedStore(path)
    if corpus.sample_rate != config.model.sample_rate:
        raise ConfigurationError(
            f"{corpus.path}: recordings at {corpus.sample_rate} Hz, the model's sample_rate is"
            f" {config.model.sample_rate}"
        )
    if isinstance(corpus, Pack) and not (config.init and config.learn != "all"):
        raise ConfigurationError(
            f"{path}: a pack has codes and no sound for an encoder; give init=MODEL and learn=decoder or learn=speakers"
        )
    if not scorable(corpus, "valid", corpus.speakers):
        raise CorpusError(
            f"{corpus.path}: no speaker of split 'train' is in split 'valid', by which training is"
            " judged; prepare a corpus with validation utterances"
        )
    return corpus


def pitch_tracks(config: TrainConfig, corpus: Corpus, fabric: Fabric) -> PitchTracks | None:
    """Contours of the recordings where the model takes pitch: read, or made by the first worker of each machine."""
    takes = config.model.decoder.get("pitch", False)
    if config.init:
        takes = takes or read_header(config.init)["config"]["decoder"].get("pitch", False)
    if not takes:
        return None
    with fabric.rank_zero_first(local=True):
        return open_tracks(corpus, config.data.pitch)


def _with_codes(config: TrainConfig, corpus: Corpus, model: Autoencoder, fabric: Fabric) -> Corpus:
    """Add codes to a store, extracted once, where they are fixed."""
    if not config.codes_given(model) or not isinstance(corpus, PackedStore):
        return corpus
    with fabric.rank_zero_first(local=True):
        coded = extract_codes(model, corpus, Path(config.run.dir) / "codes")
    return CodedStore(corpus, coded, model.config.levels)


def _batches(
    config: TrainConfig,
    phase: Phase,
    corpus: Corpus,
    tracks: PitchTracks | None,
    state: State,
    fabric: Fabric,
) -> Steps:
    model, seed, rank = state.objective.model, config.run.seed, fabric.global_rank
    pitch = None if tracks is None else (tracks, model.decoder.condition_hop)
    segments: Segments | CodedSegments
    if isinstance(corpus, PackedStore):
        segments = Segments(corpus, [phase], model.hop, seed, rank, model.speakers, pitch)
    else:
        segments = CodedSegments(corpus, [phase], seed, rank, model.speakers, pitch)
    return placed(segments, config.data.resident, fabric.device)


def _with_batch(config: TrainConfig, state: State, fabric: Fabric) -> TrainConfig:
    """Choose the batch size for ``auto``; a resumed run keeps it."""
    if config.data.batch != "auto":
        return config
    if not state.batch:
        found = fitting_batch(config, state, fabric) if fabric.is_global_zero else 0
        state.batch = fabric.broadcast(found)
    return replace(config, data=replace(config.data, batch=state.batch))


def _stretches(
    config: TrainConfig, state: State, clock: Clock, now_s: float
) -> tuple[Stretch, Stretch]:
    """Warm start and joint training: by steps, or in the same ratio by time."""
    of, warm_steps = config.optimizer, config.spectral.steps
    begun = state.joined if state.joined >= 0 else warm_steps
    last = begun + of.steps
    ends_s = clock.training_ends_s
    share = 0.0 if state.joined >= 0 else warm_steps / max(1, warm_steps + of.steps)
    joins_s = now_s + share * (ends_s - now_s) if clock.deadline_s else 0.0
    return (
        Stretch(0, warm_steps, now_s, joins_s, of.warmup / max(1, warm_steps)),
        Stretch(begun, last, joins_s, ends_s, of.warmup / max(1, of.steps)),
    )


def _step(
    config: TrainConfig,
    state: State,
    run: Run,
    differentiated: Differentiated,
    batch: Any,
    crop: int,
) -> None:
    """Learn from a batch; without a crop the WaveNet is left out."""
    model, step = state.objective.model, state.step
    codes_learn = config.learn == "all" or not (crop or config.init)
    rate = run.learning_rate() * run.fabric.world_size**0.5
    set_rates(state.optimizers, config, crop > 0, rate)
    losses: Losses = differentiated(
        lambda: seed_of_step(config.run, run.fabric, step), batch, crop, codes_learn
    )
    moved = run.apply(losses.total, state.optimizers, wait=codes_learn)
    state.samples += len(batch.speaker) * crop * run.fabric.world_size
    if moved and codes_learn:
        model.bottleneck.update(losses.output)
    if moved and crop:
        state.average.update(model.decoder)
    run.report(
        len(batch.speaker) * (crop or batch[0].shape[1]),
        lambda: f"nll {float(losses.nll):.3f}, spectral {float(losses.spectral):.3f}",
        lambda: _scalars(state, losses),
    )


def _scalars(state: State, losses: Losses) -> dict[str, float | Tensor]:
    output = losses.output
    of_kind: dict[str, Tensor] = {}
    if output is not None:
        of_kind["train/bottleneck"] = output.loss.detach()
        if output.codes is not None:
            shares = torch.bincount(output.codes.flatten()).float() / output.codes.numel()
            shares = shares[shares > 0]
            of_kind["train/batch_perplexity"] = torch.exp(-(shares * shares.log()).sum())
        if output.kl is not None:
            of_kind["train/kl_nats_per_frame"] = output.kl.detach()
    return {
        "train/nats_per_sample": losses.nll,
        "train/spectral": losses.spectral,
        "train/pitch": losses.pitch,
        **of_kind,
        "train/learning_rate": state.optimizers[0].param_groups[0]["lr"],
    }


def _validation(
    config: TrainConfig,
    state: State,
    spoken: Autoencoder,
    corpus: Corpus,
    tracks: PitchTracks | None,
    clock: Clock,
    run: Run,
) -> Callable[[SummaryWriter | None], None]:
    """Return a function that scores the averaged model on the validation split."""

    def validate(writer: SummaryWriter | None) -> None:
        try:
            scores = held_out(
                spoken,
                corpus,
                "valid",
                config.run.validate_s,
                time_s=clock.scoring_left_s,
                contour_of=None if tracks is None else tracks.contour,
            )
        except OutOfTimeError as error:
            # training ends by the deadline, scored or not
            run.fabric.print(f"step {state.step}: {error}", flush=True)
            return
        entry = {k: v for k, v in asdict(scores).items() if k != "split"}
        state.curve.append({"step": state.step, "training_s": round(state.seconds, 1), **entry})
        run.log({f"valid_{name}": value for name, value in entry.items()})
        run.fabric.print(f"step {state.step}: {describe(scores)}", flush=True)
        if writer is None:
            return
        for name, value in entry.items():
            if value is not None:
                writer.add_scalar(f"valid/{name}", value, state.step)
        if config.run.listen_s:
            _listen(config, spoken, corpus, writer, state.step)

    return validate


def _part_error(
    config: TrainConfig,
    model: Autoencoder,
    corpus: Corpus,
    split: str,
    tracks: PitchTracks | None,
    limit_s: float = math.inf,
) -> tuple[str, float, str]:
    """Name, error and description of the part that learns alone."""
    if config.learn == "contours":
        assert tracks is not None
        error = contour_error(model, corpus, split, tracks, limit_s)
        return "contour_nats", error, f"pitch contour from codes, {error:.3f} nats a frame"
    error = spectral_error(model, corpus, split, tracks, limit_s)
    said = f"log-mel spectrogram from codes, mean absolute error {error:.3f} nats"
    return "spectral_nats", error, said


def _part_validation(
    config: TrainConfig, state: State, corpus: Corpus, tracks: PitchTracks | None, run: Run
) -> Callable[[SummaryWriter | None], None]:
    """Return a function that judges a part that learns alone on the validation split."""

    def validate(writer: SummaryWriter | None) -> None:
        if config.learn not in ALONE:
            return
        model = state.objective.model
        limit_s = config.run.validate_s
        name, error, said = _part_error(config, model, corpus, "valid", tracks, limit_s)
        run.log({f"valid_{name}": error})
        run.fabric.print(f"step {state.step}: valid: {said}", flush=True)
        if writer is not None:
            writer.add_scalar(f"valid/{name}", error, state.step)

    return validate


def _listen(
    config: TrainConfig, spoken: Autoencoder, corpus: Corpus, writer: SummaryWriter, step: int
) -> None:
    """Log a recording of the validation split and its reconstruction to TensorBoard."""
    store = corpus.store if isinstance(corpus, CodedStore) else corpus
    if not isinstance(store, PackedStore):
        # a pack has only levels, and no encoder is run
        return
    chosen = scorable(store, "valid", spoken.speakers)[0]
    wav = store.wav(chosen)[: int(config.run.listen_s * store.sample_rate)]
    decoded = spoken.convert(wav, store.utterances[chosen].speaker)
    for name, sound in (("original", torch.from_numpy(wav)), ("reconstructed", decoded)):
        writer.add_audio(f"valid/{name}", sound[None], step, store.sample_rate)


def describe(scores: HeldOut) -> str:
    """One line of figures, each with its baseline."""
    latents = "latents" if scores.codebook_size is None else "codes"
    text = (
        f"{scores.split}: {scores.bits_per_sample:.3f} bits/sample ({scores.nats_per_sample:.3f} nats;"
        f" {latents} shuffled {scores.shuffled_bits:.3f}, unigram {scores.unigram_bits:.3f},"
        f" uniform {scores.uniform_bits:.0f})"
    )
    if scores.contour_nats is not None:
        text += f", {scores.contour_nats:.3f} nats given the pitch contour"
    if scores.contour_cost_nats is not None:
        text += f" (itself {scores.contour_cost_nats:.3f})"
    if scores.codebook_size is not None:
        text += f", {scores.used_codes} of {scores.codebook_size} codes used, perplexity {scores.perplexity:.1f}"
    elif scores.kl_bits is not None:
        text += f", {scores.kl_bits:.1f} bits a frame from the prior"
    return text


def _export(
    config: TrainConfig,
    state: State,
    spoken: Autoencoder,
    model_file: Path,
    scores: dict[str, Any],
) -> None:
    run = config.run
    training = {
        "steps": state.step,
        "skipped_steps": state.skipped,
        "samples_seen": state.samples,
        "samples_seen_before": _samples_before(config),
        "seconds": round(state.seconds, 1),
        "hardware": f"{run.devices * run.nodes} x {spoken.device.type}, {run.threads} threads",
        "config": asdict(config),
        "curve": state.curve,
    }
    save_model(spoken, model_file, json.loads(json.dumps(training, default=dict)), scores)


def _samples_before(config: TrainConfig) -> int:
    """Samples that the WaveNet had learned from in the model that this one is initialised from."""
    if not config.init:
        return 0
    return samples_learned(read_header(config.init)["training"])


def _finish(
    config: TrainConfig,
    state: State,
    spoken: Autoencoder,
    corpus: Corpus,
    clock: Clock,
    fabric: Fabric,
    model_file: Path,
) -> None:
    """Score the finished model on the test split, once, and write the final files."""
    split = _last_split(corpus, spoken)
    try:
        scores = held_out(spoken, corpus, split, math.inf, time_s=clock.scoring_left_s)
    except OutOfTimeError as error:
        fabric.print(error, flush=True)
        return
    fabric.print(describe(scores), flush=True)
    if fabric.is_global_zero:
        found = asdict(scores)
        _write(config, state, spoken, model_file, {"held_out": found}, found)


def _finish_part(
    config: TrainConfig,
    state: State,
    spoken: Autoencoder,
    corpus: Corpus,
    tracks: PitchTracks | None,
    fabric: Fabric,
    model_file: Path,
) -> None:
    """Judge a part that learned alone and write the final files."""
    split = _last_split(corpus, spoken)
    name, error, said = _part_error(config, spoken, corpus, split, tracks)
    fabric.print(f"{split}: {said}", flush=True)
    if fabric.is_global_zero:
        found = {name: error}
        _write(config, state, spoken, model_file, found, {"split": split, **found})


def _last_split(corpus: Corpus, model: Autoencoder) -> str:
    return "test" if scorable(corpus, "test", model.speakers) else "valid"


def _write(
    config: TrainConfig,
    state: State,
    spoken: Autoencoder,
    model_file: Path,
    scores: dict[str, Any],
    found: dict[str, Any],
) -> None:
    """Write the finished model with its scores, and the metrics last."""
    _export(config, state, spoken, model_file, scores)
    metrics = json.dumps({**found, "steps": state.step, "curve": state.curve}, indent=1)
    write_file(model_file.with_name("metrics.json"), metrics)
