"""The post-filter: exact where it has nothing to do, right where it has, and blind to blocks."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vqspeech.models.postfilter import (
    FRAMES,
    LARGEST,
    MOST_LIFTED,
    PostFilter,
    between_bands,
    lift_weak,
)
from vqspeech.nn.spectral import SpectralHead, mel_filterbank

RATE = 16000
GROUP = FRAMES * 80


@pytest.fixture
def head() -> SpectralHead:
    return SpectralHead(4, 80, RATE, channels=8)


def _noise(samples: int) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


def _log_mel(head: SpectralHead, wav: Tensor) -> Tensor:
    return head.log_mel()(F.pad(wav, (0, -len(wav) % head.frame_hop))[None])[0]


@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels"), [(16000, 512, 64), (22050, 1024, 128), (8000, 256, 32)]
)
def test_lines_between_bands_pass_through_their_centres(rate: int, n_fft: int, n_mels: int) -> None:
    """A gain that is linear in Hz from band to band stays so; every bin has weights of sum 1."""
    weights = between_bands(mel_filterbank(rate, n_fft, n_mels))
    torch.testing.assert_close(weights.sum(1), torch.ones(n_fft // 2 + 1))
    top = 2595 * math.log10(1 + rate / 2 / 700)
    mels = torch.linspace(0, top, n_mels + 2)[1:-1]
    centres = 700 * (10 ** (mels / 2595) - 1)
    hz = torch.linspace(0, rate / 2, n_fft // 2 + 1)
    expected = hz.clamp(float(centres[0]), float(centres[-1]))
    torch.testing.assert_close(weights @ centres, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 300, GROUP - 1, GROUP, GROUP + 1, 20011])
def test_sound_that_is_as_predicted_stays(head: SpectralHead, samples: int) -> None:
    """With its own spectrum asked for, a sound of any length comes out as it went in."""
    wav = _noise(samples)
    found = PostFilter(head, _log_mel(head, wav), samples, 1.0)(wav)
    torch.testing.assert_close(found, wav, rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 500, 2 * GROUP, 9001])
@pytest.mark.parametrize("block", [1, 17, 1024, 5000])
def test_blocks_do_not_matter(head: SpectralHead, samples: int, block: int) -> None:
    """Joined, what comes out in blocks is bit for bit what comes out at once, and nothing follows the end."""
    wav = _noise(samples)
    predicted = torch.randn(64, -(-samples // 80), generator=torch.Generator().manual_seed(1)) - 3
    whole = PostFilter(head, predicted, samples, 1.0)(wav)
    post_filter = PostFilter(head, predicted, samples, 1.0)
    parts = [post_filter(part) for part in wav.split(block)]
    assert torch.equal(torch.cat(parts), whole)
    assert len(whole) == samples
    assert len(post_filter(torch.empty(0))) == 0
    # at most two groups of frames and a window are held back
    behind, handed = 0, 0
    for begin, part in zip(range(0, samples, block), parts, strict=True):
        handed += len(part)
        behind = max(behind, min(begin + block, samples) - handed)
    assert behind <= 2 * GROUP + head.n_fft


def test_spectrum_moves_to_the_one_predicted(head: SpectralHead) -> None:
    """A level 1 nat lower is reached exactly; half of the way with half of the strength."""
    wav = _noise(8000)
    lower = _log_mel(head, wav) - 1
    for strength in (0.5, 1.0):
        found = PostFilter(head, lower, 8000, strength)(wav)
        torch.testing.assert_close(found, wav * math.exp(-strength), rtol=0, atol=1e-6)


def test_valleys_are_cleared_of_noise(head: SpectralHead) -> None:
    """White noise takes on the spectrum of a vowel: its distance to that falls to less than half."""
    time = torch.arange(RATE) / RATE
    vowel = sum(torch.sin(2 * math.pi * 120 * k * time) / (1 + (k - 5) ** 2) for k in range(1, 40))
    wanted, noise = _log_mel(head, 0.1 * vowel + 1e-3 * _noise(RATE)), _noise(RATE)
    before = (_log_mel(head, noise) - wanted).abs().mean()
    after = (_log_mel(head, PostFilter(head, wanted, RATE, 1.0)(noise)) - wanted).abs().mean()
    assert after < before / 2


def test_gain_has_a_limit_and_sound_stays_in_range(head: SpectralHead) -> None:
    """However loud a prediction is, levels rise by 3 nats at most, and no sample leaves [-1, 1]."""
    wav = 1e-3 * _noise(4000)
    loud = torch.full((64, 50), 100.0)
    found = PostFilter(head, loud, 4000, 1.0)(wav)
    torch.testing.assert_close(found, wav * math.exp(LARGEST), rtol=0, atol=1e-6)
    assert PostFilter(head, loud, 4000, 1.0)(_noise(4000)).abs().max() <= 1
    silent = PostFilter(head, loud, 4000, 1.0)(torch.zeros(4000))
    assert torch.equal(silent, torch.zeros(4000))


def test_weak_parts_of_a_band_are_lifted() -> None:
    """By 0.3 of what they are below the band's mean, a pause by no more than the limit; what is above stays."""
    predicted = torch.tensor([[-2.0, -1.0, 3.0, 0.0], [-8.0, 0.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
    lifted = lift_weak(predicted)
    expected = torch.tensor([[-1.4, -0.7, 3.0, 0.0], [-8.0 + MOST_LIFTED, 0, 0, 0], [5.0] * 4])
    torch.testing.assert_close(lifted, expected)
