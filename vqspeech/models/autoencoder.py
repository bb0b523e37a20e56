"""The autoencoder: recording to codes, codes and speaker to recording, and the likelihood of a recording.

`wav` is float32 in [-1, 1] at the model's sample rate; `codes` are int64; frame i of a recording covers samples
[i * hop, (i + 1) * hop). The decoder is conditioned on a speaker and on the `conditioning` of a recording: its codes,
(frames,), or, where a continuous bottleneck has none, its latents, float32, (dim, frames).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.audio.pitch import Voice, look_up, move, smooth, track
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models import decoding, hub
from vqspeech.models.config import BOTTLENECKS, DISCRETE, ModelConfig, check_config
from vqspeech.models.decoding import Condition, Request
from vqspeech.models.encoding import Encoding, in_blocks
from vqspeech.nn.bottleneck import Bottleneck, DiscreteBottleneck
from vqspeech.nn.decoder import Decoder
from vqspeech.nn.encoder import Encoder
from vqspeech.sampling import DEFAULT, Sampling

PITCH = ("source", "predicted", "drawn")
"""Where the pitch contour of a conversion comes from, the default first."""

SCORED_SAMPLES = 8_000
"""Samples whose likelihood is computed at a time; more would fall out of cache, less would repeat more context."""


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

    @classmethod
    def from_pretrained(cls, name: str | Path, revision: str | None = None) -> "Autoencoder":
        """Load a model as `vqspeech.load` does; `revision` is a branch, tag or commit of ``owner/name``."""
        from vqspeech.models.checkpoint import load_model

        return load_model(name if revision is None else hub.fetch(str(name), revision))

    def push_to_hub(self, repository: str, *, card: str, private: bool = False) -> str:
        """Put the model into a repository of the Hugging Face Hub, as `vqspeech.models.hub.upload` puts a file.

        How it was trained is in its file, not here: ``vqspeech push`` sends the file as it is, with its prior.
        """
        from vqspeech.models.checkpoint import save_model

        with TemporaryDirectory(prefix="vqspeech-push-") as folder:
            save_model(self, file := Path(folder, hub.MODEL))
            return hub.upload(repository, file, card, private=private)

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
            The speaker is none of the model's; names that look alike are listed.
        """
        if name in self.speakers:
            return self.speakers.index(name)
        alike = get_close_matches(name, self.speakers, n=5, cutoff=0.4) or self.speakers[:8]
        raise VqspeechError(
            f"speaker {name!r}: none of the {len(self.speakers)} speakers of the model;"
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
        return torch.cat(list(self.encode_blocks([wav])), -1)

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
        return (codes for (codes,) in in_blocks(self.encoder, blocks, self.quantizer.encode))

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
        return self._joined(wav, self.bottleneck.latents)[0].float()

    def vectors(self, wav: Tensor | np.ndarray) -> Tensor:
        """Compute the encoder's output ``z_e`` for a recording (samples,): float32, (dim, frames), on the CPU."""
        return self._joined(wav, lambda z_e: z_e)[0].float()

    def conditioning(self, wav: Tensor | np.ndarray) -> Tensor:
        """What recordings of one length condition the decoder on: `encode` where there are codes, else `latents`."""
        return torch.cat(list(self.conditioning_blocks([wav])), -1)

    def conditioning_blocks(self, blocks: Iterable[Tensor | np.ndarray]) -> Iterator[Tensor]:
        """`conditioning` of a recording that arrives in pieces, as `encode_blocks`; frames are the last dimension."""
        return (found for (found,) in in_blocks(self.encoder, blocks, self._conditioning))

    def encoding(self, wav: Tensor | np.ndarray) -> Encoding:
        """Conditioning and divergence of a recording (samples,), in one pass of the encoder."""
        return Encoding(*self._joined(wav, self._conditioning, self.bottleneck.divergence))

    def divergence(self, wav: Tensor | np.ndarray) -> Tensor:
        """KL divergence of the posterior of each frame from its prior, see `Encoding`."""
        return self._joined(wav, self.bottleneck.divergence)[0]

    def _conditioning(self, z_e: Tensor) -> Tensor:
        return self.quantizer.encode(z_e) if self.discrete else self.bottleneck.latents(z_e).float()

    def _joined(self, wav: Tensor | np.ndarray, *views: Callable[[Tensor], Tensor]) -> list[Tensor]:
        found = in_blocks(self.encoder, [wav], *views)
        return [torch.cat(of, -1) for of in zip(*found, strict=True)]

    @torch.inference_mode()
    def condition(
        self, conditioning: Tensor, speaker: str, contour: Tensor | np.ndarray | None = None
    ) -> Condition:
        """Compute what conditions the WaveNet.

        Parameters
        ----------
        conditioning : Tensor
            Codes, int64, (frames,), in [0, codebook_size); or latents, float, (dim, frames).
        speaker : str
            Whose voice.
        contour : Tensor or ndarray, optional
            Float, (condition frames,), F0 in Hz, 0 where unvoiced. Without one a decoder with pitch predicts it from
            codes and speaker; a decoder without pitch does not look at it.

        Returns
        -------
        Condition
            For frames * hop / condition_hop condition frames, on the device of the model.

        Raises
        ------
        VqspeechError
            The model does not know the speaker, or has no codes and is given some, or the contour has another length
            or holds what is no frequency.
        """
        z_q, index = self._latents(conditioning, speaker)
        plain = self.decoder.conditioner(z_q, index)
        pitch = self.decoder.pitch
        if pitch is None:
            f0 = None
        elif contour is None:
            f0 = pitch.contour(pitch.predict(plain), index)
        else:
            f0 = self._checked_contour(contour, plain.shape[1])[None]
        condition, lag = self.decoder.with_contour(plain, f0)
        spectrum = self.decoder.spectrum(z_q, index, plain, f0)
        return Condition(
            condition[0],
            None if lag is None else lag[0],
            None if spectrum is None else spectrum[0],
        )

    def _latents(self, conditioning: Tensor, speaker: str) -> tuple[Tensor, Tensor]:
        """Latents and index of the speaker; batches of one."""
        index = torch.tensor([self.speaker_index(speaker)], device=self.device)
        batch = conditioning[None].to(self.device)
        z_q = batch if batch.is_floating_point() else self.quantizer.dequantize(batch)
        return z_q, index

    @torch.inference_mode()
    def contour(
        self,
        conditioning: Tensor,
        speaker: str,
        source: np.ndarray | None = None,
        semitones: float = 0.0,
        *,
        seed: int | None = None,
    ) -> Tensor:
        """Make the pitch contour of a decoding, for `condition` and `decode`.

        Parameters
        ----------
        conditioning : Tensor
            Codes, int64, (frames,), or latents, float, (dim, frames).
        speaker : str
            Whose voice.
        source : ndarray, optional
            Contour of the recording that the codes are of, from `pitch.track`: it is smoothed and moved to
            the speaker's mean and deviation. Without it the contour is predicted from codes and speaker.
        semitones : float
            Added to either.
        seed : int, optional
            Without a source: draw the contour with this seed from the distribution that the decoder learned; else it is
            the one that the pitch head predicts.

        Returns
        -------
        Tensor
            float32, (condition frames,), F0 in Hz, 0 where unvoiced, on the CPU.

        Raises
        ------
        VqspeechError
            The decoder takes no pitch, or has no distribution to draw from, or what `condition` raises.
        """
        pitch = self.decoder.pitch
        if pitch is None:
            raise VqspeechError("the model takes no pitch: its decoder was trained without")
        if source is not None:
            hop = self.decoder.condition_hop
            voice = Voice(*pitch.voices[self.speaker_index(speaker)].tolist())
            frames = conditioning.shape[-1] * (self.hop // hop)
            moved = move(smooth(source), voice, semitones)
            return torch.from_numpy(look_up(moved, 0, frames, hop, self.sample_rate))
        z_q, index = self._latents(conditioning, speaker)
        if seed is None:
            plain = self.decoder.conditioner(z_q, index)
            found: Tensor | None = pitch.contour(pitch.predict(plain), index)
        else:
            found = self.decoder.draw_contour(z_q, index, torch.Generator().manual_seed(seed))
        if found is None:
            raise VqspeechError(
                "the model has no distribution of pitch contours to draw from; use the predicted one"
            )
        return found[0].cpu() * 2 ** (semitones / 12)

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
        """Decode one code sequence.

        Parameters
        ----------
        codes, speaker, samples, seed, contour
            See `vqspeech.models.decoding.Request`.
        sampling : Sampling
            How levels are drawn, and by what.
        progress : callable, optional
            Called with samples done and samples in all, now and then.

        Returns
        -------
        Tensor
            float32 in [-1, 1], (samples,), on the CPU.

        Raises
        ------
        ConfigurationError
            There is no such engine or mode, or the engine cannot run here.
        VqspeechError
            Unknown speaker, or codes, a length or a contour that cannot belong to this model.
        """
        request = Request(codes, speaker, samples, seed, contour)
        return dict(self.decode_many([request], sampling, progress))[0]

    def decode_many(
        self,
        requests: Iterable[Request],
        sampling: Sampling = DEFAULT,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """Decode several code sequences together, longest first; arguments and errors are those of `decode`.

        Yields
        ------
        place : int
            Of a request.
        wav : Tensor
            What `decode` returns for it, as soon as it is whole.
        """
        return decoding.decode_many(self, requests, sampling, progress)

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
        """Decode one code sequence and hand out the recording as it is made; arguments and errors as for `decode`.

        Arguments are checked at once, not when the first block is asked for. Closing the iterator ends the work.

        Returns
        -------
        iterator of Tensor
            float32 in [-1, 1], on the CPU, at least one sample each. Joined, they are what `decode` returns.
        """
        request = Request(codes, speaker, samples, seed, contour)
        blocks = decoding.decode_blocks(self, [request], sampling)
        return (block for (block,) in blocks if len(block))

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
            deviation; from codes and speaker, ``predicted``, the mean, or ``drawn``.
        semitones : float
            Added to the contour; other than 0, the decoder must take pitch.
        seed, sampling, progress
            See `decode`.

        Returns
        -------
        Tensor
            float32 in [-1, 1], (samples,), on the CPU.

        Raises
        ------
        ConfigurationError
            `pitch` is none of the three.
        VqspeechError
            See `contour` and `decode`.
        """
        if pitch not in PITCH:
            raise ConfigurationError(f"pitch {pitch!r}: choose one of {', '.join(PITCH)}")
        conditioning, contour = self.conditioning(wav), None
        if self.decoder.pitch is not None or semitones:
            tracked = None
            if pitch == "source" and self.decoder.pitch is not None:
                tracked = track(torch.as_tensor(wav).numpy(), self.sample_rate)
            drawn = seed if pitch == "drawn" else None
            contour = self.contour(conditioning, speaker, tracked, semitones, seed=drawn)
        return self.decode(
            conditioning,
            speaker,
            len(wav),
            seed=seed,
            sampling=sampling,
            contour=contour,
            progress=progress,
        )

    @torch.inference_mode()
    def contour_nll(
        self, conditioning: Tensor, speaker: str, contour: Tensor | np.ndarray
    ) -> tuple[Tensor, Tensor] | None:
        """Negative log-likelihood of a pitch contour given codes and speaker.

        With that of the recording given the contour, `nll`, it bounds that of the recording from above.

        Parameters
        ----------
        conditioning, speaker, contour
            See `condition`.

        Returns
        -------
        nats : Tensor
            float32, (condition frames,), on the CPU.
        coded : Tensor
            float32, (condition frames,): the contour that this is of, with log-F0 linear from knot to knot.
            Nothing is returned where the decoder has no distribution of contours.
        """
        z_q, index = self._latents(conditioning, speaker)
        frames = z_q.shape[2] * self.hop // self.decoder.condition_hop
        given = self._checked_contour(contour, frames)[None]
        found = self.decoder.contour_nll(z_q, index, given)
        return None if found is None else (found[0][0].cpu(), found[1][0].cpu())

    @torch.inference_mode()
    def nll(
        self,
        levels: Tensor,
        conditioning: Tensor,
        speaker: str,
        contour: Tensor | np.ndarray | None = None,
    ) -> Tensor:
        """Negative log-likelihood of a recording given its conditioning, exact, in windows of bounded memory.

        Parameters
        ----------
        levels : Tensor
            int64, (samples,): mu-law levels of the recording.
        conditioning : Tensor
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
        condition, lag, _ = self.condition(conditioning, speaker, contour)
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
