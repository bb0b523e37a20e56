"""The spectral head: its filters, the place of its frames, and the frames that do not count."""

import math

import pytest
import torch
from torchaudio.functional import melscale_fbanks

from vqspeech.nn.spectral import FLOOR, LogMel, SpectralHead, SpectralLoss, mel_filterbank


@pytest.mark.parametrize(("rate", "n_fft", "n_mels"), [(16000, 512, 64), (22050, 1024, 80)])
def test_filters_are_those_of_torchaudio(rate: int, n_fft: int, n_mels: int) -> None:
    """Triangles on the HTK scale, of peak 1, to 1e-5."""
    expected = melscale_fbanks(
        n_fft // 2 + 1, 0.0, rate / 2, n_mels, rate, norm=None, mel_scale="htk"
    )
    torch.testing.assert_close(mel_filterbank(rate, n_fft, n_mels), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("hop", [16, 80, 160, 255])
def test_frame_j_is_centred_on_its_span(hop: int) -> None:
    """An impulse anywhere in span j is loudest in frame j."""
    log_mel = LogMel(16000, hop)
    frames = 8
    for time in range(1, frames * hop, max(1, hop // 7)):
        if time % hop in (0, hop - 1):
            # as far from this frame's centre as from the neighbour's
            continue
        wav = torch.zeros(1, frames * hop)
        wav[0, time] = 1
        assert log_mel(wav).mean(1).argmax() == time // hop


def test_a_tone_is_in_its_band_and_silence_is_at_the_floor() -> None:
    """The loudest band is the one whose centre is nearest the tone; no logarithm of zero appears."""
    log_mel = LogMel(16000, 160)
    time = torch.arange(16000) / 16000
    found = log_mel(torch.sin(2 * math.pi * 1000 * time)[None])[0, :, 50]
    hz = mel_filterbank(16000, 512, 64).argmax(0) * 16000 / 512
    assert abs(hz[found.argmax()] - 1000) < 50
    assert torch.equal(log_mel(torch.zeros(1, 320)), torch.full((1, 64, 2), math.log(FLOOR)))


@pytest.mark.parametrize(("hop", "frame_hop"), [(64, 64), (640, 80), (320, 80), (200, 50)])
def test_frames_are_not_longer_than_allowed(hop: int, frame_hop: int) -> None:
    """A condition is split into the fewest spectral frames of at most 80 samples."""
    head = SpectralHead(4, hop, 16000, channels=8)
    assert head.frame_hop == head.log_mel().hop == frame_hop
    assert head(torch.randn(2, 10, 4)).shape == (2, 64, 10 * hop // frame_hop)


@pytest.fixture
def loss() -> SpectralLoss:
    return SpectralLoss(SpectralHead(4, 320, 16000).log_mel())


def test_loss_is_the_mean_error_of_the_frames_that_count(loss: SpectralLoss) -> None:
    """With a constant prediction, the loss is the mean distance to the spectrogram where the mask is true."""
    wav, mask = 0.1 * torch.randn(2, 5 * 640), torch.ones(2, 5, dtype=torch.bool)
    mask[0, 2:] = False
    error = (loss.log_mel(wav) + 3).abs()
    expected = torch.cat([error[0, :, :16].flatten(), error[1].flatten()]).mean()
    torch.testing.assert_close(loss(torch.full((2, 64, 40), -3.0), wav, mask), expected)


def test_what_follows_the_end_of_a_recording_does_not_count(loss: SpectralLoss) -> None:
    """Sound beyond the last window of the last frame that counts leaves the loss as it was."""
    wav, predicted = 0.1 * torch.randn(1, 5 * 640), torch.randn(1, 64, 40)
    mask = torch.arange(5)[None] < 2
    before = loss(predicted, wav, mask)
    wav[:, 2 * 640 + 512 :] = 1
    assert torch.equal(loss(predicted, wav, mask), before)
    wav[:, 640] = 1
    assert loss(predicted, wav, mask) != before
    assert loss(predicted, wav, mask & False) == 0


def test_each_condition_decides_the_prediction_of_its_own_time() -> None:
    """Changing one condition changes the frames of its span and no other."""
    torch.manual_seed(0)
    head = SpectralHead(4, 320, 16000, channels=8)
    condition = torch.randn(1, 10, 4)
    before = head(condition)
    condition[0, 3] += 1
    changed = (head(condition) != before).any(1)[0]
    assert changed.tolist() == [frame // 4 == 3 for frame in range(40)]
