"""The decoder: a WaveNet conditioned, frame by frame, on latents and a speaker."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.nn.contour import ContourModel, coded
from vqspeech.nn.pitch import Pitch, features, lags
from vqspeech.nn.spectral import SpectralHead
from vqspeech.nn.wavenet import WaveNet

MAX_CONTEXT = 64
"""Most latents of context to either side of a condition; a model file with more is refused."""


class Conditioner(nn.Module):
    """Mixes latents of a few neighbouring frames and a speaker vector into a condition per frame.

    Parameters
    ----------
    dim : int
        Dimension of the latents.
    speakers : int
        Number of speakers.
    speaker_dim : int
        Dimension of the speaker vector.
    channels : int
        Channels of the condition.
    context : int
        Residual convolutions of width 3 over frames; each adds one latent of context to either side; at most
        `MAX_CONTEXT`.
    upsample : int
        Conditions per latent: a long frame is split into as many parts, each with its own condition.
    """

    def __init__(
        self,
        dim: int,
        speakers: int,
        speaker_dim: int,
        channels: int,
        context: int,
        upsample: int,
    ) -> None:
        super().__init__()
        if not 0 <= context <= MAX_CONTEXT:
            raise ValueError(f"context {context}: expected 0 to {MAX_CONTEXT}")
        self.upsample = upsample
        self.speaker = nn.Embedding(speakers, speaker_dim)
        self.input = nn.Conv1d(dim + speaker_dim, channels, 1)
        self.context = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, padding=1) for _ in range(context)
        )
        self.split = nn.Conv1d(channels, channels * upsample, 1)

    def forward(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        """Compute conditions.

        Parameters
        ----------
        z_q : Tensor
            (batch, dim, frames).
        speaker : Tensor
            int64, (batch,).

        Returns
        -------
        Tensor
            (batch, frames * upsample, channels).
        """
        voice = self.speaker(speaker)[:, :, None].expand(-1, -1, z_q.shape[2])
        x = self.input(torch.cat([z_q, voice.to(z_q.dtype)], 1))
        for convolution in self.context:
            x = x + convolution(F.relu(x))
        # (batch, upsample * channels, frames): the parts of one frame follow one another in time
        parts = self.split(F.relu(x)).unflatten(1, (self.upsample, -1))
        return parts.permute(0, 3, 1, 2).flatten(1, 2)


class SpectralConditioner(nn.Module):
    """A conditioner for the spectral head alone, which can train on its own after the WaveNet or before it.

    Parameters
    ----------
    conditioner : Conditioner
        Of latents and speaker.
    channels : int
        Channels of its condition.
    pitch : bool
        Whether F0 and voicing are in the condition, too.
    """

    def __init__(self, conditioner: Conditioner, channels: int, pitch: bool) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.columns = nn.Linear(3, channels, bias=False) if pitch else None

    def forward(self, z_q: Tensor, speaker: Tensor, contour: Tensor | None) -> Tensor:
        """Condition (batch, frames * upsample, channels) of latents, speakers and a contour in Hz."""
        condition = self.conditioner(z_q, speaker)
        if self.columns is None or contour is None:
            return condition
        return condition + self.columns(features(contour))


class Decoder(nn.Module):
    """A WaveNet conditioned on latents and speaker.

    Parameters
    ----------
    dim, speakers, levels, hop, sample_rate : int
        Dimension of the latents, number of speakers, classes of a sample, samples per latent, Hz.
    dilations, residual_channels, gate_channels, skip_channels
        See `WaveNet`.
    condition_channels, speaker_dim, context, upsample
        See `Conditioner`; `upsample` divides `hop`.
    spectral_channels : int
        Channels of a spectral head that stays with the decoder, for the post-filter; 0 for none.
    spectral_conditioner : int
        Channels of a conditioner that this head has to itself; 0 where it shares the WaveNet's.
    pitch : bool
        Whether F0 and voicing condition the WaveNet too, and it has pitch taps.
    contour_channels : int
        Channels of a distribution of pitch contours given codes and speaker; 0 for none.
    """

    def __init__(
        self,
        dim: int,
        speakers: int,
        levels: int,
        hop: int,
        sample_rate: int,
        *,
        dilations: Sequence[int],
        residual_channels: int,
        gate_channels: int,
        skip_channels: int,
        condition_channels: int,
        speaker_dim: int = 64,
        context: int = 2,
        upsample: int = 1,
        spectral_channels: int = 0,
        spectral_conditioner: int = 0,
        pitch: bool = False,
        contour_channels: int = 0,
    ) -> None:
        super().__init__()
        if upsample < 1 or hop % upsample:
            raise ValueError(f"upsample {upsample} does not divide the hop {hop}")
        if spectral_conditioner and not spectral_channels:
            raise ValueError(
                "spectral_conditioner: there is no spectral head, spectral_channels is 0"
            )
        if contour_channels and not pitch:
            raise ValueError("contour_channels: the decoder takes no pitch")
        self.condition_hop = hop // upsample
        size = (dim, speakers, speaker_dim)
        self.conditioner = Conditioner(*size, condition_channels, context, upsample)
        self.wavenet = WaveNet(
            levels,
            dilations,
            residual_channels,
            gate_channels,
            skip_channels,
            condition_channels,
            pitch_taps=pitch,
        )
        self.sample_rate = sample_rate
        self.pitch = Pitch(condition_channels, speakers) if pitch else None
        self.contours = (
            ContourModel(dim, speakers, contour_channels, upsample) if contour_channels else None
        )
        own = spectral_conditioner
        self.spectral = (
            SpectralHead(
                own or condition_channels,
                self.condition_hop,
                sample_rate,
                channels=spectral_channels,
            )
            if spectral_channels
            else None
        )
        self.spectral_conditioner = (
            SpectralConditioner(Conditioner(*size, own, context, upsample), own, pitch)
            if own
            else None
        )

    def spectrum(
        self, z_q: Tensor, speaker: Tensor, condition: Tensor, contour: Tensor | None
    ) -> Tensor | None:
        """Predict the log-mel spectrogram.

        Parameters
        ----------
        z_q : Tensor
            (batch, dim, frames).
        speaker : Tensor
            int64, (batch,).
        condition : Tensor
            (batch, condition frames, channels), from the conditioner.
        contour : Tensor or None
            float32, (batch, condition frames), F0 in Hz, 0 where unvoiced; ignored by a decoder without pitch.

        Returns
        -------
        Tensor or None
            See `SpectralHead`; None of a decoder without one.
        """
        if self.spectral is None:
            return None
        if self.spectral_conditioner is not None:
            condition = self.spectral_conditioner(z_q, speaker, contour)
        return self.spectral(condition)

    def with_contour(
        self, condition: Tensor, contour: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Add a pitch contour to a condition.

        Parameters
        ----------
        condition : Tensor
            (batch, frames, channels), from the conditioner.
        contour : Tensor or None
            float32, (batch, frames), F0 in Hz, 0 where unvoiced; ignored by a decoder without pitch.

        Returns
        -------
        condition : Tensor
            Of the same shape, for the WaveNet.
        lag : Tensor or None
            int64, (batch, frames), samples per period; None for a decoder without pitch.
        """
        if self.pitch is None or contour is None:
            return condition, None
        return condition + self.pitch(contour), lags(contour, self.sample_rate)

    def contour_nll(
        self, z_q: Tensor, speaker: Tensor, contour: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Negative log-likelihood of a pitch contour given latents and speaker.

        Parameters
        ----------
        z_q : Tensor
            (batch, dim, frames).
        speaker : Tensor
            int64, (batch,).
        contour : Tensor
            float32, (batch, condition frames), F0 in Hz, 0 where unvoiced.

        Returns
        -------
        nats : Tensor
            float32, (batch, condition frames).
        coded : Tensor
            float32, (batch, condition frames): the contour that this is of, with log-F0 linear from knot to knot.
            Nothing is returned by a decoder without a distribution of contours.
        """
        if self.pitch is None or self.contours is None:
            return None
        mean = self.pitch.voices[speaker, 0].float()
        known = coded(contour, mean)
        return self.contours(z_q, speaker, mean, known), known

    def draw_contour(
        self, z_q: Tensor, speaker: Tensor, generator: torch.Generator
    ) -> Tensor | None:
        """Draw a contour, (1, condition frames), of what `contour_nll` measures; batches of one, on the CPU."""
        if self.pitch is None or self.contours is None:
            return None
        return self.contours.draw(z_q, speaker, self.pitch.voices[speaker, 0].float(), generator)
