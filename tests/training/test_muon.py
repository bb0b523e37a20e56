"""Muon: orthogonal updates, block by block, and less loss on a problem with badly scaled directions."""

import pytest
import torch
from torch import nn

from vqspeech.nn.decoder import Decoder
from vqspeech.training.muon import ADAM_LIKE, Muon, orthogonalise
from vqspeech.training.start import wavenet_matrices


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8), (3, 16, 8)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, ...]) -> None:
    """Against the exact polar factor: same singular vectors, values between 0.6 and 1.3."""
    matrices = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalise(matrices)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    inner = left.mT @ found @ right.mT
    values = inner.diagonal(dim1=-2, dim2=-1)
    assert found.shape == matrices.shape
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert (inner - torch.diag_embed(values)).abs().max() < 1e-4


def test_a_zero_gradient_moves_nothing() -> None:
    """No division by zero: what has no gradient stays."""
    weight = nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([(weight, (4, 4))], lr=1.0).step()
    assert torch.equal(weight, torch.ones(4, 4))


def test_update_is_that_of_each_block_by_itself() -> None:
    """A weight of two by three blocks moves as its six blocks would alone."""
    gradient = torch.randn(8, 18, generator=torch.Generator().manual_seed(1))
    whole = nn.Parameter(torch.zeros(8, 18))
    whole.grad = gradient.clone()
    Muon([(whole, (4, 6))], lr=0.1).step()
    for row in range(0, 8, 4):
        for column in range(0, 18, 6):
            alone = nn.Parameter(torch.zeros(4, 6))
            alone.grad = gradient[row : row + 4, column : column + 6].clone()
            Muon([(alone, (4, 6))], lr=0.1).step()
            part = whole.detach()[row : row + 4, column : column + 6]
            assert torch.allclose(part, alone.detach(), atol=1e-6)


def test_size_of_an_update_is_that_of_adam() -> None:
    """Root mean square of a square matrix' update: the learning rate times `ADAM_LIKE`, about."""
    weight = nn.Parameter(torch.zeros(64, 64))
    weight.grad = torch.randn(64, 64, generator=torch.Generator().manual_seed(2))
    Muon([(weight, (64, 64))], lr=0.5).step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.5 * ADAM_LIKE, rel=0.2)


def test_momentum_is_nesterov_s() -> None:
    """Two steps by hand: the mean first, then a look ahead, then orthogonalised."""
    first, second = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(3))
    weight = nn.Parameter(torch.zeros(6, 6))
    optimizer = Muon([(weight, (6, 6))], lr=1.0, momentum=0.9)
    mean, expected = torch.zeros(6, 6), torch.zeros(6, 6)
    for gradient in (first, second):
        weight.grad = gradient.clone()
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        ahead = 0.1 * gradient + 0.9 * mean
        expected -= ADAM_LIKE * 6**0.5 * orthogonalise(ahead)
    assert torch.allclose(weight.detach(), expected, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 3])
def test_matrices_of_a_wavenet_are_cut_into_layers(layers: int) -> None:
    """Every block divides its weight; embeddings and the last layer are left to Adam."""
    decoder = Decoder(
        4,
        2,
        16,
        8,
        16000,
        dilations=[2**i for i in range(layers)],
        residual_channels=6,
        gate_channels=8,
        skip_channels=10,
        condition_channels=12,
    )
    matrices = wavenet_matrices(decoder)
    taken = {id(weight) for weight, _ in matrices}
    for weight, (rows, columns) in matrices:
        assert weight.shape[-2] % rows == weight.shape[-1] % columns == 0
    wavenet = decoder.wavenet
    assert id(wavenet.gate_weight) in taken
    assert not taken & {id(wavenet.embedding.weight), id(wavenet.output.weight)}
    assert len(matrices) == (4 if layers == 1 else 5)
