"""The post-filter: what a WaveNet has said, moved to the spectrum that its conditions ask for.

A WaveNet draws every sample, and what is drawn holds noise where a recording has valleys between formants, the more so
the less the WaveNet was trained. The decoder's spectral head tells from the same conditions how loud each band is to
be. So short pieces of what was said are weighted, band by band, until their log-mel spectrum is the one predicted:

y[n] = sum_j (g_j * w_j x)[n] / sum_j w_j[n],

with x what was said, w_j the window of spectral frame j, and g_j a filter without phase whose gain in nats is
``strength * (predicted - found)`` at the centre of each band, and on straight lines between.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vqspeech.nn.spectral import FLOOR, SpectralHead

FRAMES = 16
"""Spectral frames that are filtered together. They are always as many, and always the same ones, so that the bits that
come out do not depend on the blocks that go in."""

LARGEST = 3.0
"""Largest gain or loss in nats, 26 dB: noise in a pause is not dug out."""


def between_bands(filters: Tensor) -> Tensor:
    """Weights that draw straight lines between the centres of bands, and level ones beyond the outermost.

    Parameters
    ----------
    filters : Tensor
        (bins, bands): triangles that reach from centre to centre.

    Returns
    -------
    Tensor
        (bins, bands): every row sums to 1.
    """
    weights = filters.clone()
    missing = (1 - weights.sum(1)).clamp(min=0)
    middle = len(filters) // 2
    weights[:middle, 0] += missing[:middle]
    weights[middle:, -1] += missing[middle:]
    return weights / weights.sum(1, keepdim=True)


class PostFilter:
    """Filters one stream of sound that comes in blocks.

    Parameters
    ----------
    head : SpectralHead
        What made the prediction.
    predicted : Tensor
        (bands, frames): natural logarithms of magnitudes.
    samples : int
        Length of the stream; at most ``frames * head.frame_hop``.
    strength : float
        Share of the way from the spectrum found to the one predicted, from 0 to 1.
    """

    def __init__(
        self, head: SpectralHead, predicted: Tensor, samples: int, strength: float
    ) -> None:
        log_mel = head.log_mel()
        self.samples, self.strength = samples, strength
        self.hop, self.n_fft = log_mel.hop, log_mel.n_fft
        self.window, self.filters = log_mel.window, log_mel.filters
        self.lines = between_bands(self.filters).T
        self.predicted = predicted[:, : -(-samples // self.hop)].detach().float().cpu().T
        # all that follows counts samples from where the first frame starts, before the recording does
        self.lead = (self.n_fft - self.hop) // 2
        self.held = torch.zeros(self.lead)
        self.begun = torch.zeros(2, self.n_fft - self.hop)
        self.frame = self.arrived = 0

    def __call__(self, block: Tensor) -> Tensor:
        """Filter what follows.

        Parameters
        ----------
        block : Tensor
            float32, (samples,), on the CPU.

        Returns
        -------
        Tensor
            float32 in [-1, 1]: what is finished, which is some 20 to 100 ms behind, and with the last block the rest.
        """
        self.arrived += len(block)
        self.held = torch.cat([self.held, block])
        span, step = (FRAMES - 1) * self.hop + self.n_fft, FRAMES * self.hop
        first = self.frame * self.hop
        if self.arrived == self.samples:
            left = self.lead + self.samples - first
            groups = -(-left // step)
            self.held = F.pad(self.held, (0, max(0, (groups - 1) * step + span - len(self.held))))
        done = [torch.empty(0)]
        while len(self.held) >= span:
            done.append(self._group(self.held[:span]))
            self.held = self.held[step:]
        finished = torch.cat(done)
        before_start = max(0, self.lead - first)
        return finished[before_start : self.lead + self.samples - first].clamp(-1, 1)

    def _group(self, span: Tensor) -> Tensor:
        """Filter `FRAMES` frames; returns what no later frame reaches."""
        predicted = self.predicted[self.frame : self.frame + FRAMES]
        self.frame += FRAMES
        frames, missing = len(predicted), FRAMES - len(predicted)
        pieces = span.unfold(0, self.n_fft, self.hop) * self.window
        spectrum = torch.fft.rfft(pieces)
        found = (spectrum.abs() @ self.filters).clamp(min=FLOOR).log()
        gain = self.strength * (F.pad(predicted, (0, 0, 0, missing)) - found)
        gain = (gain.clamp(-LARGEST, LARGEST) @ self.lines).exp()
        filtered = torch.fft.irfft(spectrum * gain, self.n_fft)

        sums = torch.zeros(2, len(span))
        sums[:, : self.begun.shape[1]] = self.begun
        for j in range(frames):
            sums[0, j * self.hop : j * self.hop + self.n_fft] += filtered[j]
            sums[1, j * self.hop : j * self.hop + self.n_fft] += self.window
        step = FRAMES * self.hop
        self.begun = sums[:, step:]
        # where no window reaches there is no recording either
        return sums[0, :step] / sums[1, :step].clamp(min=1e-6)
