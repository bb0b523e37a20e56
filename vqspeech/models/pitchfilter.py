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
        self.before = (torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.int64))

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
        lag = self.lag[self.frame : self.frame + FRAMES]
        gains, lags = self._search(span, lag)
        gains_then = torch.cat([self.before[0], gains])
        lags_then = torch.cat([self.before[1], lags])
        self.before = gains[-1:], lags[-1:]
        here = self.reach + torch.arange(FRAMES * self.hop).view(FRAMES, self.hop)
        if not gains_then.any():
            return span[here].flatten()
        # each frame begins with the filter of the one before it, and fades to its own
        then, own = (
            _average(span, here, gains_then[part], lags_then[part])
            for part in (slice(None, -1), slice(1, None))
        )
        return torch.lerp(then, own, self.fade).flatten()

    def _search(self, span: Tensor, lag: Tensor) -> tuple[Tensor, Tensor]:
        """Gains and lags, (frames, 2), towards the past and the future."""
        gains, lags = torch.zeros(FRAMES, 2), torch.zeros(FRAMES, 2, dtype=torch.int64)
        if not lag.any():
            return gains, lags
        starts = self.reach + torch.arange(FRAMES) * self.hop + (self.hop - WINDOW) // 2
        offsets = torch.arange(-self.spread, self.spread + 1)
        own = span[starts[:, None] + torch.arange(WINDOW)]
        spectrum = torch.fft.rfft(own, self.n_fft).conj()
        near = (lag > 0)[:, None] & (offsets.abs() <= (NEAR * lag)[:, None])
        compared = torch.arange(WINDOW + 2 * self.spread)
        for side, sign in enumerate((-1, 1)):
            first = starts + sign * lag - self.spread
            around = span[first[:, None] + compared]
            products = torch.fft.irfft(torch.fft.rfft(around, self.n_fft) * spectrum, self.n_fft)
            sums = F.pad(around.double().square().cumsum(1), (1, 0))
            energies = (sums[:, WINDOW:] - sums[:, :-WINDOW]).float()
            norm = (own.square().sum(1, keepdim=True) * energies).sqrt()
            correlation = torch.where(near, products[:, : len(offsets)] / (norm + 1e-6), 0)
            highest, place = correlation.max(1)
            gains[:, side] = self.strength * highest
            lags[:, side] = sign * lag + offsets[place]
        return gains, lags


def _average(span: Tensor, here: Tensor, gains: Tensor, lags: Tensor) -> Tensor:
    """Weighted mean of the samples `here`, (frames, hop), and those at `lags` from them."""
    sum_ = span[here]
    for gain, lag in zip(gains.T, lags.T, strict=True):
        sum_ = sum_ + gain[:, None] * span[here + lag[:, None]]
    return sum_ / (1 + gains.sum(1, keepdim=True))
