"""Contours in training: how they are degraded, and what the head's loss measures."""

import math

import pytest
import torch

from vqspeech.nn.pitch import Pitch, Prediction
from vqspeech.training.contour import (
    JITTER,
    NEIGHBOURS,
    OCTAVE,
    PREDICTED,
    UNVOICED,
    average_over_levels,
    degraded,
    pitch_loss,
)


def test_worn_contours_are_mostly_their_own_and_at_times_not() -> None:
    """Shares of predicted, silent and octave-off contours are those that are set, and others stay near."""
    torch.manual_seed(0)
    rows = 4000
    contour = torch.full((rows, 6), 100.0)
    contour[:, 2] = 0
    predicted = torch.full((rows, 6), 77.0)
    found = degraded(contour, predicted)
    by_head = (found == 77).all(1)
    silent = (found == 0).all(1)
    assert float(by_head.float().mean()) == pytest.approx(PREDICTED, abs=0.03)
    assert float(silent.float().mean()) == pytest.approx(UNVOICED, abs=0.015)
    rest = found[~(by_head | silent)]
    assert (rest[:, 2] == 0).all()
    octaves = torch.log2(rest[:, [0, 1, 3, 4, 5]] / 100)
    off = octaves.abs().mean(1) > 0.5
    assert float(off.float().mean()) == pytest.approx(OCTAVE / (1 - PREDICTED - UNVOICED), abs=0.02)
    assert octaves[~off].abs().max() < 10 * JITTER
    assert 0 < octaves[~off].std() < 2 * JITTER


def test_the_loss_by_hand() -> None:
    """Cross-entropy everywhere, error of height where voiced, nothing after the recording has ended."""
    pitch = Pitch(4, 1)
    pitch.voices.copy_(torch.tensor([[math.log2(100), 0.5]]))
    contour = torch.tensor([[200.0, 0.0, 100.0, 400.0]])
    prediction = Prediction(torch.zeros(1, 4), torch.full((1, 4), 0.5))
    # two condition frames to a frame of the mask
    mask = torch.tensor([[True, False]])
    loss = pitch_loss(pitch, prediction, contour, torch.tensor([0]), mask)
    assert float(loss) == pytest.approx(math.log(2) + 1.5 / 2)


def test_the_gradient_of_taps_is_averaged_over_neighbouring_levels() -> None:
    """A gradient at one level becomes a Gaussian of the same sum around it; that of the last row stays as it is."""
    taps = torch.nn.Parameter(torch.zeros(3, 65, 2))
    average_over_levels(taps)
    weight = torch.zeros(3, 65, 2)
    weight[1, 32, 0], weight[2, 64, 1] = 1, 5
    (taps * weight).sum().backward()
    assert taps.grad is not None
    column = taps.grad[1, :64, 0]
    assert float(column.sum()) == pytest.approx(1, abs=1e-3)
    assert float(column[32]) == pytest.approx(1 / (NEIGHBOURS * math.sqrt(2 * math.pi)), rel=1e-3)
    assert float(column[32 + 6] / column[32]) == pytest.approx(math.exp(-0.5), rel=1e-3)
    assert taps.grad[2, 64, 1] == 5
    assert not taps.grad[2, :64].any()
    assert not taps.grad[0].any()
