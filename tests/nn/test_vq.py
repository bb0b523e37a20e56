"""What both quantizers have in common, and the one whose codebook is learned by its loss."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vqspeech.nn.vq import VectorQuantizer, as_rows
from vqspeech.nn.vq_ema import EMAVectorQuantizer

BOTH = pytest.mark.parametrize("cls", [VectorQuantizer, EMAVectorQuantizer])
BATCH, DIM, FRAMES, CODES = 3, 4, 10, 7


@pytest.fixture
def z_e() -> Tensor:
    return torch.randn(BATCH, DIM, FRAMES, generator=torch.Generator().manual_seed(0))


@BOTH
def test_each_frame_gets_its_own_nearest_code(cls, z_e: Tensor) -> None:
    """Code and vector at (item, frame) belong to the latent at (item, frame), not to another."""
    quantizer = cls(DIM, CODES)
    output = quantizer(z_e)
    assert output.codes.shape == (BATCH, FRAMES)
    for item in range(BATCH):
        for frame in range(FRAMES):
            distances = (z_e[item, :, frame] - quantizer.codebook).square().sum(1)
            code = distances.argmin()
            assert output.codes[item, frame] == code
            torch.testing.assert_close(output.z_q[item, :, frame], quantizer.codebook[code])
    assert torch.equal(quantizer.encode(z_e), output.codes)
    torch.testing.assert_close(quantizer.dequantize(output.codes), output.z_q)


def test_rows_keep_the_frames_of_an_item_together(z_e: Tensor) -> None:
    """Row item * frames + frame is that frame."""
    assert torch.equal(as_rows(z_e)[2 * FRAMES + 4], z_e[2, :, 4])


@BOTH
def test_the_gradient_of_the_decoder_reaches_the_encoder_unchanged(cls, z_e: Tensor) -> None:
    """Straight-through: d/dz_e equals d/dz_q, bit by bit."""
    quantizer = cls(DIM, CODES)
    z_e.requires_grad_()
    z_q = quantizer(z_e).z_q
    decoder = torch.nn.Conv1d(DIM, 2, 3)
    at_z_q, at_z_e = torch.autograd.grad(decoder(z_q).pow(3).sum(), [z_q, z_e])
    assert at_z_q.abs().max() > 0
    assert torch.equal(at_z_e, at_z_q)


@BOTH
@pytest.mark.parametrize("commitment", [0.25, 0.7])
def test_beta_weighs_the_commitment_term(cls, z_e: Tensor, commitment: float) -> None:
    """The gradient of the loss at z_e is 2 beta (z_e - e) / numel."""
    quantizer = cls(DIM, CODES, commitment=commitment)
    z_e.requires_grad_()
    output = quantizer(z_e)
    (grad,) = torch.autograd.grad(output.loss, z_e)
    e = quantizer.dequantize(output.codes)
    torch.testing.assert_close(grad, 2 * commitment * (z_e - e) / z_e.numel())


@pytest.mark.parametrize("commitment", [0.25, 0.7])
def test_beta_does_not_weigh_the_codebook_term(z_e: Tensor, commitment: float) -> None:
    """The gradient of the loss at a code is the sum of 2 (e - z_e) / numel over its latents."""
    quantizer = VectorQuantizer(DIM, CODES, commitment=commitment)
    output = quantizer(z_e)
    (grad,) = torch.autograd.grad(output.loss, quantizer.codebook)
    rows, codes = as_rows(z_e), output.codes.reshape(-1)
    expected = torch.zeros(CODES, DIM)
    for row, code in zip(rows, codes, strict=True):
        expected[code] += 2 * (quantizer.codebook[code].detach() - row) / z_e.numel()
    torch.testing.assert_close(grad, expected)


@BOTH
def test_the_codebook_starts_from_data(cls, z_e: Tensor) -> None:
    """After initialisation every code is used, far from where a random codebook would be."""
    z_e = 1000 + 50 * z_e
    quantizer = cls(DIM, CODES)
    quantizer.initialise(z_e, seed=0)
    assert len(quantizer.encode(z_e).unique()) == CODES
    assert F.mse_loss(quantizer(z_e).z_q, z_e) < z_e.var()
    quantizer.update(quantizer(z_e))
    assert (quantizer.codebook - 1000).abs().max() < 250


@BOTH
def test_a_dead_code_is_moved_onto_a_latent_and_given_time(cls, z_e: Tensor) -> None:
    """A code that nothing chooses becomes an encoder output, and stays even if the next batch passes it by."""
    quantizer = cls(DIM, CODES, decay=0.5)
    with torch.no_grad():
        quantizer.codebook[3] = 1e3
    stale = quantizer(z_e)
    for _ in range(20):
        quantizer.update(stale)
        revived = quantizer.codebook[3].detach().clone()
        if (as_rows(z_e) == revived).all(1).any():
            break
    else:
        pytest.fail("the code was not revived")
    assert 3 in quantizer.encode(z_e)
    quantizer.update(stale)
    torch.testing.assert_close(quantizer.codebook[3].detach(), revived, rtol=1e-3, atol=1e-4)
    assert 3 in quantizer.encode(z_e)


def test_the_revived_code_can_still_learn(z_e: Tensor) -> None:
    """Revival keeps the parameter that the optimizer holds."""
    quantizer = VectorQuantizer(DIM, CODES, decay=0.5)
    parameter = quantizer.codebook
    with torch.no_grad():
        parameter[3] = 1e3
    for _ in range(10):
        quantizer.update(quantizer(z_e))
    assert quantizer.codebook is parameter
    (grad,) = torch.autograd.grad(quantizer(z_e + 0.1).loss, parameter)
    assert grad[3].abs().max() > 0
