"""Perturbations of the encoder's input, while its target stays clean.

A code that depended on pitch, vocal tract, channel, level or noise would be wrong about the target half of the time, so
that codes keep the rest, the phonetic content (idea: Choi et al. 2021, arXiv 2110.14513). Draws come from torch's
generator, one set of factors per batch.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.nn.spectral import transform_length


class Perturbation(nn.Module):
    """Random pitch, formants, colour, level and noise.

    Parameters
    ----------
    sample_rate : int
        Hz.
    share : float
        Share of batches that are perturbed, in [0, 1]; some should stay clean, as in encoding.
    pitch_semitones : float
        Largest shift of pitch, up or down.
    formant_percent : float
        Largest shift of formants, up or down, independent of pitch.
    colour_db : float
        Approximate largest gain or loss of a smooth random filter.
    level_db : float
        Largest change of level, up or down.
    noise_db : float
        White noise is added, at a signal-to-noise ratio between this and 40 dB above it; 0 for none.

    Notes
    -----
    A phase vocoder stretches the recording, resampling brings it back to its length with every frequency shifted; the
    spectral envelope, from the low part of the cepstrum, is shifted separately.
    """

    def __init__(
        self,
        sample_rate: int,
        share: float,
        pitch_semitones: float,
        formant_percent: float,
        colour_db: float,
        level_db: float,
        noise_db: float,
    ) -> None:
        super().__init__()
        self.share = share
        self.pitch_semitones, self.formant_percent = pitch_semitones, formant_percent
        self.colour_db, self.level_db, self.noise_db = colour_db, level_db, noise_db
        # the envelope keeps quefrencies below 2 ms, under the period of the highest voices
        self.n_fft = transform_length(sample_rate)
        self.lifter = round(0.002 * sample_rate)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.window: Tensor
        bins = self.n_fft // 2 + 1
        advance = torch.linspace(0, math.pi * self.n_fft // 4, bins)[:, None]
        self.register_buffer("advance", advance, persistent=False)
        self.advance: Tensor

    @torch.no_grad()
    def forward(self, wav: Tensor) -> Tensor:
        """Perturb recordings, float32 (batch, samples); times stay as they are."""
        chance, pitch, formant, level, noise = torch.rand(5).tolist()
        if chance >= self.share:
            return wav
        pitch = 2 ** ((2 * pitch - 1) * self.pitch_semitones / 12)
        formant = 1 + (2 * formant - 1) * self.formant_percent / 100
        moved = self._move(wav, pitch, formant)
        moved = moved * 10 ** ((2 * level - 1) * self.level_db / 20)
        if self.noise_db:
            ratio_db = self.noise_db + 40 * noise
            loudness = moved.square().mean(-1, keepdim=True).sqrt()
            moved = moved + torch.randn_like(moved) * loudness * 10 ** (-ratio_db / 20)
        return moved

    def _move(self, wav: Tensor, pitch: float, formant: float) -> Tensor:
        samples, hop = wav.shape[-1], self.n_fft // 4
        if samples <= self.n_fft:
            return wav
        spectrum = torch.stft(wav, self.n_fft, hop, window=self.window, return_complex=True)
        bins = spectrum.shape[1]
        cepstrum = torch.fft.irfft(spectrum.abs().clamp(min=1e-5).log(), dim=1)
        cepstrum[:, self.lifter : -self.lifter + 1] = 0
        envelope = torch.fft.rfft(cepstrum, dim=1).real
        # resampling shifts the envelope by `pitch`; the result must be `formant`
        source = torch.arange(bins, device=wav.device) * (pitch / formant)
        low = source.long().clamp(max=bins - 2)
        share = (source - low).clamp(max=1)[:, None]
        wanted = envelope[:, low] * (1 - share) + envelope[:, low + 1] * share
        gain = wanted - envelope + self._colour(bins, wav.device)
        spectrum = spectrum * gain.exp()
        # not installed on every training machine, and seldom needed
        from torchaudio.functional import phase_vocoder

        stretched = phase_vocoder(spectrum, 1 / pitch, self.advance)
        longer = torch.istft(
            stretched, self.n_fft, hop, window=self.window, length=round(samples * pitch)
        )
        return F.interpolate(longer[:, None], size=samples, mode="linear")[:, 0]

    def _colour(self, bins: int, device: torch.device) -> Tensor:
        """Gain of a smooth random filter in nepers, (bins, 1): a few cosines over the frequencies."""
        orders = torch.arange(1, 6)[:, None] * torch.linspace(0, math.pi, bins)
        heights = torch.randn(5) * self.colour_db * math.log(10) / 20 / math.sqrt(5 / 2)
        return (heights @ torch.cos(orders))[:, None].to(device)
