"""A cepstral head: one vector of normalised cepstra predicted from each code and the speaker, for training only.

The target describes the span of a code as a whole, as the features of a recogniser do, and no detail within it: codes
of 40 ms then cluster as cepstra do. The head is not part of a model file.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.nn.spectral import LogMel, masked_mean, parts_of, transform_length

COEFFICIENTS = 13
DELTA_REACH = 4
"""Frames to either side that a difference is fitted over."""

WEIGHTS = (1.0, 0.7, 0.4)
"""Of cepstra, first and second differences: clusters of these separate phones better than with equal weights."""


def cosine_transform(coefficients: int, bands: int) -> Tensor:
    """Orthonormal discrete cosine transform of type II, (bands, coefficients)."""
    band = torch.arange(bands, dtype=torch.float64)[:, None] + 0.5
    order = torch.arange(coefficients, dtype=torch.float64)
    matrix = torch.cos(math.pi / bands * band * order) * math.sqrt(2 / bands)
    matrix[:, 0] /= math.sqrt(2)
    return matrix.float()


class Cepstra(nn.Module):
    """Mel-frequency cepstra and their first and second differences, averaged over each code.

    Taken about every 10 ms, normalised to mean 0 and variance 1 over the recording part of a segment, then weighted.

    Parameters
    ----------
    sample_rate : int
        Hz.
    hop : int
        Samples per code.
    """

    def __init__(self, sample_rate: int, hop: int) -> None:
        super().__init__()
        self.parts = parts_of(hop, round(0.01 * sample_rate))
        self.log_mel = LogMel(
            sample_rate, hop // self.parts, transform_length(sample_rate), n_mels=40
        )
        self.register_buffer("transform", cosine_transform(COEFFICIENTS, 40), persistent=False)
        self.transform: Tensor
        weights = torch.tensor(WEIGHTS).repeat_interleave(COEFFICIENTS)[:, None]
        self.register_buffer("weights", weights, persistent=False)
        self.weights: Tensor
        reach = torch.arange(-DELTA_REACH, DELTA_REACH + 1.0)
        self.register_buffer("slope", (reach / reach.square().sum())[None, None], persistent=False)
        self.slope: Tensor

    @property
    def size(self) -> int:
        """Values per code."""
        return 3 * COEFFICIENTS

    def forward(self, wav: Tensor, mask: Tensor) -> Tensor:
        """Cepstra (batch, size, frames) of a wav (batch, frames * hop); mask (batch, frames) is False past the end."""
        cepstra = (self.log_mel(wav).transpose(1, 2) @ self.transform).transpose(1, 2)
        first = self._difference(cepstra)
        rows = torch.cat([cepstra, first, self._difference(first)], 1)
        inside = mask.repeat_interleave(self.parts, 1)[:, None].float()
        count = inside.sum(2, keepdim=True).clamp(min=1)
        rows = rows - (rows * inside).sum(2, keepdim=True) / count
        deviation = ((rows.square() * inside).sum(2, keepdim=True) / count).sqrt()
        # a silent segment must not be amplified
        rows = rows / (deviation + 0.05) * self.weights
        return rows.unflatten(2, (-1, self.parts)).mean(3)

    def _difference(self, rows: Tensor) -> Tensor:
        padded = F.pad(rows, (DELTA_REACH, DELTA_REACH), mode="replicate")
        return F.conv1d(padded.flatten(0, 1)[:, None], self.slope).view_as(rows)


class CepstralHead(nn.Module):
    """Predicts `Cepstra` from latents and speaker; the loss is the mean squared error.

    Parameters
    ----------
    dim, speakers, hop, sample_rate : int
        Dimension of the latents, number of speakers, samples per latent, Hz.
    channels : int
        Channels of its hidden layer.
    """

    def __init__(
        self, dim: int, speakers: int, hop: int, sample_rate: int, *, channels: int = 256
    ) -> None:
        super().__init__()
        self.cepstra = Cepstra(sample_rate, hop)
        self.speaker = nn.Embedding(speakers, 64)
        self.input = nn.Conv1d(dim + 64, channels, 1)
        self.output = nn.Conv1d(channels, self.cepstra.size, 1)

    def forward(self, z_q: Tensor, speaker: Tensor, wav: Tensor, mask: Tensor) -> Tensor:
        """Mean squared error of the normalised cepstra.

        Parameters
        ----------
        z_q : Tensor
            (batch, dim, frames).
        speaker : Tensor
            int64, (batch,).
        wav : Tensor
            (batch, frames * hop).
        mask : Tensor
            bool, (batch, frames): False after the end of the recording.
        """
        voice = self.speaker(speaker)[:, :, None].expand(-1, -1, z_q.shape[2])
        hidden = F.relu(self.input(torch.cat([z_q, voice.to(z_q.dtype)], 1)))
        predicted = self.output(hidden)
        with torch.autocast(wav.device.type, enabled=False):
            error = (predicted.float() - self.cepstra(wav.float(), mask)).square().mean(1)
            return masked_mean(error, mask)
