"""Pitch in training: contours with the errors that those of a conversion may have, and the loss of the head."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.nn.pitch import Pitch, Prediction
from vqspeech.nn.spectral import masked_mean

WEIGHT = 0.1
"""Of the pitch head's loss beside the likelihood; without likelihood it is 1."""

PREDICTED, UNVOICED, OCTAVE = 0.15, 0.03, 0.03
"""Shares of recordings with the predicted contour, with none, and with one an octave off; others have their own."""

JITTER = 0.01
"""Largest standard deviation, in octaves, of what is added to log-F0 frame by frame, and of what is added to all."""


NEIGHBOURS = 6.0
"""Standard deviation, in levels, of the window over which the gradient of pitch taps is averaged."""


def average_over_levels(taps: nn.Parameter) -> None:
    """Average the gradient of pitch taps over neighbouring levels, a Gaussian window around each.

    Levels lie on a line, and what one of them teaches holds for those beside it. Taps start at zero, and without this
    each row would walk at random before it has learned anything: each of so many rows is seen seldom, and Adam gives
    noise as long a step as a direction.

    Parameters
    ----------
    taps : Parameter
        (3, levels + 1, channels), on its device; the last row stays by itself.
    """
    levels = taps.shape[1] - 1
    place = torch.arange(levels, device=taps.device)
    window = torch.exp(-0.5 * ((place[:, None] - place) / NEIGHBOURS) ** 2)
    window = window / window.sum(1, keepdim=True)
    taps.register_hook(lambda grad: torch.cat([window @ grad[:, :-1], grad[:, -1:]], 1))


def degraded(contour: Tensor, predicted: Tensor) -> Tensor:
    """Exchange or disturb contours, so that the WaveNet learns to live with wrong ones.

    Parameters
    ----------
    contour, predicted : Tensor
        float32, (batch, frames), Hz, 0 where unvoiced: of the recordings, and from the head.

    Returns
    -------
    Tensor
        The same shape. Draws come from torch's generator.
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
    """Cross-entropy of voicing, in nats, and where voiced the absolute error of log-F0 in deviations.

    Parameters
    ----------
    pitch : Pitch
        Whose voices log-F0 is measured by.
    prediction : Prediction
        For each frame of the contour.
    contour : Tensor
        float32, (batch, frames), Hz, of the recordings.
    speaker : Tensor
        int64, (batch,).
    mask : Tensor
        bool, (batch, frames or a divisor of it): False where the recording has ended.
    """
    voiced = (contour > 0).float()
    error = F.binary_cross_entropy_with_logits(prediction.voicing, voiced, reduction="none")
    heights = pitch.heights(contour, speaker).clamp(-4, 4)
    error = error + voiced * (prediction.height - heights).abs()
    return masked_mean(error, mask)
