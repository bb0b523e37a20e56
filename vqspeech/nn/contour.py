"""A distribution of pitch contours: voicing of each frame and F0 at knots, given what came before, codes and speaker.

Knots are every fourth frame that is voiced, and the first frame of each voiced stretch. From one to the next within a
stretch log-F0 is linear, and after the last it stays: F0 moves slowly, and to tell it more often costs more likelihood
of the contour than it gains of the samples. At a knot it counts in steps of 1/48 octave from the speaker's mean; the
step follows a mixture of logistic distributions, discretised as in Salimans et al. 2017 (PixelCNN++, arXiv 1701.05517,
section 2.1), most of whose components are relative to the knot before.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS_PER_OCTAVE = 48

KNOT_FRAMES = 4
"""Frames from knot to knot."""

PAST = 12
"""Frames before that a frame is predicted from; beyond them only the last knot counts."""

COMPONENTS = 4
"""Logistic distributions in a mixture; the last one is relative to the speaker's mean, the others to the last knot."""

DILATIONS = (1, 2, 4)
"""Of the convolutions of width 5 over codes: 14 of them to either side."""


class _Distribution(NamedTuple):
    """Log-odds of voicing, (...); log-weights, means and log-scales in octaves of the mixture, (..., components)."""

    voicing: Tensor
    weight: Tensor
    mean: Tensor
    scale: Tensor


