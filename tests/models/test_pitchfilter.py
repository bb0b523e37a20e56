"""The pitch filter: a periodic sound stays, noise goes, and neither blocks nor unvoiced frames matter."""

import pytest
import torch
from torch import Tensor

from vqspeech.metrics.voicing import measure_voicing
from vqspeech.models.pitchfilter import FRAMES, NEAR, WINDOW, PitchFilter

HOP, PERIOD = 80, 128
GROUP = FRAMES * HOP


def _noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def _periodic(samples: int, period: int = PERIOD) -> Tensor:
    return _noise(period).repeat(samples // period + 1)[:samples]


def _lag(samples: int, period: int = PERIOD) -> Tensor:
    return torch.full((-(-samples // HOP),), period)


@pytest.mark.parametrize("contour", [PERIOD, round(PERIOD * 0.9), round(PERIOD * 1.1)])
def test_a_periodic_sound_stays(contour: int) -> None:
    """But for its ends, which have no period before or after, even where the contour is a little wrong."""
    wav = _periodic(8000)
    found = PitchFilter(_lag(8000, contour), HOP, 8000, 1.0)(wav)
    middle = slice(WINDOW + 2 * PERIOD, -WINDOW - 2 * PERIOD)
    torch.testing.assert_close(found[middle], wav[middle], rtol=0, atol=1e-5)


def test_noise_between_harmonics_goes() -> None:
    """Of white noise beside a periodic sound a third to a half of the power stays, and the voice is more regular."""
    clean = _periodic(32_000)
    noise = 0.7 * _noise(32_000, seed=1)
    found = PitchFilter(_lag(32_000), HOP, 32_000, 1.0)(clean + noise)
    middle = slice(1000, -1000)
    left = (found - clean)[middle].square().mean() / noise[middle].square().mean()
    assert 1 / 3 < left < 1 / 2
    before, after = (measure_voicing(wav.numpy(), 16_000) for wav in (clean + noise, found))
    assert after.hnr_db > before.hnr_db + 3
    half = PitchFilter(_lag(32_000), HOP, 32_000, 0.5)(clean + noise)
    between = (half - clean)[middle].square().mean() / noise[middle].square().mean()
    assert left < between < 1


def test_a_sound_without_that_period_hardly_changes() -> None:
    """Where the contour is wrong by far, no correlation is found and little is added."""
    wav = _noise(16_000)
    found = PitchFilter(_lag(16_000, 60), HOP, 16_000, 1.0)(wav)
    assert (found - wav).square().mean() < 0.1 * wav.square().mean()


def test_unvoiced_frames_are_left_as_they_are() -> None:
    """Bit for bit, but for the half frame in which the filter of a voiced one fades."""
    lag = _lag(8000)
    lag[20:60] = 0
    wav = _periodic(8000) + _noise(8000, seed=2)
    found = PitchFilter(lag, HOP, 8000, 1.0)(wav)
    unvoiced = slice(20 * HOP + HOP // 2, 60 * HOP)
    assert torch.equal(found[unvoiced], wav[unvoiced])
    assert not torch.equal(found[: 20 * HOP], wav[: 20 * HOP])
    assert torch.equal(PitchFilter(torch.zeros_like(lag), HOP, 8000, 1.0)(wav), wav)


@pytest.mark.parametrize("samples", [1, 79, 500, 2 * GROUP, 9001])
@pytest.mark.parametrize("block", [1, 17, 1024, 5000])
def test_blocks_do_not_matter(samples: int, block: int) -> None:
    """What comes out in blocks is bit for bit what comes out at once, a group and what is around it behind."""
    wav = _periodic(samples) + _noise(samples, seed=3)
    lag = torch.randint(40, 267, (-(-samples // HOP),), generator=torch.Generator().manual_seed(4))
    lag[5:9] = 0
    whole = PitchFilter(lag, HOP, samples, 1.0)(wav)
    pitch_filter = PitchFilter(lag, HOP, samples, 1.0)
    behind, handed, parts = 0, 0, []
    for begin in range(0, samples, block):
        parts.append(pitch_filter(wav[begin : begin + block]))
        handed += len(parts[-1])
        behind = max(behind, min(begin + block, samples) - handed)
    assert torch.equal(torch.cat(parts), whole)
    assert len(whole) == samples
    assert len(pitch_filter(torch.empty(0))) == 0
    assert behind <= GROUP + WINDOW // 2 + (1 + NEAR) * 266


@pytest.mark.parametrize("loudness", [0.0, 1e-30, 1.0])
def test_silence_and_the_loudest_sound_stay_finite(loudness: float) -> None:
    """And none becomes louder than it was."""
    wav = loudness * torch.sign(_noise(4000))
    found = PitchFilter(_lag(4000), HOP, 4000, 1.0)(wav)
    assert torch.isfinite(found).all()
    assert found.abs().max() <= wav.abs().max() * (1 + 1e-6)
