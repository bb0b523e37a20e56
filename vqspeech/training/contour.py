"""Pitch in training: contours with the errors that conversions may have, and the loss of the head."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.nn.pitch import Pitch, Prediction
from vqspeech.nn.spectral import masked_mean

WEIGHT = 0.1
"""Weight of the pitch head's loss beside the likelihood; without likelihood it is 1."""

PREDICTED, UNVOICED, OCTAVE = 0.15, 0.03, 0.03
"""Shares of recordings with the predicted contour, with none, and with one an octave off; others have their own."""

JITTER = 0.01
"""Largest standard deviation, in octaves, of what is added to log-F0 frame by frame, and of what is added to all."""


NEIGHBOURS = 6.0
"""Standard deviation, in levels, of the window over which the gradient of pitch taps is averaged."""


def average_over_levels(taps: nn.Parameter) -> None:
    """Average the gradient of pitch taps, (3, levels + 1, channels), over neighbouring levels with a Gaussian window.

    Levels lie on a line, so gradients carry over to neighbours. Taps start at zero and each row is seen seldom: without
    this Adam would turn its noise into a random walk. The last row is left out.
    """
    levels = taps.shape[1] - 1
    place = torch.arange(levels, device=taps.device)
    window = torch.exp(-0.5 * ((place[:, None] - place) / NEIGHBOURS) ** 2)
    window = window / window.sum(1, keepdim=True)
    taps.register_hook(lambda grad: torch.cat([window @ grad[:, :-1], grad[:, -1:]], 1))


def degraded(contour: Tensor, predicted: Tensor) -> Tensor:
    """Exchange or disturb contours (batch, frames), Hz, so that the WaveNet is robust to wrong ones.

    `predicted` are those of the head. Draws come from torch's generator.
    """
    shape, device = (len(contour), 1), contour.device
    spread = JITTER * torch.rand(shape, device=device)
    octaves = spread * torch.randn(contour.shape, device=device)
    octaves = octaves + spread * torch.randn(shape, device=device)
    side = torch.where(torch.rand(shape, device=device) < 0.5, -1.0, 1.0)
    fate = torch.rand(shape, device=device)
    wrong = fate < OCTAVE
    own = contour * torch.exp2(octaves + torch.where(wrong, side, 0))
    own = torch.where((fate >= OCTAVE) & (fate < OCTAVE + UNVOICED), 0, own)
    return torch.where(fate >= 1 - PREDICTED, predicted, own)


def pitch_loss(
    pitch: Pitch, prediction: Prediction, contour: Tensor, speaker: Tensor, mask: Tensor
) -> Tensor:
    """Cross-entropy of voicing, in nats, plus, where voiced, the absolute error of log-F0 in deviations of the speaker.

    `contour` is (batch, frames), Hz; `mask`, (batch, frames or a divisor of it), is False after the recording's end.
    """
    voiced = (contour > 0).float()
    error = F.binary_cross_entropy_with_logits(prediction.voicing, voiced, reduction="none")
    heights = pitch.heights(contour, speaker).clamp(-4, 4)
    error = error + voiced * (prediction.height - heights).abs()
    return masked_mean(error, mask)
