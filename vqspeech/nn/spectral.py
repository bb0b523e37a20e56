"""A spectral head: the log-mel spectrogram predicted from the WaveNet's condition.

It costs a hundredth of a WaveNet, so encoder, codebook and conditioner can train on far more speech in the same time,
before the WaveNet starts or beside it: the condition then already determines a spectrum. A decoder that keeps its head
can compare the WaveNet's output with it.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR = 1e-5
"""Magnitude below which a mel band counts as silent; -100 dB of full scale."""


def mel_filterbank(sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Triangular filters of peak 1, evenly spaced on the HTK mel scale up to Nyquist: (n_fft // 2 + 1, n_mels)."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    mels = torch.linspace(0, top, n_mels + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mels / 2595) - 1)
    hz = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


def transform_length(sample_rate: int) -> int:
    """Samples of a Fourier transform: the power of 2 nearest to 32 ms, on a scale of octaves."""
    return 2 ** round(math.log2(0.032 * sample_rate))


def parts_of(hop: int, longest: int) -> int:
    """Fewest equal parts of a hop, each of at most `longest` samples."""
    return next(n for n in range(1, hop + 1) if hop % n == 0 and hop // n <= longest)


def masked_mean(error: Tensor, mask: Tensor) -> Tensor:
    """Mean of an error (batch, frames * parts) over frames inside the recording, where mask (batch, frames) is True."""
    weight = mask.repeat_interleave(error.shape[1] // mask.shape[1], 1).float()
    return (error * weight).sum() / weight.sum().clamp(min=1)


class LogMel(nn.Module):
    """Log-mel spectrogram whose frame j is centred on samples [j * hop, (j + 1) * hop).

    Parameters
    ----------
    sample_rate : int
        Hz.
    hop : int
        Samples per frame.
    n_fft : int
        Transform length in samples.
    n_mels : int
        Number of bands.

    Notes ----- The Hann window is half as long as the transform, 16 ms at 16 kHz and 512 samples: too short to resolve
    the harmonics of most voices, so that codes spend nothing on the pitch of the speaker.
    """

    def __init__(self, sample_rate: int, hop: int, n_fft: int = 512, n_mels: int = 64) -> None:
        super().__init__()
        self.hop, self.n_fft, self.n_mels = hop, n_fft, n_mels
        window = F.pad(torch.hann_window(n_fft // 2), (n_fft // 4, n_fft // 4))
        self.register_buffer("window", window, persistent=False)
        self.register_buffer(
            "filters", mel_filterbank(sample_rate, n_fft, n_mels), persistent=False
        )
        self.window: Tensor
        self.filters: Tensor

    def forward(self, wav: Tensor) -> Tensor:
        """Map wav (batch, frames * hop) to natural log magnitudes (batch, n_mels, frames)."""
        before = (self.n_fft - self.hop) // 2
        padded = F.pad(wav, (before, self.n_fft - self.hop - before))
        spectrum = torch.stft(
            padded, self.n_fft, self.hop, window=self.window, center=False, return_complex=True
        )
        return (self.filters.T @ spectrum.abs()).clamp(min=FLOOR).log()


class SpectralHead(nn.Module):
    """Predicts the log-mel spectrogram from conditions.

    Parameters
    ----------
    condition_channels, hop, sample_rate : int
        Channels of a condition, samples per condition, Hz.
    channels : int
        Channels of its hidden layer.
    longest : int
        Most samples per spectral frame; the largest divisor of `hop` not above it is used.

    Attributes
    ----------
    frame_hop, n_fft, n_mels : int
        Of the spectrogram, as for `LogMel`.
    """

    def __init__(
        self,
        condition_channels: int,
        hop: int,
        sample_rate: int,
        *,
        channels: int = 256,
        longest: int = 80,
    ) -> None:
        super().__init__()
        parts = parts_of(hop, longest)
        self.frame_hop, self.sample_rate = hop // parts, sample_rate
        self.n_fft = transform_length(sample_rate)
        self.n_mels = self.n_fft // 8
        self.hidden = nn.Linear(condition_channels, channels)
        self.output = nn.Linear(channels, parts * self.n_mels)

    def log_mel(self) -> LogMel:
        """Make the target's transform; it has no weights and is in no model file."""
        return LogMel(self.sample_rate, self.frame_hop, self.n_fft, self.n_mels)

    def forward(self, condition: Tensor) -> Tensor:
        """Predict log magnitudes.

        Parameters
        ----------
        condition : Tensor
            (batch, conditions, condition_channels).

        Returns
        -------
        Tensor
            (batch, n_mels, conditions * hop / frame_hop), natural logarithms.
        """
        rows = self.output(F.relu(self.hidden(F.relu(condition))))
        # the parts of one condition follow one another in time
        return rows.unflatten(2, (-1, self.n_mels)).flatten(1, 2).transpose(1, 2)


class SpectralLoss(nn.Module):
    """Mean absolute error of a log-mel spectrogram, nats of magnitude, against `log_mel` of the recording."""

    def __init__(self, log_mel: LogMel) -> None:
        super().__init__()
        self.log_mel = log_mel

    def forward(self, predicted: Tensor, wav: Tensor, mask: Tensor) -> Tensor:
        """Error of predicted (batch, n_mels, spectral frames) against a wav (batch, spectral frames * hop).

        mask (batch, frames) is False after the end of the recording; `frames` divides the number of spectral frames.
        """
        with torch.autocast(wav.device.type, enabled=False):
            error = (predicted.float() - self.log_mel(wav.float())).abs().mean(1)
            return masked_mean(error, mask)
