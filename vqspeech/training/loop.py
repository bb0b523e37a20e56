"""The training loop, from a configuration to a model file.

Read it from `train` down. Steps, not epochs; the data and the jitter of a step follow from (seed, step), so a run
that was stopped goes on as if it had not been.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from vqspeech.atomic import write_atomically
from vqspeech.checkpoint import read_header, save_model
from vqspeech.corpus.pitchtracks import PitchTracks, open_tracks
from vqspeech.corpus.segments import Batch, Segments
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, CorpusError
from vqspeech.model import Autoencoder
from vqspeech.training.config import TrainConfig
from vqspeech.training.objective import Losses
from vqspeech.training.process import Stepped, Task, is_finished, launch, run_steps, seed_of_step
from vqspeech.training.schedule import learning_rate
from vqspeech.training.start import averaged, set_rates, start, start_codebook
from vqspeech.training.state import State, load_state, save_state
from vqspeech.training.validate import HeldOut, held_out, scorable


def train(config: TrainConfig) -> Path | None:
    """Train a model, or go on training it, and write its model file.

    Writes into ``config.run.dir``: ``config.json``, ``state.pt``, ``model.safetensors``, ``metrics.json`` when training
    is complete, and TensorBoard events.

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
        Settings, store or state are not usable, or the loss has stopped being finite.
    """
    folder = Path(config.run.dir)
    state_file, model_file = folder / "state.pt", folder / "model.safetensors"
    if config.resume == "never" and state_file.exists():
        raise ConfigurationError(f"{state_file}: there is a run already; use resume=auto")
    store = PackedStore(Path(config.data.store))
    if store.sample_rate != config.model.sample_rate:
        raise ConfigurationError(
            f"{store.path}: recordings at {store.sample_rate} Hz, the model's sample_rate is"
            f" {config.model.sample_rate}"
        )
    if not scorable(store, "valid", store.speakers):
        raise CorpusError(
            f"{store.path}: no speaker of split 'train' is in split 'valid', by which training is"
            " judged; prepare a corpus with validation utterances"
        )
    fabric = launch(config.run, _strategy(config))
    tracks = pitch_tracks(config, store, fabric)
    voices = None if tracks is None else tracks.voices()
    state = start(config, store.speakers, fabric.device, voices)
    model, spoken = state.objective.model, averaged(state)
    config = replace(config, model=model.config)
    segments = Segments(
        store,
        config.phases(),
        model.hop,
        config.run.seed,
        fabric.global_rank,
        model.speakers,
        None if tracks is None else (tracks, model.decoder.condition_hop),
    )
    if state_file.exists():
        load_state(state, state_file)
        if is_finished(state, len(segments), model_file):
            return model_file
    elif not config.init:
        start_codebook(config, store, model)
    if fabric.is_global_zero:
        settings = json.dumps(asdict(config), indent=1, default=dict)
        write_atomically(folder / "config.json", lambda file: file.write_text(settings))

    objective, *optimizers = fabric.setup(state.objective, *state.optimizers)
    if config.run.compile:
        objective.compile()
    joint = config.spectral.steps

    def take(batch: Batch) -> Stepped:
        into, steps = state.step, joint
        if state.step >= joint:
            into, steps = state.step - joint, config.optimizer.steps
        share = learning_rate(into, steps, 1.0, config.optimizer.warmup)
        set_rates(optimizers, config, state.step >= joint, share)
        losses, norm = _step(fabric, objective, optimizers, batch, config, state)
        return Stepped(losses.total, norm, batch.pcm.numel(), losses)

    def move(stepped: Stepped) -> None:
        for optimizer in optimizers:
            optimizer.step()
        if config.codes_learn(state.step):
            model.bottleneck.update(stepped.told.output)
        if state.step >= joint:
            state.average.update_parameters(model.decoder)
        elif state.step == joint - 1:
            # the warm start ends: what its conditioner learned is in the model even if nothing follows
            state.average.module.load_state_dict(model.decoder.state_dict())

    def note(stepped: Stepped, rate: float) -> str:
        losses: Losses = stepped.told
        return (
            f"nll {float(losses.nll):.3f}, spectral {float(losses.spectral):.3f},"
            f" {rate / model.sample_rate:.3g} x real time"
        )

    def validate(writer: SummaryWriter) -> None:
        _validate(config, state, spoken, store, writer)
        _export(config, state, spoken, model_file, {})

    task = Task(
        data=segments,
        workers=config.data.workers,
        unit="samples",
        take=take,
        move=move,
        note=note,
        scalars=lambda stepped, rate: _scalars(state, stepped, rate),
        validate=validate,
        # before the WaveNet has learned anything its likelihood says nothing
        validate_after=joint,
    )
    if not run_steps(fabric, config.run, state, task):
        return None
    if fabric.is_global_zero:
        _finish(config, state, spoken, store, state_file, model_file)
    fabric.barrier()
    return model_file


def pitch_tracks(config: TrainConfig, store: PackedStore, fabric: Fabric) -> PitchTracks | None:
    """Contours of the store where the model takes pitch: read, or made by the first worker."""
    takes = config.model.decoder.get("pitch", False)
    if config.init:
        takes = takes or read_header(config.init)["config"]["decoder"].get("pitch", False)
    if not takes:
        return None
    with fabric.rank_zero_first():
        return open_tracks(store, config.data.pitch)


def _strategy(config: TrainConfig) -> str:
    if config.run.strategy == "auto" and config.run.devices > 1:
        # the warm start leaves the WaveNet without a gradient
        return "ddp_find_unused_parameters_true"
    return config.run.strategy


def _step(
    fabric: Fabric,
    objective: Any,
    optimizers: Sequence[Any],
    batch: Batch,
    config: TrainConfig,
    state: State,
) -> tuple[Losses, Tensor]:
    """Loss and gradient of a batch; the weights are not moved yet."""
    # jitter and perturbation draw from torch's generator
    seed_of_step(config.run, fabric, state.step)
    crop = 0 if state.step < config.spectral.steps else config.data.crop
    for optimizer in optimizers:
        optimizer.zero_grad()
    losses = objective(batch, crop, config.codes_learn(state.step))
    fabric.backward(losses.total)
    norm = fabric.clip_gradients(
        objective, optimizers[0], max_norm=config.optimizer.clip, error_if_nonfinite=False
    )
    return losses, torch.as_tensor(norm)


def _scalars(state: State, stepped: Stepped, rate: float) -> dict[str, float | Tensor]:
    losses: Losses = stepped.told
    output = losses.output
    of_kind: dict[str, Tensor] = {}
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
        "train/bottleneck": output.loss.detach(),
        **of_kind,
        "train/gradient_norm": stepped.norm,
        "train/learning_rate": state.optimizers[0].param_groups[0]["lr"],
        "train/samples_per_s": rate,
        "train/skipped_steps": state.skipped,
    }


def _validate(
    config: TrainConfig,
    state: State,
    averaged: Autoencoder,
    store: PackedStore,
    writer: SummaryWriter | None,
) -> None:
    scores = held_out(averaged, store, "valid", config.run.validate_s)
    entry = {k: v for k, v in asdict(scores).items() if k != "split"}
    state.curve.append({"step": state.step, "training_s": round(state.seconds, 1), **entry})
    print(f"step {state.step}: {describe(scores)}", flush=True)
    if writer is None:
        return
    for name, value in entry.items():
        if value is not None:
            writer.add_scalar(f"valid/{name}", value, state.step)
    if config.run.listen_s:
        chosen = scorable(store, "valid", averaged.speakers)[0]
        wav = store.wav(chosen)[: int(config.run.listen_s * store.sample_rate)]
        heard = averaged.convert(wav, store.utterances[chosen].speaker)
        for name, sound in (("original", torch.from_numpy(wav)), ("reconstructed", heard)):
            writer.add_audio(f"valid/{name}", sound[None], state.step, store.sample_rate)


def describe(scores: HeldOut) -> str:
    """One line of figures, each with its baseline."""
    told = "latents" if scores.codebook_size is None else "codes"
    text = (
        f"{scores.split}: {scores.bits_per_sample:.3f} bits/sample ({scores.nats_per_sample:.3f} nats;"
        f" {told} shuffled {scores.shuffled_bits:.3f}, unigram {scores.unigram_bits:.3f},"
        f" uniform {scores.uniform_bits:.0f})"
    )
    if scores.codebook_size is not None:
        text += f", {scores.used_codes} of {scores.codebook_size} codes used, perplexity {scores.perplexity:.1f}"
    elif scores.kl_bits is not None:
        text += f", {scores.kl_bits:.1f} bits a frame from the prior"
    return text


def _export(
    config: TrainConfig,
    state: State,
    averaged: Autoencoder,
    model_file: Path,
    scores: dict[str, Any],
) -> None:
    training = {
        "steps": state.step,
        "skipped_steps": state.skipped,
        "samples_seen": state.samples,
        "seconds": round(state.seconds, 1),
        "hardware": f"{config.run.devices} x {averaged.device.type}, {config.run.threads} threads",
        "config": asdict(config),
        "curve": state.curve,
    }
    save_model(averaged, model_file, json.loads(json.dumps(training, default=dict)), scores)


def _finish(
    config: TrainConfig,
    state: State,
    averaged: Autoencoder,
    store: PackedStore,
    state_file: Path,
    model_file: Path,
) -> None:
    """Score the finished model on the test split, once, and write what is left to write."""
    save_state(state, state_file)
    # scoring takes minutes: what has been trained is there before
    _export(config, state, averaged, model_file, {})
    split = "test" if scorable(store, "test", averaged.speakers) else "valid"
    scores = held_out(averaged, store, split, math.inf)
    print(describe(scores), flush=True)
    _export(config, state, averaged, model_file, {"held_out": asdict(scores)})
    metrics = json.dumps({**asdict(scores), "steps": state.step, "curve": state.curve}, indent=1)
    write_atomically(model_file.with_name("metrics.json"), lambda file: file.write_text(metrics))
