"""The pitch filter: a comb along the pitch contour, which takes away noise between the harmonics of a voice.

Where a WaveNet's pulses wander the voice is hoarse. Each voiced frame is averaged with the sound one period before and
after it (the long-term postfilter of Chen and Gersho 1995, Adaptive postfiltering for quality enhancement of coded
speech, to both sides since what follows is known here):

y[n] = (x[n] + g1 x[n - T1] + g2 x[n + T2]) / (1 + g1 + g2).

T1 and T2 are the lags of the highest normalised cross-correlation near the period of the contour, g1 and g2 that
correlation times a strength. Where the sound is not like itself a period away, it is left as it is.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

FRAMES = 16
"""Frames filtered together: always as many and the same ones, so that no bit depends on the blocks that come in."""

WINDOW = 400
"""Samples, around the middle of a frame, that are compared."""

NEAR = 0.15
"""Largest difference of a lag from the contour's period, as a share of that."""

PASSES = 2
"""How often sound is filtered; the second time reaches two periods to either side."""

SIDES = torch.tensor([[-1], [1]])
"""Where a period is looked for: before a frame, and after it."""


class PitchFilter:
    """Filters one stream of sound that comes in blocks.

    Parameters
    ----------
    lag : Tensor
        int64, (frames,): samples of a pitch period, 0 where there is none.
    hop : int
        Samples of a frame.
    samples : int
        Length of the stream; at most ``frames * hop``.
    strength : float
        Gain at a correlation of 1, from 0 to 1.
    """

    def __init__(self, lag: Tensor, hop: int, samples: int, strength: float) -> None:
        self.hop, self.samples, self.strength = hop, samples, strength
        frames = -(-samples // hop)
        missing = -frames % FRAMES
        self.lag = F.pad(lag[:frames].cpu(), (0, missing))
        longest = int(self.lag.max()) if len(self.lag) else 0
        self.spread = int(NEAR * longest)
        # what is heard around a frame: half a window and the longest lag
        self.reach = WINDOW // 2 + longest + self.spread
        # enough for a circular correlation to hold every lag that is compared
        self.n_fft = 1 << (WINDOW + 2 * self.spread - 1).bit_length()
        self.held = torch.zeros(self.reach)
        self.arrived = self.given = self.frame = 0
        self.fade = ((torch.arange(hop) + 0.5) / (hop / 2)).clamp(max=1)
        self.before = (torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.int64))
        self.offsets = torch.arange(-self.spread, self.spread + 1)
        # where frames, and the windows compared, begin in a span
        self.starts = self.reach + hop * torch.arange(FRAMES)
        self.windows = self.starts + (hop - WINDOW) // 2

    def __call__(self, block: Tensor) -> Tensor:
        """Filter what follows.

        Parameters
        ----------
        block : Tensor
            float32, (samples,), on the CPU.

        Returns
        -------
        Tensor
            float32: what is finished, 30 to 110 ms behind, and with the last block the rest.
        """
        self.arrived += len(block)
        self.held = torch.cat([self.held, block])
        step = FRAMES * self.hop
        span = step + 2 * self.reach
        if self.arrived == self.samples:
            left = (len(self.lag) - self.frame) * self.hop
            self.held = F.pad(self.held, (0, left + 2 * self.reach - len(self.held)))
        done = [torch.empty(0)]
        while self.frame < len(self.lag) and len(self.held) >= span:
            done.append(self._filter(self.held[:span]))
            self.held = self.held[step:]
            self.frame += FRAMES
        finished = torch.cat(done)[: self.samples - self.given]
        self.given += len(finished)
        return finished

    def _filter(self, span: Tensor) -> Tensor:
        """Filter the next `FRAMES` frames, with what is around them."""
        gains, lags = self._search(span, self.lag[self.frame : self.frame + FRAMES])
        # of each frame, those of the one before it and its own: (2 sides, 2, frames)
        gains, lags = (
            torch.cat([before, found], 1).unfold(1, FRAMES, 1)
            for before, found in zip(self.before, (gains, lags), strict=True)
        )
        self.before = gains[:, 1, -1:], lags[:, 1, -1:]
        pieces = span.unfold(0, self.hop, 1)
        sound = pieces[self.starts]
        if not gains.any():
            return sound.flatten()
        around = gains[..., None] * pieces[self.starts + lags]
        means = (sound + around[0] + around[1]) / (1 + gains.sum(0))[..., None]
        return torch.lerp(means[0], means[1], self.fade).flatten()

    def _search(self, span: Tensor, lag: Tensor) -> tuple[Tensor, Tensor]:
        """Gains and lags, (2, frames), towards the past and the future."""
        gains, lags = torch.zeros(2, FRAMES), torch.zeros(2, FRAMES, dtype=torch.int64)
        if not lag.any():
            return gains, lags
        lags = SIDES * lag
        own = span.unfold(0, WINDOW, 1)[self.windows]
        width = WINDOW + 2 * self.spread
        around = span.unfold(0, width, 1)[self.windows + lags - self.spread]
        spectra = torch.fft.rfft(around, self.n_fft) * torch.fft.rfft(own, self.n_fft).conj()
        products = torch.fft.irfft(spectra, self.n_fft)[..., : len(self.offsets)]
        sums = F.pad(around.double().square().cumsum(-1), (1, 0))
        energies = (sums[..., WINDOW:] - sums[..., :-WINDOW]).float()
        norm = (own.square().sum(1, keepdim=True) * energies).sqrt()
        near = (lag > 0)[:, None] & (self.offsets.abs() <= (NEAR * lag)[:, None])
        highest, place = torch.where(near, products / (norm + 1e-6), 0).max(-1)
        return self.strength * highest, lags + self.offsets[place]
