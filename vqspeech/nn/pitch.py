"""Pitch conditioning of a WaveNet: what a contour adds to its condition, and a head that predicts the contour.

A contour is float32, (batch, frames), Hz, 0 where unvoiced, one value per frame of the condition.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REFERENCE_HZ = 130.0
"""F0 whose logarithm counts as 0."""

F0_LIMITS_HZ = (50.0, 500.0)
"""F0 is clipped to these, which bounds the levels that an engine keeps."""

UNKNOWN_VOICE = (math.log2(REFERENCE_HZ), 0.25)
"""Mean and deviation of log2 F0 of a speaker without measurements."""


def lags(contour: Tensor, sample_rate: int) -> Tensor:
    """Samples of a pitch period, int64, (batch, frames); 0 where unvoiced."""
    limited = contour.float().clamp(*F0_LIMITS_HZ)
    return torch.where(contour > 0, (sample_rate / limited).round(), 0).to(torch.int64)


def features(contour: Tensor) -> Tensor:
    """Voicing, log2 of F0 against `REFERENCE_HZ` and its square, (batch, frames, 3); 0 where unvoiced."""
    voiced = contour > 0
    limited = contour.float().clamp(*F0_LIMITS_HZ)
    height = torch.where(voiced, torch.log2(limited / REFERENCE_HZ), 0)
    return torch.stack([voiced.float(), height, height.square()], -1)


class Prediction(NamedTuple):
    """Output of the head.

    Attributes
    ----------
    voicing : Tensor
        (batch, frames): log-odds that a frame is voiced.
    height : Tensor
        (batch, frames): log2 F0, as deviations of the speaker from the speaker's mean.
    """

    voicing: Tensor
    height: Tensor


class Pitch(nn.Module):
    """Columns for voicing and log-F0 beside a condition, and the head that predicts both from it.

    Parameters
    ----------
    channels : int
        Channels of a condition.
    speakers : int
        Number of speakers.
    hidden : int
        Channels of the head.
    width : int
        Frames that each of its two convolutions spans, an odd number.

    Attributes
    ----------
    voices : Tensor
        Buffer, (speakers, 2): mean and deviation of log2 F0 in Hz over voiced frames.
    """

    def __init__(self, channels: int, speakers: int, hidden: int = 128, width: int = 9) -> None:
        super().__init__()
        self.columns = nn.Linear(3, channels, bias=False)
        # at first the decoder computes what it would without pitch
        nn.init.zeros_(self.columns.weight)
        self.hidden = nn.Conv1d(channels, hidden, width, padding=width // 2)
        self.context = nn.Conv1d(hidden, hidden, width, padding=width // 2)
        self.output = nn.Conv1d(hidden, 2, 1)
        self.register_buffer("voices", torch.tensor([UNKNOWN_VOICE] * speakers))
        self.voices: Tensor

    def forward(self, contour: Tensor) -> Tensor:
        """What a contour adds to a condition, (batch, frames, channels)."""
        return self.columns(features(contour))

    def predict(self, condition: Tensor) -> Prediction:
        """Predict voicing and height from conditions (batch, frames, channels)."""
        x = F.relu(self.hidden(F.relu(condition).transpose(1, 2)))
        x = x + F.relu(self.context(x))
        voicing, height = self.output(x).float().unbind(1)
        return Prediction(voicing, height)

    def heights(self, contour: Tensor, speaker: Tensor) -> Tensor:
        """Log-F0 as `predict` gives it, (batch, frames), of a contour of speakers (batch,); 0 where unvoiced."""
        mean, deviation = self.voices[speaker].float()[:, :, None].unbind(1)
        height = (torch.log2(contour.clamp(min=1)) - mean) / deviation.clamp(min=0.01)
        return torch.where(contour > 0, height, 0)

    def contour(self, prediction: Prediction, speaker: Tensor) -> Tensor:
        """Make a contour of a prediction for speakers (batch,): voiced where that is more likely."""
        mean, deviation = self.voices[speaker].float()[:, :, None].unbind(1)
        # a deviation beyond that of any recording would be an error of the head
        f0 = torch.exp2(mean + deviation * prediction.height.clamp(-3, 3))
        return torch.where(prediction.voicing > 0, f0.clamp(*F0_LIMITS_HZ), 0)