class ContourModel(nn.Module):
    """Autoregressive distribution of a contour, (batch, frames * upsample), in Hz, 0 where unvoiced.

    Parameters
    ----------
    dim : int
        Dimension of the latents.
    speakers : int
        Number of speakers.
    channels : int
        Channels of its layers.
    upsample : int
        Frames of a contour per latent.
    """

    def __init__(self, dim: int, speakers: int, channels: int, upsample: int) -> None:
        super().__init__()
        self.speaker = nn.Embedding(speakers, 16)
        self.input = nn.Conv1d(dim + 16, channels, 1)
        self.context = nn.ModuleList(
            nn.Conv1d(channels, channels, 5, padding=2 * d, dilation=d) for d in DILATIONS
        )
        self.upsample = upsample
        self.part = nn.Parameter(torch.zeros(math.lcm(upsample, KNOT_FRAMES), channels))
        self.past = nn.Linear(2 * PAST + 1, channels, bias=False)
        self.hidden = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, 1 + 3 * COMPONENTS)

    def forward(self, z_q: Tensor, speaker: Tensor, mean: Tensor, contour: Tensor) -> Tensor:
        """Negative log-likelihood of a contour that `coded` made.

        Parameters
        ----------
        z_q : Tensor
            (batch, dim, frames).
        speaker : Tensor
            int64, (batch,).
        mean : Tensor
            float32, (batch,): mean of each speaker's log2 F0 in Hz.
        contour : Tensor
            float32, (batch, frames * upsample).

        Returns
        -------
        Tensor
            float32, (batch, frames * upsample), nats.
        """
        voiced = contour > 0
        height, knot = _heights(contour, mean), _knots(voiced)
        held = _held(height, knot)
        found = self._distribution(self._seen(z_q, speaker), *_past(held, voiced))
        cost = F.binary_cross_entropy_with_logits(found.voicing, voiced.float(), reduction="none")
        return cost - torch.where(knot, _log_mass(found, height), 0)

    @torch.no_grad()
    def draw(
        self, z_q: Tensor, speaker: Tensor, mean: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draw a contour, (1, frames * upsample), frame by frame; see `forward`, batches of one, on the CPU."""
        seen = self._seen(z_q, speaker)
        # of the frames so far, after as many unvoiced ones as a frame is predicted from
        held, voiced = [torch.zeros(1)] * PAST, [torch.zeros(1, dtype=torch.bool)] * PAST
        # of each frame: is it voiced, which component, where in it
        draws = torch.rand(seen.shape[1], 3, generator=generator).tolist()
        for place, (frame, draw) in enumerate(zip(seen.unbind(1), draws, strict=True)):
            last = held[-1]
            before = torch.stack(held[-PAST:], 1), torch.stack(voiced[-PAST:], 1)
            found = self._distribution(frame, _columns(*before, last), last)
            sound = draw[0] < torch.sigmoid(found.voicing)
            chosen = int((draw[1] > found.weight[0].exp().cumsum(0)[:-1]).sum())
            # the inverse of the logistic function, short of its infinite ends
            where = torch.logit(torch.tensor(draw[2]), 1e-6)
            step = _whole(found.mean[:, chosen] + found.scale[:, chosen].exp() * where)
            held.append(torch.where(_is_knot(place, sound, voiced[-1]), step, last))
            voiced.append(sound)
        return _joined(torch.stack(held[PAST:], 1), torch.stack(voiced[PAST:], 1), mean)

    def _seen(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        """What codes and speaker say, (batch, frames * upsample, channels)."""
        voice = self.speaker(speaker)[:, :, None].expand(-1, -1, z_q.shape[2])
        x = self.input(torch.cat([z_q, voice.to(z_q.dtype)], 1))
        for convolution in self.context:
            x = x + convolution(F.relu(x))
        x = x.transpose(1, 2).repeat_interleave(self.upsample, 1)
        return x + self.part[torch.arange(x.shape[1], device=x.device) % len(self.part)]

    def _distribution(self, seen: Tensor, columns: Tensor, last: Tensor) -> _Distribution:
        x = F.relu(seen + self.past(columns))
        x = x + F.relu(self.hidden(x))
        voicing, rest = self.output(x).float().split([1, 3 * COMPONENTS], -1)
        weight, mean, scale = rest.chunk(3, -1)
        near = torch.arange(COMPONENTS, device=rest.device) < COMPONENTS - 1
        return _Distribution(
            voicing[..., 0],
            weight.log_softmax(-1),
            torch.where(near, last[..., None] + 0.1 * mean, 0.5 * mean),
            # to begin with 0.02 octaves about the last knot, or 0.14 about the mean
            (scale - torch.where(near, 4.0, 2.0)).clamp(-7, -1),
        )


def coded(contour: Tensor, mean: Tensor) -> Tensor:
    """Make F0 of a contour (batch, frames) linear between knots, there whole steps from means of log2 F0 (batch,)."""
    return _joined(_heights(contour, mean), contour > 0, mean)


def _knots(voiced: Tensor) -> Tensor:
    """Which frames are knots, of voicing (batch, frames)."""
    place = torch.arange(voiced.shape[1], device=voiced.device)
    return _is_knot(place, voiced, _delayed(voiced))


def _is_knot(place: Tensor | int, voiced: Tensor, before: Tensor) -> Tensor:
    """Whether frames at these places are knots, by their voicing and that of the frame before each."""
    return voiced & ((place % KNOT_FRAMES == 0) | ~before)


def _delayed(x: Tensor) -> Tensor:
    """Of each frame the value of the one before, 0 or False of the first, (batch, frames)."""
    return F.pad(x, (1, 0))[:, :-1]


def _before(knot: Tensor) -> Tensor:
    """Place of the last knot up to each frame, -1 where there is none."""
    return torch.where(knot, torch.arange(knot.shape[1], device=knot.device), -1).cummax(1).values


def _held(height: Tensor, knot: Tensor) -> Tensor:
    """Height of the last knot up to each frame, 0 before the first."""
    before = _before(knot)
    return torch.where(before >= 0, height.gather(1, before.clamp(min=0)), 0)


def _joined(height: Tensor, voiced: Tensor, mean: Tensor) -> Tensor:
    """Contour in Hz, linear in the heights at knots within a voiced stretch."""
    knot = _knots(voiced)
    before = _before(knot).clamp(min=0)
    after = _before(knot.flip(1)).flip(1)
    ahead = torch.where(after < 0, before, knot.shape[1] - 1 - after)
    # each stretch begins with a knot: the next one is of the same stretch unless it begins another
    stretch = (voiced & ~_delayed(voiced)).cumsum(1)
    ahead = torch.where(stretch.gather(1, ahead) == stretch, ahead, before)
    place = torch.arange(knot.shape[1], device=knot.device)
    share = (place - before) / (ahead - before).clamp(min=1)
    line = torch.lerp(_held(height, knot), height.gather(1, ahead), share.to(height.dtype))
    return torch.where(voiced, torch.exp2(mean[:, None] + line), 0)


def _whole(octaves: Tensor) -> Tensor:
    return (octaves * STEPS_PER_OCTAVE).round() / STEPS_PER_OCTAVE


def _heights(contour: Tensor, mean: Tensor) -> Tensor:
    """Octaves above the mean, whole steps; 0 where unvoiced."""
    return torch.where(contour > 0, _whole(torch.log2(contour.clamp(min=1)) - mean[:, None]), 0)


def _columns(height: Tensor, voiced: Tensor, last: Tensor) -> Tensor:
    """What a frame is predicted from, (..., 2 * PAST + 1), of the frames before, (..., PAST), and the last height."""
    moved = voiced * (height - last[..., None])
    return torch.cat([voiced.float(), 8 * moved, last[..., None]], -1)


def _past(held: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor]:
    """Columns and height of the last knot of all frames, of held heights and voicing (batch, frames)."""
    frames = held.shape[1]
    last = _delayed(held)
    before, sounded = (F.pad(x, (PAST, 0)).unfold(1, PAST, 1)[:, :frames] for x in (held, voiced))
    return _columns(before, sounded, last), last


def _log_mass(found: _Distribution, height: Tensor) -> Tensor:
    """Log-probability of heights (batch, frames), of the step that each is the middle of."""
    narrow = torch.exp(-found.scale)
    middle, half = (height[..., None] - found.mean) * narrow, 0.5 / STEPS_PER_OCTAVE * narrow
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))
    mass = F.logsigmoid(middle + half) + F.logsigmoid(half - middle)
    mass = mass + torch.log(-torch.expm1(-2 * half))
    return torch.logsumexp(found.weight + mass, -1)
