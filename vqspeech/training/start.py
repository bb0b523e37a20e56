"""The state before the first step: a new model, or one initialised from a model file, and its optimizers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vqspeech.audio.pitch import Voice
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model
from vqspeech.nn.cepstral import CepstralHead
from vqspeech.nn.decoder import Conditioner, Decoder
from vqspeech.nn.spectral import SpectralHead
from vqspeech.training.config import ALONE, TrainConfig
from vqspeech.training.contour import average_over_levels
from vqspeech.training.data.segments import Segments
from vqspeech.training.muon import Muon
from vqspeech.training.objective import Objective
from vqspeech.training.perturb import Perturbation
from vqspeech.training.state import RunningAverage, State

FRAMES_PER_CODE = 32
"""Encoder outputs per code for the initialisation of the codebook."""


def start(
    config: TrainConfig,
    store_speakers: Sequence[str],
    device: torch.device,
    voices: Mapping[str, Voice] | None = None,
) -> State:
    """Make the state before the first step.

    Parameters
    ----------
    config : TrainConfig
        All settings; with ``init`` those of the model are ignored.
    store_speakers : sequence of str
        Speakers of the store.
    device : torch.device
        Device of the weights.
    voices : mapping from str to Voice, optional
        Mean and deviation of log-F0 by speaker, for a decoder with pitch.

    Raises
    ------
    VqspeechError
        The initial model cannot be read, or has another sample rate.
    """
    torch.manual_seed(config.run.seed)
    known = config.init != ""
    model = _known(config, store_speakers) if known else Autoencoder(config.model, store_speakers)
    if model.decoder.pitch is not None:
        set_voices(model, voices or {})
    if config.init_wavenet:
        initialise_wavenet(config.init_wavenet, model)
    if config.learn == "speakers":
        model.requires_grad_(False)
        for module in model.decoder.modules():
            if isinstance(module, Conditioner):
                module.speaker.requires_grad_(True)
    elif config.learn in ALONE:
        model.requires_grad_(False)
        for part in _part(model, config.learn):
            part.requires_grad_(True)
    perturb = config.perturb
    objective = Objective(
        model,
        config.jitter,
        config.spectral.weight,
        *_heads(config, model),
        config.data.scored_every,
        config.data.input_noise,
        Perturbation(model.sample_rate, **vars(perturb)) if perturb.share else None,
    ).to(device)
    taps = model.decoder.wavenet.taps
    if taps is not None and taps.requires_grad:
        average_over_levels(taps)
    average = RunningAverage(model.decoder, config.optimizer.average)
    return State(objective, _optimizers(config, objective), average)


def _part(model: Autoencoder, learn: str) -> list[nn.Module]:
    """Modules of a part that learns alone, which the decoder must have."""
    decoder = model.decoder
    parts, missing = {
        "spectrum": (
            (decoder.spectral_conditioner, decoder.spectral),
            "a spectral head and a conditioner of its own; give model.decoder.spectral_conditioner=112",
        ),
        "contours": (
            (decoder.contours,),
            "pitch and a distribution of contours; give model.decoder.contour_channels=40",
        ),
    }[learn]
    found: list[nn.Module] = [part for part in parts if part is not None]
    if len(found) < len(parts):
        raise ConfigurationError(f"learn: {learn!r} is for a decoder with {missing}")
    return found


def _heads(
    config: TrainConfig, model: Autoencoder
) -> tuple[SpectralHead | None, CepstralHead | None]:
    spectral, rate, decoder = config.spectral, model.sample_rate, model.decoder
    if not (spectral.weight or spectral.steps) or config.learn == "contours":
        return None, None
    size = (decoder.wavenet.condition.in_features, decoder.condition_hop, rate)
    head = decoder.spectral or SpectralHead(*size, channels=spectral.channels)
    if spectral.target == "mel":
        return head, None
    speakers = len(model.speakers)
    return head, CepstralHead(
        model.config.dim, speakers, model.hop, rate, channels=spectral.channels
    )


def _known(config: TrainConfig, store_speakers: Sequence[str]) -> Autoencoder:
    model = load_model(config.init)
    if model.sample_rate != config.model.sample_rate:
        raise ConfigurationError(
            f"{config.init}: works at {model.sample_rate} Hz, model.sample_rate is"
            f" {config.model.sample_rate}; give that one"
        )
    if config.learn == "contours" and model.decoder.pitch is None:
        raise ConfigurationError(
            f"learn: 'contours' is for a decoder that takes pitch, which that of {config.init} does not"
        )
    if config.model.decoder.get("pitch") and model.decoder.pitch is None:
        model = with_pitch(model)
    channels = config.model.decoder.get("spectral_conditioner", 0)
    if channels and model.decoder.spectral_conditioner is None:
        model = with_spectral_conditioner(model, channels)
    channels = config.model.decoder.get("contour_channels", 0)
    if channels and model.decoder.contours is None:
        model = with_contours(model, channels)
    return with_speakers(model, store_speakers).train()


def with_pitch(model: Autoencoder) -> Autoencoder:
    """Return a model whose decoder takes pitch too, at first with bit-identical logits."""
    return _with_decoder(model, model.state_dict(), pitch=True)


def with_spectral_conditioner(model: Autoencoder, channels: int) -> Autoencoder:
    """Return a model whose spectral head is a new one, with a conditioner of its own.

    Raises `ConfigurationError` where the decoder has no spectral head.
    """
    if model.decoder.spectral is None:
        raise ConfigurationError(
            "model.decoder.spectral_conditioner: the decoder of init has no spectral head"
        )
    weights = model.state_dict()
    kept = {key: w for key, w in weights.items() if not key.startswith("decoder.spectral.")}
    return _with_decoder(model, kept, spectral_conditioner=channels)


def with_contours(model: Autoencoder, channels: int) -> Autoencoder:
    """Return a model, whose decoder takes pitch, with a new distribution of pitch contours."""
    return _with_decoder(model, model.state_dict(), contour_channels=channels)


def _with_decoder(
    model: Autoencoder, weights: Mapping[str, Tensor], **settings: Any
) -> Autoencoder:
    """Model like `model` but for settings of the decoder, with these weights; others are new."""
    decoder = {**model.config.decoder, **settings}
    changed = Autoencoder(replace(model.config, decoder=decoder), model.speakers)
    changed.load_state_dict(weights, strict=False)
    return changed


@torch.no_grad()
def set_voices(model: Autoencoder, voices: Mapping[str, Voice]) -> None:
    """Set the speakers' mean and deviation of log-F0; others keep the model's."""
    pitch = model.decoder.pitch
    if pitch is None:
        return
    for name, voice in voices.items():
        if name in model.speakers:
            pitch.voices[model.speakers.index(name)] = torch.tensor(voice)


@torch.no_grad()
def initialise_wavenet(name: str, model: Autoencoder) -> None:
    """Initialise the WaveNet of `model` from the model `name`, a shipped name or a file.

    The projection of the condition, which is of other latents, starts at zero. `ConfigurationError` where the WaveNets
    differ in shape, or the models in sample rate.
    """
    other = load_model(name)
    if other.sample_rate != model.sample_rate:
        raise ConfigurationError(
            f"init_wavenet: {name} works at {other.sample_rate} Hz, the model at {model.sample_rate} Hz"
        )
    weights, own = other.decoder.wavenet.state_dict(), model.decoder.wavenet.state_dict()
    weights["condition.weight"] = torch.zeros_like(own["condition.weight"])
    if "taps" in own:
        weights.setdefault("taps", torch.zeros_like(own["taps"]))
    elif "taps" in weights:
        raise ConfigurationError(
            f"init_wavenet: {name} takes pitch, and the model does not; give model.decoder.pitch=true"
        )
    for key, tensor in own.items():
        found = tuple(weights[key].shape) if key in weights else None
        if found != tuple(tensor.shape):
            raise ConfigurationError(
                f"init_wavenet: {name} has {key} of shape {found}, the model's is {tuple(tensor.shape)}"
            )
    if other.decoder.wavenet.dilations != model.decoder.wavenet.dilations:
        raise ConfigurationError(f"wavenet: the dilations of {name} are not those of the model")
    model.decoder.wavenet.load_state_dict(weights)


def with_speakers(model: Autoencoder, names: Sequence[str]) -> Autoencoder:
    """Return a model with more speakers; a new one starts as the mean of the others.

    Speakers it has already keep their index and vector; unchanged weights are shared.
    """
    new = [name for name in names if name not in model.speakers]
    if not new:
        return model
    larger = Autoencoder(model.config, [*model.speakers, *new])
    weights = model.state_dict()
    for key, own in larger.state_dict().items():
        table = weights[key]
        if table.shape != own.shape:
            rows = table.mean(0).expand(len(new), -1)
            weights[key] = torch.cat([table, rows])
    larger.load_state_dict(weights)
    return larger


def _optimizers(config: TrainConfig, objective: Objective) -> list[Optimizer]:
    """Adam for WaveNet, rest of the decoder and all else; Muon, if configured, for the WaveNet's matrices."""
    decoder = objective.model.decoder
    matrices = wavenet_matrices(decoder) if config.optimizer.muon_learning_rate else []
    taken = {id(weight) for weight, _ in matrices}
    own = [weight for weight in decoder.wavenet.parameters() if id(weight) not in taken]
    others = [p for n, p in objective.named_parameters() if not n.startswith("model.decoder.")]
    first, second = config.optimizer.betas
    # the warm start moves the second and third group
    conditioning = [p for n, p in decoder.named_parameters() if not n.startswith("wavenet.")]
    groups = [{"params": p} for p in (own, conditioning, others)]
    optimizers: list[Optimizer] = [torch.optim.Adam(groups, lr=0.0, betas=(first, second))]
    return [*optimizers, Muon(matrices)] if matrices else optimizers


