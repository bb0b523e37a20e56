"""Cepstra once a code: against librosa's transform, by hand, and what the head's loss leaves out."""

import librosa
import numpy as np
import pytest
import scipy.fft
import torch

from vqspeech.nn.cepstral import COEFFICIENTS, DELTA_REACH, Cepstra, CepstralHead, cosine_transform

RATE, HOP = 16000, 640


def _noise(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))


def _all(frames: int) -> torch.Tensor:
    return torch.ones(2, frames, dtype=torch.bool)


def test_cosine_transform_is_scipy_s() -> None:
    """Orthonormal, type II."""
    rows = torch.randn(5, 40, generator=torch.Generator().manual_seed(1))
    expected = scipy.fft.dct(rows.numpy(), norm="ortho")[:, :COEFFICIENTS]
    assert np.allclose(rows @ cosine_transform(COEFFICIENTS, 40), expected, atol=1e-5)


def test_differences_are_librosa_s() -> None:
    """A line fitted over nine frames, ends repeated, as `librosa.feature.delta` does it."""
    rows = torch.randn(2, 3, 30, generator=torch.Generator().manual_seed(2))
    found = Cepstra(RATE, HOP)._difference(rows)
    expected = librosa.feature.delta(rows.numpy(), width=2 * DELTA_REACH + 1, mode="nearest")
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("hop", "parts"), [(640, 4), (160, 1), (64, 1), (320, 2)])
def test_one_row_a_code_from_steps_of_ten_milliseconds(hop: int, parts: int) -> None:
    """Whatever the hop: as many rows as codes, taken at least every 10 ms."""
    cepstra = Cepstra(RATE, hop)
    assert cepstra.parts == parts
    assert cepstra(_noise(12 * hop), _all(12)).shape == (2, 3 * COEFFICIENTS, 12)


def test_level_and_a_steady_filter_do_not_count() -> None:
    """Normalised over the segment: ten times as loud gives the same rows."""
    cepstra = Cepstra(RATE, HOP)
    wav = _noise(20 * HOP)
    quiet, loud = cepstra(wav, _all(20)), cepstra(wav * 10, _all(20))
    # at both ends the windows reach into zeros, whose floor does not grow with the level
    assert torch.allclose(quiet[:, :, 4:-4], loud[:, :, 4:-4], atol=0.1)


def test_normalised_over_what_is_recording() -> None:
    """What follows the end of a recording changes neither mean nor variance of what was before."""
    cepstra = Cepstra(RATE, HOP)
    wav = _noise(20 * HOP)
    mask = _all(20)
    mask[:, 12:] = False
    other = wav.clone()
    other[:, 16 * HOP :] = 5 * _noise(4 * HOP, seed=9)
    found, again = (cepstra(w, mask)[:, :, :10] for w in (wav, other))
    assert torch.allclose(found, again, atol=1e-4)


def test_silence_stays_small() -> None:
    """A segment of zeros has cepstra of zero, not noise blown up to variance 1."""
    assert Cepstra(RATE, HOP)(torch.zeros(2, 10 * HOP), _all(10)).abs().max() < 1.0


def test_loss_is_the_mean_squared_error_where_there_is_recording() -> None:
    """By hand from the parts of the head; masked frames do not count."""
    torch.manual_seed(3)
    head = CepstralHead(8, 2, HOP, RATE, channels=16)
    z_q, wav = torch.randn(2, 8, 10), _noise(10 * HOP)
    speaker = torch.tensor([0, 1])
    mask = _all(10)
    mask[1, 6:] = False
    target = head.cepstra(wav, mask)
    voice = head.speaker(speaker)[:, :, None].expand(-1, -1, 10)
    predicted = head.output(torch.relu(head.input(torch.cat([z_q, voice], 1))))
    error = (predicted - target).square().mean(1)
    expected = torch.cat([error[0], error[1, :6]]).mean()
    assert float(head(z_q, speaker, wav, mask)) == pytest.approx(float(expected), rel=1e-5)


def test_gradient_reaches_the_latents_only_where_there_is_recording() -> None:
    """A code after the end of a recording is told nothing."""
    torch.manual_seed(4)
    head = CepstralHead(8, 2, HOP, RATE, channels=16)
    z_q = torch.randn(2, 8, 10, requires_grad=True)
    mask = _all(10)
    mask[0, 5:] = False
    head(z_q, torch.tensor([0, 1]), _noise(10 * HOP), mask).backward()
    assert z_q.grad is not None
    assert (z_q.grad[0, :, 5:] == 0).all()
    assert (z_q.grad[1] != 0).any()
