"""Decoding: codes and speakers to recordings, many together and in blocks as they are made.

Wherever codes are decoded, latents, float32, (dim, frames), may be: a continuous bottleneck has nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vqspeech.audio.mulaw import mulaw_decode
from vqspeech.errors import VqspeechError
from vqspeech.models.config import ModelConfig
from vqspeech.models.pitchfilter import PASSES, PitchFilter
from vqspeech.models.postfilter import PostFilter, lift_weak
from vqspeech.nn.decoder import Decoder
from vqspeech.sampling import DEFAULT, Sampling, draw

LOCKSTEP = 256
"""Most recordings decoded together: a step costs little more for many of them than for one."""

LOCKSTEP_SAMPLES = 2**28
"""Most samples decoded together, where it is more than one recording: 1 GiB of them, 4.7 hours at 16 kHz."""


class Condition(NamedTuple):
    """What conditions the WaveNet on a recording.

    Attributes
    ----------
    condition : Tensor
        (frames, condition_channels), with the pitch contour in it: what the WaveNet takes.
    lag : Tensor or None
        int64, (frames,), samples of a pitch period, 0 where there is none; None of a decoder without pitch.
    spectrum : Tensor or None
        (n_mels, spectral frames), the log-mel spectrogram predicted; None of a decoder without spectral head.
    """

    condition: Tensor
    lag: Tensor | None
    spectrum: Tensor | None


class Decodable(Protocol):
    """What decoding needs of a model."""

    config: ModelConfig
    hop: int
    decoder: Decoder

    @property
    def codebook_size(self) -> int:
        """Number of different codes."""

    def condition(
        self, conditioning: Tensor, speaker: str, contour: Tensor | np.ndarray | None = None
    ) -> Condition:
        """Compute what conditions the WaveNet."""


class Request(NamedTuple):
    """One recording to decode.

    Attributes
    ----------
    codes : Tensor or ndarray
        Int64, (frames,), in [0, codebook_size); or latents, float, (dim, frames).
    speaker : str
        Whose voice.
    samples : int or None
        Length, from 1 to frames * hop; None for all of that.
    seed : int
        Of its draws: a recording sounds the same whatever it is decoded together with.
    contour : Tensor, ndarray or None
        Pitch contour, see `Autoencoder.condition`; None for the predicted one, or of a model without pitch.
    """

    codes: Tensor | np.ndarray
    speaker: str
    samples: int | None = None
    seed: int = 0
    contour: Tensor | np.ndarray | None = None


def decode_blocks(
    model: Decodable, requests: Sequence[Request], sampling: Sampling = DEFAULT
) -> Iterator[list[Tensor]]:
    """Decode recordings together: of each what follows, nothing where it is finished or has not begun.

    Requests are checked at once, not when the first block is asked for. Closing the iterator ends the work.
    """
    conditions = [_condition(model, request) for request in requests]
    lengths = [_length(model, request) for request in requests]
    drawn = draw(
        model.decoder.wavenet,
        [of.condition for of in conditions],
        model.decoder.condition_hop,
        lengths,
        seeds=[request.seed for request in requests],
        sampling=sampling,
        lags=[of.lag for of in conditions if of.lag is not None] or None,
    )
    sounds = _sounds(model, conditions, lengths, sampling.post_filter)
    return ([sound(row) for sound, row in zip(sounds, rows, strict=True)] for rows in drawn)


def decode_many(
    model: Decodable,
    requests: Iterable[Request],
    sampling: Sampling = DEFAULT,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Decode recordings, longest first: the place and the sound of each as soon as it is whole."""
    requests = list(requests)
    lengths = [_length(model, request) for request in requests]
    done = 0
    for places in _groups(lengths):
        parts: dict[int, list[Tensor]] = {place: [] for place in places}
        left = {place: lengths[place] for place in places}
        for blocks in decode_blocks(model, [requests[place] for place in places], sampling):
            done += sum(map(len, blocks))
            for place, block in zip(places, blocks, strict=True):
                if len(block):
                    parts[place].append(block)
                    left[place] -= len(block)
                    if not left[place]:
                        yield place, torch.cat(parts.pop(place))
            if progress is not None:
                progress(done, sum(lengths))


def _length(model: Decodable, request: Request) -> int:
    frames = torch.as_tensor(request.codes).shape[-1]
    return frames * model.hop if request.samples is None else request.samples


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Deal out places, longest first, as many together as memory allows."""
    group: list[int] = []
    samples = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if group and (len(group) == LOCKSTEP or samples + lengths[place] > LOCKSTEP_SAMPLES):
            yield group
            group, samples = [], 0
        group.append(place)
        samples += lengths[place]
    if group:
        yield group


def _condition(model: Decodable, request: Request) -> Condition:
    """Check a request; what conditions the WaveNet on it."""
    codes = torch.as_tensor(request.codes)
    if codes.is_floating_point() and codes.ndim == 2:
        codes = codes.float()
        _check_latents(codes, model.config.dim)
    else:
        codes = codes.to(torch.int64)
        _check_codes(codes, model)
    frames, samples = codes.shape[-1], request.samples
    if samples is not None and not 0 < samples <= frames * model.hop:
        raise VqspeechError(
            f"{samples} samples asked of {frames} codes of {model.hop} samples each"
        )
    return model.condition(codes, request.speaker, request.contour)


def _check_codes(codes: Tensor, model: Decodable) -> None:
    if codes.ndim != 1 or len(codes) == 0:
        raise VqspeechError(f"codes of shape {tuple(codes.shape)}: expected (frames,)")
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= model.codebook_size:
        raise VqspeechError(
            f"codes from {low} to {high}: the model's are from 0 to {model.codebook_size - 1}"
        )


def _check_latents(latents: Tensor, dim: int) -> None:
    if latents.shape[0] != dim or latents.shape[1] == 0:
        raise VqspeechError(f"latents of shape {tuple(latents.shape)}: expected ({dim}, frames)")
    if not torch.isfinite(latents).all():
        raise VqspeechError("the latents hold values that are not finite numbers")


def _sounds(
    model: Decodable,
    conditions: Sequence[Condition],
    lengths: Sequence[int],
    strength: float,
) -> list[Callable[[Tensor], Tensor]]:
    """For each stream, what makes sound of its levels, block by block: the same bits in whatever blocks."""
    values = mulaw_decode(torch.arange(model.config.levels), model.config.levels)
    head = model.decoder.spectral

    def sound(condition: Condition, samples: int) -> Callable[[Tensor], Tensor]:
        filters: list[Callable[[Tensor], Tensor]] = []
        if condition.lag is not None:
            hop = model.decoder.condition_hop
            filters += [PitchFilter(condition.lag, hop, samples, strength) for _ in range(PASSES)]
        if head is not None and condition.spectrum is not None:
            spectrum = lift_weak(condition.spectrum)
            filters.append(PostFilter(head, spectrum, samples, strength))
        return lambda levels: reduce(lambda wav, apply: apply(wav), filters, values[levels])

    if not strength:
        return [values.__getitem__ for _ in conditions]
    return [sound(*stream) for stream in zip(conditions, lengths, strict=True)]
