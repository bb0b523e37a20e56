"""The autoencoder: recording to codes, codes and speaker to recording, and the likelihood of a recording.

`wav` is float32 in [-1, 1] at the model's sample rate; `codes` are int64; frame i of a recording covers samples
[i * hop, (i + 1) * hop). What the decoder is told of a recording, `told`, are its codes, (frames,), or, where a
continuous bottleneck has none, its latents, float32, (dim, frames). Wherever codes are decoded, latents may be.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.audio.mulaw import mulaw_decode
from vqspeech.audio.pitch import Voice, look_up, move, smooth, track
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models.config import BOTTLENECKS, DISCRETE, ModelConfig, check_config
from vqspeech.models.postfilter import PostFilter
from vqspeech.nn.bottleneck import Bottleneck, DiscreteBottleneck
from vqspeech.nn.decoder import Decoder
from vqspeech.nn.encoder import Encoder
from vqspeech.sampling import DEFAULT, Sampling, draw, sample

BLOCK_SAMPLES = 320_000
"""Samples encoded at a time; bounds the memory that a long recording takes."""

PITCH = ("source", "predicted")
"""Where the pitch contour of a conversion comes from, the default first."""

SCORED_SAMPLES = 8_000
"""Samples whose likelihood is computed at a time; more would fall out of cache, less would repeat more context."""


class Conditioning(NamedTuple):
    """What conditions the WaveNet on a recording.

    Attributes
    ----------
    plain : Tensor
        (frames, condition_channels), of codes and speaker alone: what the decoder's heads take.
    condition : Tensor
        (frames, condition_channels), with the pitch contour in it: what the WaveNet takes.
    lag : Tensor or None
        int64, (frames,), samples of a pitch period, 0 where there is none; None of a decoder without pitch.
    """

    plain: Tensor
    condition: Tensor
    lag: Tensor | None


class Autoencoder(nn.Module):
    """Encoder, bottleneck and WaveNet decoder.

    Parameters
    ----------
    config : ModelConfig
        Shape of the model.
    speakers : sequence of str
        Names of the speakers that the decoder knows, in the order of its table.

    Attributes
    ----------
    hop : int
        Samples a code.
    """

    def __init__(self, config: ModelConfig, speakers: Sequence[str]) -> None:
        super().__init__()
        check_config(config)
        self.config = config
        self.speakers = tuple(speakers)
        self.sample_rate = config.sample_rate
        settings = dict(config.bottleneck)
        self.encoder = Encoder(dim=config.dim, **config.encoder)
        self.bottleneck: Bottleneck = BOTTLENECKS[settings.pop("kind")](dim=config.dim, **settings)
        self.hop = self.encoder.hop
        self.decoder = Decoder(
            config.dim,
            len(self.speakers),
            config.levels,
            self.hop,
            config.sample_rate,
            **config.decoder,
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.wavenet.gate_weight.device

    @property
    def frame_rate_hz(self) -> float:
        """Codes a second."""
        return self.sample_rate / self.hop

    @property
    def receptive_field(self) -> int:
        """Samples that one code depends on."""
        return self.encoder.receptive_field

    @property
    def discrete(self) -> bool:
        """Whether there are codes; a continuous bottleneck has latents alone."""
        return isinstance(self.bottleneck, DiscreteBottleneck)

    @property
    def quantizer(self) -> DiscreteBottleneck:
        """The bottleneck of a model that has codes.

        Raises
        ------
        VqspeechError
            The model has none.
        """
        if not isinstance(self.bottleneck, DiscreteBottleneck):
            raise VqspeechError(
                f"the model has no codes: its bottleneck {self.config.bottleneck['kind']!r} is continuous;"
                f" convert works with it, and codes need one of {', '.join(DISCRETE)}"
            )
        return self.bottleneck

    @property
    def codebook_size(self) -> int:
        """Number of different codes.

        Raises
        ------
        VqspeechError
            The model has none.
        """
        return self.quantizer.codebook_size

    @property
    def codebook_id(self) -> str | None:
        """16 hexadecimal digits that tell this codebook from any other: models over its codes keep them."""
        if not self.discrete:
            return None
        every = torch.arange(self.codebook_size, device=self.device)
        vectors = self.quantizer.dequantize(every[None]).detach().float().cpu()
        return hashlib.sha256(vectors.numpy().tobytes()).hexdigest()[:16]

    def speaker_index(self, name: str) -> int:
        """Row of a speaker in the decoder's table.

        Raises
        ------
        VqspeechError
            The model does not know the speaker; names that look alike are listed.
        """
        if name in self.speakers:
            return self.speakers.index(name)
        alike = get_close_matches(name, self.speakers, n=5, cutoff=0.4) or self.speakers[:8]
        raise VqspeechError(
            f"speaker {name!r}: the model knows {len(self.speakers)} speakers and not this one;"
            f" some of them: {', '.join(alike)}"
        )

    def encode(self, wav: Tensor | np.ndarray) -> Tensor:
        """Encode recordings of one length, in blocks of bounded memory.

        Parameters
        ----------
        wav : Tensor or ndarray
            float, (samples,) or (batch, samples), at least one sample.

        Returns
        -------
        Tensor
            int64, (frames,) or (batch, frames), frames = ceil(samples / hop), on the CPU.

        Raises
        ------
        VqspeechError
            There is no sample, or one that is not finite, or the model has no codes.
        """
        wav = torch.as_tensor(wav)
        return torch.cat(list(self.encode_blocks([wav])), -1)

    def latents(self, wav: Tensor | np.ndarray) -> Tensor:
        """Compute what the decoder gets for recordings of one length, in blocks of bounded memory.

        Parameters
        ----------
        wav : Tensor or ndarray
            float, (samples,) or (batch, samples), at least one sample.

        Returns
        -------
        Tensor
            float32, (dim, frames) or (batch, dim, frames), on the CPU: the vectors of the codes, or what a continuous
            bottleneck gives in evaluation.

        Raises
        ------
        VqspeechError
            There is no sample, or one that is not finite.
        """
        wav = torch.as_tensor(wav)
        return torch.cat(list(self._in_blocks([wav], self._latents)), -1)

    def tell(self, wav: Tensor | np.ndarray) -> Tensor:
        """What the decoder is told of recordings of one length: `encode` where there are codes, else `latents`."""
        return self.encode(wav) if self.discrete else self.latents(wav)

    def tell_blocks(self, blocks: Iterable[Tensor | np.ndarray]) -> Iterator[Tensor]:
        """`tell` of a recording that arrives in pieces, as `encode_blocks`; frames are the last dimension."""
        return (
            self.encode_blocks(blocks) if self.discrete else self._in_blocks(blocks, self._latents)
        )

    def encode_blocks(self, blocks: Iterable[Tensor | np.ndarray]) -> Iterator[Tensor]:
        """Encode a recording that arrives in pieces; what comes out does not depend on the pieces.

        A model without codes is refused at once, a bad recording when the iterator comes to it.

        Parameters
        ----------
        blocks : iterable of Tensor or ndarray
            Pieces of any length, (samples,) or (batch, samples), in order.

        Returns
        -------
        iterator of Tensor
            int64, (frames,) or (batch, frames): the codes that follow, on the CPU.

        Raises
        ------
        VqspeechError
            There is no sample at all, or one that is not finite, or the model has no codes.
        """
        quantizer = self.quantizer

        def codes(wav: Tensor) -> Tensor:
            batch = wav.reshape(-1, wav.shape[-1]).to(self.device)
            return quantizer.encode(self.encoder(batch)).cpu().view(*wav.shape[:-1], -1)

        return self._in_blocks(blocks, codes)

    @torch.inference_mode()
    def _in_blocks(
        self, blocks: Iterable[Tensor | np.ndarray], read: Callable[[Tensor], Tensor]
    ) -> Iterator[Tensor]:
        """Apply `read`, of (..., samples) to (..., frames), to a recording piece by piece, with its context."""
        before = -(-self.encoder.context[0] // self.hop)
        after = -(-self.encoder.context[1] // self.hop)
        block = max(1, BLOCK_SAMPLES // self.hop)
        # `held` starts `lead` frames before the first frame that is not yet encoded
        held, lead, started = torch.zeros(0), 0, False
        for piece in blocks:
            new = torch.as_tensor(piece, dtype=torch.float32).cpu()
            if not torch.isfinite(new).all():
                raise VqspeechError("the recording holds samples that are not finite numbers")
            held = torch.cat([held.expand(*new.shape[:-1], -1), new], -1)
            while held.shape[-1] >= (lead + block + after) * self.hop:
                frames = read(held[..., : (lead + block + after) * self.hop])
                yield frames[..., lead : lead + block]
                kept = min(before, lead + block)
                held = held[..., (lead + block - kept) * self.hop :]
                lead, started = kept, True
        if held.shape[-1] > lead * self.hop:
            yield read(held)[..., lead:]
        elif not started:
            raise VqspeechError("the recording has no samples")

    def divergence(self, wav: Tensor | np.ndarray) -> Tensor:
        """KL divergence of the posterior of each frame from its prior.

        Parameters
        ----------
        wav : Tensor or ndarray
            float, (samples,), at least one sample.

        Returns
        -------
        Tensor
            float32, (frames,), in nats, on the CPU; infinite without a bottleneck, log K of a vector quantizer.
        """

        def read(wav: Tensor) -> Tensor:
            return self.bottleneck.divergence(self.encoder(wav[None].to(self.device)))[0].cpu()

        return torch.cat(list(self._in_blocks([torch.as_tensor(wav)], read)))

    def _latents(self, wav: Tensor) -> Tensor:
        batch = wav.reshape(-1, wav.shape[-1]).to(self.device)
        latents = self.bottleneck.latents(self.encoder(batch)).float().cpu()
        return latents.reshape(*wav.shape[:-1], *latents.shape[1:])

    def decode_blocks(
        self,
        codes: Sequence[Tensor | np.ndarray],
        speakers: Sequence[str],
        samples: Sequence[int | None],
        *,
        seeds: Sequence[int],
        sampling: Sampling = DEFAULT,
        contours: Sequence[Tensor | np.ndarray | None] | None = None,
    ) -> Iterator[list[Tensor]]:
        """Decode several code sequences, of any lengths, together, and hand out blocks as they are made.

        Arguments are checked at once, not when the first block is asked for. Closing the iterator ends the work.

        Parameters
        ----------
        codes : sequence of Tensor or ndarray
            int64, (frames,) each; or latents, float, (dim, frames).
        speakers : sequence of str
            Speaker of each.
        samples : sequence of int or None
            Length of each in samples; None for frames * hop.
        seeds : sequence of int
            Seed of each.
        sampling : Sampling
            How levels are drawn, and by what.
        contours : sequence of Tensor, ndarray or None, optional
            Pitch contour of each, see `condition`; None for the one that the decoder predicts.

        Returns
        -------
        iterator of list of Tensor
            For each sequence, what follows of it: float32 in [-1, 1], on the CPU, none where it is finished or
            has not begun. Joined, the blocks are what `decode_batch` returns.

        Raises
        ------
        ConfigurationError
            There is no such engine or mode, or the engine cannot run here.
        VqspeechError
            Unknown speaker, or codes or lengths that cannot belong to this model.
        """
        conditions, lengths = self._conditions(codes, speakers, samples, contours)
        blocks = draw(
            self.decoder.wavenet,
            [of.condition for of in conditions],
            self.decoder.condition_hop,
            lengths,
            seeds=seeds,
            sampling=sampling,
            lags=_lags(conditions),
        )
        sounds = self._sounds(conditions, lengths, sampling)
        return ([sound(row) for sound, row in zip(sounds, rows, strict=True)] for rows in blocks)

    def decode_batch(
        self,
        codes: Sequence[Tensor | np.ndarray],
        speakers: Sequence[str],
        samples: Sequence[int | None],
        *,
        seeds: Sequence[int],
        sampling: Sampling = DEFAULT,
        contours: Sequence[Tensor | np.ndarray | None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Tensor]:
        """Decode several code sequences, of any lengths, together.

        Parameters
        ----------
        codes, speakers, samples, seeds, sampling, contours
            See `decode_blocks`.
        progress : callable, optional
            Called with samples done and samples in all, now and then.

        Returns
        -------
        list of Tensor
            float32 in [-1, 1], (samples,) each, on the CPU.

        Raises
        ------
        VqspeechError
            See `decode_blocks`.
        """
        conditions, lengths = self._conditions(codes, speakers, samples, contours)
        levels = sample(
            self.decoder.wavenet,
            [of.condition for of in conditions],
            self.decoder.condition_hop,
            lengths,
            seeds=seeds,
            sampling=sampling,
            lags=_lags(conditions),
            progress=progress,
        )
        sounds = self._sounds(conditions, lengths, sampling)
        return [sound(row) for sound, row in zip(sounds, levels, strict=True)]

    @torch.inference_mode()
    def condition(
        self, told: Tensor, speaker: str, contour: Tensor | np.ndarray | None = None
    ) -> Conditioning:
        """Compute what conditions the WaveNet.

        Parameters
        ----------
        told : Tensor
            Codes, int64, (frames,), in [0, codebook_size); or latents, float, (dim, frames).
        speaker : str
            Whose voice.
        contour : Tensor or ndarray, optional
            Float, (condition frames,), F0 in Hz, 0 where unvoiced. Without one a decoder with pitch predicts it from
            codes and speaker; a decoder without pitch does not look at it.

        Returns
        -------
        Conditioning
            For frames * hop / condition_hop condition frames, on the device of the model.

        Raises
        ------
        VqspeechError
            The model does not know the speaker, or has no codes and is given some, or the contour has another length
            or holds what is no frequency.
        """
        index = torch.tensor([self.speaker_index(speaker)], device=self.device)
        batch = told[None].to(self.device)
        z_q = batch if batch.is_floating_point() else self.quantizer.dequantize(batch)
        plain = self.decoder.conditioner(z_q, index)
        pitch = self.decoder.pitch
        if pitch is None:
            return Conditioning(plain[0], plain[0], None)
        if contour is None:
            f0 = pitch.contour(pitch.predict(plain), index)
        else:
            f0 = self._checked_contour(contour, plain.shape[1])[None]
        condition, lag = self.decoder.with_contour(plain, f0)
        return Conditioning(plain[0], condition[0], None if lag is None else lag[0])

    @torch.inference_mode()
    def contour(
        self,
        told: Tensor,
        speaker: str,
        source: np.ndarray | None = None,
        semitones: float = 0.0,
    ) -> Tensor:
        """Make the pitch contour of a decoding, for `condition` and all that decodes.

        Parameters
        ----------
        told : Tensor
            Codes, int64, (frames,), or latents, float, (dim, frames).
        speaker : str
            Whose voice.
        source : ndarray, optional
            Contour of the recording that the codes are of, from `pitch.track`: it is smoothed and moved to
            the speaker's mean and deviation. Without it the contour is predicted from codes and speaker.
        semitones : float
            Added to either.

        Returns
        -------
        Tensor
            float32, (condition frames,), F0 in Hz, 0 where unvoiced, on the CPU.

        Raises
        ------
        VqspeechError
            The decoder takes no pitch, or what `condition` raises.
        """
        pitch = self.decoder.pitch
        if pitch is None:
            raise VqspeechError("the model takes no pitch: its decoder was trained without")
        index = self.speaker_index(speaker)
        hop = self.decoder.condition_hop
        if source is not None:
            voice = Voice(*pitch.voices[index].tolist())
            frames = told.shape[-1] * (self.hop // hop)
            moved = move(smooth(source), voice, semitones)
            return torch.from_numpy(look_up(moved, 0, frames, hop, self.sample_rate))
        plain = self.condition(told, speaker).plain[None]
        predicted = pitch.contour(pitch.predict(plain), torch.tensor([index], device=self.device))
        return predicted[0].cpu() * 2 ** (semitones / 12)

    def _checked_contour(self, contour: Tensor | np.ndarray, frames: int) -> Tensor:
        given = torch.as_tensor(contour).to(self.device, torch.float32)
        if given.shape != (frames,):
            raise VqspeechError(
                f"a pitch contour of shape {tuple(given.shape)}: expected ({frames},), a value for every"
                f" {self.decoder.condition_hop} samples"
            )
        if not (torch.isfinite(given).all() and (given >= 0).all()):
            raise VqspeechError("a pitch contour holds values that are no frequencies in Hz")
        return given

    def _conditions(
        self,
        codes: Sequence[Tensor | np.ndarray],
        speakers: Sequence[str],
        samples: Sequence[int | None],
        contours: Sequence[Tensor | np.ndarray | None] | None = None,
    ) -> tuple[list[Conditioning], list[int]]:
        """Check what is to be decoded; the conditioning and the length of each."""
        conditions, lengths = [], []
        given = [None] * len(codes) if contours is None else contours
        for sequence, speaker, length, contour in zip(codes, speakers, samples, given, strict=True):
            row = torch.as_tensor(sequence)
            if row.is_floating_point() and row.ndim == 2:
                row = row.float()
                self._check_latents(row)
            else:
                row = row.to(torch.int64)
                self._check_codes(row)
            frames = row.shape[-1]
            if length is not None and not 0 < length <= frames * self.hop:
                raise VqspeechError(
                    f"{length} samples asked of {frames} codes of {self.hop} samples each"
                )
            conditions.append(self.condition(row, speaker, contour))
            lengths.append(frames * self.hop if length is None else length)
        return conditions, lengths

    def _sounds(
        self, conditions: Sequence[Conditioning], lengths: Sequence[int], sampling: Sampling
    ) -> list[Callable[[Tensor], Tensor]]:
        """For each stream, what makes sound of its levels, block by block: the same bits in whatever blocks."""
        values = mulaw_decode(torch.arange(self.config.levels), self.config.levels)
        head = self.decoder.spectral
        if head is None or not sampling.post_filter:
            return [values.__getitem__ for _ in conditions]

        def sound(condition: Conditioning, samples: int) -> Callable[[Tensor], Tensor]:
            with torch.inference_mode():
                predicted = head(condition.plain[None])[0]
            post_filter = PostFilter(head, predicted, samples, sampling.post_filter)
            return lambda levels: post_filter(values[levels])

        return [sound(*stream) for stream in zip(conditions, lengths, strict=True)]

    def _check_codes(self, codes: Tensor) -> None:
        if codes.ndim != 1 or len(codes) == 0:
            raise VqspeechError(f"codes of shape {tuple(codes.shape)}: expected (frames,)")
        if int(codes.min()) < 0 or int(codes.max()) >= self.codebook_size:
            raise VqspeechError(
                f"codes from {int(codes.min())} to {int(codes.max())}:"
                f" the model's are from 0 to {self.codebook_size - 1}"
            )

    def _check_latents(self, latents: Tensor) -> None:
        if latents.shape[0] != self.config.dim or latents.shape[1] == 0:
            raise VqspeechError(
                f"latents of shape {tuple(latents.shape)}: expected ({self.config.dim}, frames)"
            )
        if not torch.isfinite(latents).all():
            raise VqspeechError("the latents hold values that are not finite numbers")

    def stream(
        self,
        codes: Tensor | np.ndarray,
        speaker: str,
        samples: int | None = None,
        *,
        seed: int = 0,
        sampling: Sampling = DEFAULT,
        contour: Tensor | np.ndarray | None = None,
    ) -> Iterator[Tensor]:
        """Decode one code sequence and hand out the recording as it is made; see `decode_blocks`.

        Returns
        -------
        iterator of Tensor
            float32 in [-1, 1], on the CPU, at least one sample each. Joined, they are what `decode` returns.
        """
        blocks = self.decode_blocks(
            [codes], [speaker], [samples], seeds=[seed], sampling=sampling, contours=[contour]
        )
        return (block for (block,) in blocks if len(block))

    def decode(
        self,
        codes: Tensor | np.ndarray,
        speaker: str,
        samples: int | None = None,
        *,
        seed: int = 0,
        sampling: Sampling = DEFAULT,
        contour: Tensor | np.ndarray | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Decode one code sequence; see `decode_batch`.

        Returns
        -------
        Tensor
            float32 in [-1, 1], (samples,), on the CPU.
        """
        return self.decode_batch(
            [codes],
            [speaker],
            [samples],
            seeds=[seed],
            sampling=sampling,
            contours=[contour],
            progress=progress,
        )[0]

    def convert(
        self,
        wav: Tensor | np.ndarray,
        speaker: str,
        *,
        pitch: str = "source",
        semitones: float = 0.0,
        seed: int = 0,
        sampling: Sampling = DEFAULT,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Say a recording (samples,) again in the voice of `speaker`, at the same length.

        Parameters
        ----------
        wav : Tensor or ndarray
            float, (samples,), at least one sample.
        speaker : str
            Whose voice.
        pitch : str
            Contour of a decoder that takes pitch: ``source``, the recording's, moved to the speaker's mean and
            deviation, or ``predicted``, from codes and speaker.
        semitones : float
            Added to the contour; other than 0, the decoder must take pitch.
        seed, sampling, progress
            See `decode_batch`.

        Returns
        -------
        Tensor
            float32 in [-1, 1], (samples,), on the CPU.

        Raises
        ------
        ConfigurationError
            `pitch` is neither of the two.
        VqspeechError
            See `contour` and `decode_blocks`.
        """
        if pitch not in PITCH:
            raise ConfigurationError(f"pitch {pitch!r}: choose one of {', '.join(PITCH)}")
        told, contour = self.tell(wav), None
        if self.decoder.pitch is not None or semitones:
            tracked = None
            if pitch == "source" and self.decoder.pitch is not None:
                tracked = track(torch.as_tensor(wav).numpy(), self.sample_rate)
            contour = self.contour(told, speaker, tracked, semitones)
        return self.decode(
            told,
            speaker,
            len(wav),
            seed=seed,
            sampling=sampling,
            contour=contour,
            progress=progress,
        )

    @torch.inference_mode()
    def nll(
        self,
        levels: Tensor,
        told: Tensor,
        speaker: str,
        contour: Tensor | np.ndarray | None = None,
    ) -> Tensor:
        """Negative log-likelihood of a recording under what is told of it, exact, in windows of bounded memory.

        Parameters
        ----------
        levels : Tensor
            int64, (samples,): mu-law levels of the recording.
        told : Tensor
            Codes, int64, (frames,), or latents, float32, (dim, frames); frames = ceil(samples / hop).
        speaker : str
            Name of the speaker.
        contour : Tensor or ndarray, optional
            Pitch contour, see `condition`.

        Returns
        -------
        Tensor
            float32, (samples,): -log p of each level given those before it, in nats, on the CPU.
        """
        net, target = self.decoder.wavenet, levels[None].to(self.device)
        _, condition, lag = self.condition(told, speaker, contour)
        windows = net.windows(
            net.previous(target),
            condition[None],
            self.decoder.condition_hop,
            SCORED_SAMPLES,
            None if lag is None else lag[None],
        )
        losses, start = [], 0
        for logits in windows:
            stop = start + logits.shape[1]
            wanted = target[0, start:stop]
            losses.append(F.cross_entropy(logits[0].float(), wanted, reduction="none"))
            start = stop
        return torch.cat(losses).cpu()


def _lags(conditions: Sequence[Conditioning]) -> list[Tensor] | None:
    lags = [of.lag for of in conditions if of.lag is not None]
    return lags or None
