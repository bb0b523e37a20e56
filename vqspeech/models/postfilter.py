"""The post-filter: what a WaveNet has said, moved to the spectrum that its conditions ask for.

A WaveNet draws every sample, and what is drawn holds noise where a recording has valleys between formants, the more so
the less the WaveNet was trained. The decoder's spectral head tells from the same conditions how loud each band is to
be. So short pieces of what was said are weighted, band by band, towards the log-mel spectrum predicted:

y[n] = sum_j (g_j * w_j x)[n] / sum_j w_j[n],

with x what was said, w_j the window of spectral frame j, and g_j a filter without phase. Its gain in nats, at the
centre of each band and on straight lines between, is ``strength`` times predicted - found: a mean of that over some
50 ms, and a part of what the frame itself differs from this mean. What no prediction knows is not ironed out with the
noise: the rise and fall within pitch periods, and the grain of a voice.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vqspeech.nn.spectral import FLOOR, SpectralHead

FRAMES = 16
"""Spectral frames that are filtered together. They are always as many, and always the same ones, so that the bits that
come out do not depend on the blocks that go in."""

REACH = 5
"""Spectral frames to either side that a mean is taken over, weighted by a Hann window."""

OWN = 0.5
"""Share of what a frame's own difference departs from that mean."""

LARGEST = 3.0
"""Largest gain or loss in nats, 26 dB: noise in a pause is not dug out."""


LIFT, MOST_LIFTED = 0.3, 0.6
"""Share of what a band lies below its mean that it is lifted by, and the most, in nats: 5 dB."""


def lift_weak(predicted: Tensor) -> Tensor:
    """Lift what is weak in a spectrum predicted, (bands, frames): weak consonants are lost before vowels are.

    A mild compression of the dynamic range, as Zorila, Kandia and Stylianou 2012, Speech-in-noise intelligibility
    improvement based on spectral shaping and dynamic range compression, use against noise.
    """
    below = predicted.mean(1, keepdim=True) - predicted
    return predicted + (LIFT * below).clamp(0, MOST_LIFTED)


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
        weights = torch.hann_window(2 * REACH + 3, periodic=False)[1:-1]
        self.weights = (1 - OWN) * weights / weights.sum()
        self.weights[REACH] += OWN
        self.frames = -(-samples // self.hop)
        self.predicted = predicted[:, : self.frames].detach().float().cpu().T
        # the first frame starts before the recording does
        self.to_skip = (self.n_fft - self.hop) // 2
        self.held = torch.zeros(self.to_skip)
        self.arrived = self.given = self.analysed = 0
        # spectrum and difference of the group that waits for the differences after it
        self.waiting: tuple[Tensor, Tensor] | None = None
        self.earlier = torch.empty(0)
        self.begun = torch.zeros(2, self.n_fft - self.hop)

    def __call__(self, block: Tensor) -> Tensor:
        """Filter what follows.

        Parameters
        ----------
        block : Tensor
            float32, (samples,), on the CPU.

        Returns
        -------
        Tensor
            float32 in [-1, 1]: what is finished, some 0.1 to 0.2 s behind, and with the last block the rest.
        """
        self.arrived += len(block)
        self.held = torch.cat([self.held, block])
        span, step = (FRAMES - 1) * self.hop + self.n_fft, FRAMES * self.hop
        ended = self.arrived == self.samples
        if ended:
            groups = -(-(self.frames - self.analysed) // FRAMES)
            self.held = F.pad(self.held, (0, max(0, (groups - 1) * step + span - len(self.held))))
        done = [torch.empty(0)]
        while self.analysed < self.frames and len(self.held) >= span:
            group = self._analyse(self.held[:span])
            self.held = self.held[step:]
            if self.waiting is None:
                self.earlier = group[1][:1].expand(REACH, -1)
            else:
                done.append(self._synthesise(group[1][:REACH]))
            self.waiting = group
        if ended and self.waiting is not None:
            done.append(self._synthesise(self.waiting[1][-1:].expand(REACH, -1)))
            done.append(_mean(self.begun))
            self.waiting = None
        finished = torch.cat(done)
        skipped = min(self.to_skip, len(finished))
        self.to_skip -= skipped
        finished = finished[skipped : skipped + self.samples - self.given]
        self.given += len(finished)
        return finished.clamp(-1, 1)

    def _analyse(self, span: Tensor) -> tuple[Tensor, Tensor]:
        """Spectrum of the next `FRAMES` frames, and predicted - found; after the last frame that stays what it was."""
        predicted = self.predicted[self.analysed : self.analysed + FRAMES]
        self.analysed += FRAMES
        spectrum = torch.fft.rfft(span.unfold(0, self.n_fft, self.hop) * self.window)
        found = (spectrum.abs() @ self.filters).clamp(min=FLOOR).log()
        difference = (predicted - found[: len(predicted)]).clamp(-LARGEST, LARGEST)
        missing = FRAMES - len(predicted)
        return spectrum, torch.cat([difference, difference[-1:].expand(missing, -1)])

    def _synthesise(self, later: Tensor) -> Tensor:
        """Filter the group that waits, given the `REACH` differences after it; returns what no later frame reaches."""
        assert self.waiting is not None
        spectrum, difference = self.waiting
        around = torch.cat([self.earlier, difference, later])
        wanted = around.unfold(0, 2 * REACH + 1, 1) @ self.weights
        gain = (self.strength * wanted @ self.lines).exp()
        filtered = torch.fft.irfft(spectrum * gain, self.n_fft)
        self.earlier = difference[-REACH:]

        step, span = FRAMES * self.hop, (FRAMES - 1) * self.hop + self.n_fft
        sums = F.pad(self.begun, (0, span - self.begun.shape[1]))
        for j, piece in enumerate(filtered):
            part = sums[:, j * self.hop : j * self.hop + self.n_fft]
            part[0] += piece
            part[1] += self.window
        self.begun = sums[:, step:]
        return _mean(sums[:, :step])


def _mean(sums: Tensor) -> Tensor:
    """Divide the sum of pieces by that of windows; where no window reaches there is no recording either."""
    return sums[0] / sums[1].clamp(min=1e-6)