def set_rates(optimizers: Sequence[Any], config: TrainConfig, joint: bool, share: float) -> None:
    """Set the learning rates of the optimizers from `start` to `share` of their highest.

    With `joint` the WaveNet learns; in the warm start everything else does.
    """
    rate = config.spectral.learning_rate
    highest = (0.0, rate, rate, 0.0)
    if joint:
        of = config.optimizer
        highest = (
            of.learning_rate,
            of.learning_rate,
            of.encoder_learning_rate,
            of.muon_learning_rate,
        )
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for number, group in enumerate(groups):
        # Muon has a group for each weight
        group["lr"] = share * highest[min(number, 3)]


def wavenet_matrices(decoder: Decoder) -> list[tuple[Tensor, tuple[int, ...]]]:
    """The WaveNet's matrices and the size of their blocks, one per layer; without embeddings, last layer, biases."""
    wavenet = decoder.wavenet
    layers, rows, gates = wavenet.gate_weight.shape
    half = gates // 2
    matrices = [
        (wavenet.gate_weight, (rows, gates)),
        (wavenet.skip.weight, (wavenet.skip.out_features, half)),
        (wavenet.hidden.weight, tuple(wavenet.hidden.weight.shape)),
        (wavenet.condition.weight, (gates, wavenet.condition.in_features)),
    ]
    if layers > 1:
        matrices.append((wavenet.residual_weight, (half, rows // 2)))
    return matrices


def averaged(state: State) -> Autoencoder:
    """Return the model with the averaged decoder, for evaluation and export.

    Encoder and codebook are the current ones: the codebook follows this encoder, not its average.
    """
    model = state.objective.model
    copy = Autoencoder(model.config, model.speakers).eval()
    copy.encoder, copy.bottleneck = model.encoder, model.bottleneck
    copy.decoder = state.average.module  # type: ignore[assignment]
    return copy


@torch.no_grad()
def start_codebook(config: TrainConfig, store: PackedStore, model: Autoencoder) -> None:
    """Initialise a codebook from outputs of the untrained encoder, the same ones on every worker."""
    if not model.discrete:
        return
    sample = Segments(store, config.phases()[:1], model.hop, config.run.seed + 1)
    outputs: list[Tensor] = []
    while sum(z.shape[0] * z.shape[2] for z in outputs) < FRAMES_PER_CODE * model.codebook_size:
        pcm = sample[len(outputs)].pcm.to(model.device)
        outputs.append(model.encoder(pcm.float() / 32768))
    model.bottleneck.initialise(torch.cat(outputs), config.run.seed)
