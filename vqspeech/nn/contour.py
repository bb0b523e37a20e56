"""A distribution of pitch contours: voicing and F0 of each frame, given the frames before, codes and speaker.

F0 counts in steps of 1/48 octave from the speaker's mean. A frame is unvoiced, or its step follows a mixture of
logistic distributions, discretised as in Salimans et al. 2017 (PixelCNN++, arXiv 1701.05517, section 2.1); most of
its components are relative to the last voiced frame, since F0 moves slowly.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS_PER_OCTAVE = 48

PAST = 12
"""Frames before that a frame is predicted from; beyond them only the last voiced one counts."""

COMPONENTS = 4
"""Logistic distributions in a mixture; the last one is relative to the speaker's mean, the others to the last frame."""

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
        self.part = nn.Parameter(torch.zeros(upsample, channels))
        self.past = nn.Linear(2 * PAST + 1, channels, bias=False)
        self.hidden = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, 1 + 3 * COMPONENTS)

    def forward(self, z_q: Tensor, speaker: Tensor, mean: Tensor, contour: Tensor) -> Tensor:
        """Negative log-likelihood of a contour that `rounded` made.

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
        height = _heights(contour, mean)
        found = self._distribution(self._seen(z_q, speaker), *_past(height, voiced))
        cost = F.binary_cross_entropy_with_logits(found.voicing, voiced.float(), reduction="none")
        return cost - torch.where(voiced, _log_mass(found, height), 0)

    @torch.no_grad()
    def draw(
        self, z_q: Tensor, speaker: Tensor, mean: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draw a contour, (1, frames * upsample), frame by frame; see `forward`, batches of one, on the CPU."""
        seen = self._seen(z_q, speaker)
        height, voiced = torch.zeros(1, PAST), torch.zeros(1, PAST, dtype=torch.bool)
        last, steps = torch.zeros(1), []
        # of each frame: is it voiced, which component, where in it
        for frame, draws in zip(
            seen.unbind(1), torch.rand(seen.shape[1], 3, generator=generator).tolist(), strict=True
        ):
            found = self._distribution(frame, _columns(height, voiced, last), last)
            sound = draws[0] < torch.sigmoid(found.voicing)
            chosen = int((draws[1] > found.weight[0].exp().cumsum(0)[:-1]).sum())
            # the inverse of the logistic function, short of its infinite ends
            place = torch.logit(torch.tensor(draws[2]), 1e-6)
            octaves = found.mean[:, chosen] + found.scale[:, chosen].exp() * place
            step = torch.where(sound, _whole(octaves), 0)
            last = torch.where(sound, step, last)
            height = torch.cat([height[:, 1:], step[:, None]], 1)
            voiced = torch.cat([voiced[:, 1:], sound[:, None]], 1)
            steps.append(torch.where(sound, torch.exp2(mean + step), 0))
        return torch.stack(steps, 1)

    def _seen(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        """What codes and speaker say, (batch, frames * upsample, channels)."""
        voice = self.speaker(speaker)[:, :, None].expand(-1, -1, z_q.shape[2])
        x = self.input(torch.cat([z_q, voice.to(z_q.dtype)], 1))
        for convolution in self.context:
            x = x + convolution(F.relu(x))
        return (x.transpose(1, 2)[:, :, None] + self.part).flatten(1, 2)

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
            # to begin with 0.02 octaves about the last frame, or 0.14 about the mean
            (scale - torch.where(near, 4.0, 2.0)).clamp(-7, -1),
        )


def rounded(contour: Tensor, mean: Tensor) -> Tensor:
    """Round F0 of a contour (batch, frames) to whole steps from means of log2 F0 (batch,)."""
    return torch.where(contour > 0, torch.exp2(mean[:, None] + _heights(contour, mean)), 0)


def _whole(octaves: Tensor) -> Tensor:
    return (octaves * STEPS_PER_OCTAVE).round() / STEPS_PER_OCTAVE


def _heights(contour: Tensor, mean: Tensor) -> Tensor:
    """Octaves above the mean, whole steps; 0 where unvoiced."""
    return torch.where(contour > 0, _whole(torch.log2(contour.clamp(min=1)) - mean[:, None]), 0)


def _columns(height: Tensor, voiced: Tensor, last: Tensor) -> Tensor:
    """What a frame is predicted from, (..., 2 * PAST + 1), of the frames before, (..., PAST), and the last height."""
    moved = voiced * (height - last[..., None])
    return torch.cat([voiced.float(), 8 * moved, last[..., None]], -1)


def _past(height: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor]:
    """Columns and last voiced height of all frames of heights and voicing (batch, frames)."""
    frames = height.shape[1]
    place = torch.arange(frames, device=height.device)
    found = F.pad(torch.where(voiced, place, -1).cummax(1).values, (1, 0), value=-1)[:, :-1]
    last = torch.where(found >= 0, height.gather(1, found.clamp(min=0)), 0)
    before, sounded = (F.pad(x, (PAST, 0)).unfold(1, PAST, 1)[:, :frames] for x in (height, voiced))
    return _columns(before, sounded, last), last


def _log_mass(found: _Distribution, height: Tensor) -> Tensor:
    """Log-probability of heights (batch, frames), of the step that each is the middle of."""
    narrow = torch.exp(-found.scale)
    middle, half = (height[..., None] - found.mean) * narrow, 0.5 / STEPS_PER_OCTAVE * narrow
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))
    mass = F.logsigmoid(middle + half) + F.logsigmoid(half - middle)
    mass = mass + torch.log(-torch.expm1(-2 * half))
    return torch.logsumexp(found.weight + mass, -1)
