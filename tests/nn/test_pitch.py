"""Pitch beside a condition: what a contour becomes, and what the head that predicts it keeps to."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.nn.decoder import Decoder
from vqspeech.nn.pitch import F0_LIMITS_HZ, Pitch, Prediction, lags

F0 = st.one_of(st.just(0.0), st.floats(1, 5000))


@given(st.lists(F0, min_size=1, max_size=20))
def test_lags_are_periods_in_samples(contour: list[float]) -> None:
    """At 16 kHz they are the rounded period of F0 within its limits, and 0 where it is 0."""
    found = lags(torch.tensor([contour]), 16_000)[0].tolist()
    low, high = F0_LIMITS_HZ
    expected = [round(16_000 / min(max(f0, low), high)) if f0 else 0 for f0 in contour]
    assert all(abs(one - other) <= 1 for one, other in zip(found, expected, strict=True))
    assert all((lag == 0) == (f0 == 0) for lag, f0 in zip(found, contour, strict=True))
    assert all(lag == 0 or 32 <= lag <= 320 for lag in found)


def test_columns_by_hand() -> None:
    """Voicing, octaves above 130 Hz and their square, each by its column; nothing where unvoiced."""
    pitch = Pitch(3, 1)
    with torch.no_grad():
        pitch.columns.weight.copy_(torch.eye(3))
    found = pitch(torch.tensor([[0.0, 130.0, 260.0, 65.0]]))[0]
    expected = [[0, 0, 0], [1, 0, 0], [1, 1, 1], [1, -1, 1]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_heights_and_contour_are_inverse() -> None:
    """Height in deviations of the speaker and F0 lead to one another, speaker by speaker."""
    pitch = Pitch(4, 2)
    pitch.voices.copy_(torch.tensor([[math.log2(100), 0.2], [math.log2(200), 0.1]]))
    speaker = torch.tensor([1, 0])
    contour = torch.tensor([[200.0, 0.0, 220.0], [80.0, 110.0, 0.0]])
    heights = pitch.heights(contour, speaker)
    assert heights[0, 0] == pytest.approx(0, abs=1e-5)
    assert heights[1, 1] == pytest.approx(math.log2(1.1) / 0.2, abs=1e-4)
    voicing = torch.where(contour > 0, 1.0, -1.0)
    torch.testing.assert_close(pitch.contour(Prediction(voicing, heights), speaker), contour)


def test_a_decoder_with_pitch_starts_as_one_without() -> None:
    """Whatever the contour, condition and logits are to the bit those of the same weights without pitch."""

    def make(pitch: bool) -> Decoder:
        torch.manual_seed(0)
        return Decoder(
            *(4, 2, 16, 8, 16_000),
            dilations=[1, 2],
            residual_channels=4,
            gate_channels=8,
            skip_channels=8,
            condition_channels=6,
            pitch=pitch,
        )

    plain, voiced = make(False), make(True)
    voiced.load_state_dict(plain.state_dict(), strict=False)
    condition, levels = torch.randn(1, 3, 6), torch.randint(16, (1, 24))
    assert plain.with_contour(condition, None) == (condition, None)
    found, lag = voiced.with_contour(condition, torch.tensor([[0.0, 400.0, 500.0]]))
    assert torch.equal(found, condition)
    assert lag is not None
    previous = plain.wavenet.previous(levels)
    assert torch.equal(voiced.wavenet(previous, found, lag=lag), plain.wavenet(previous, condition))


def test_the_head_learns_a_contour_from_conditions() -> None:
    """It can follow conditions that hold voicing and height."""
    torch.manual_seed(0)
    pitch = Pitch(4, 1, hidden=16)
    condition = torch.randn(4, 30, 4)
    voiced, height = (condition[:, :, 0] > 0).float(), condition[:, :, 1]
    optimizer = torch.optim.Adam(pitch.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        found = pitch.predict(condition)
        loss = (found.height - height).square().mean()
        loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(found.voicing, voiced)
        loss.backward()
        optimizer.step()
    assert ((found.voicing > 0).float() == voiced).float().mean() > 0.9
    assert float((found.height - height).detach().square().mean()) < 0.2
