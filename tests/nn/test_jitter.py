"""Time jitter: how many frames are replaced, and by which."""

import pytest
import torch
from torch import Tensor

from vqspeech.nn.jitter import jitter

FRAMES = 4000


def numbered(batch: int = 5) -> Tensor:
    """Return latents whose every channel is the number of its frame, so that a source can be read off."""
    return torch.arange(float(FRAMES)).expand(batch, 2, FRAMES).contiguous()


def test_probability_zero_is_the_identity() -> None:
    """Nothing is drawn either, so a run without jitter keeps its random numbers."""
    torch.manual_seed(0)
    z_q = numbered()
    assert torch.equal(jitter(z_q, 0), z_q)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


@pytest.mark.parametrize("probability", [0.12, 0.5, 1.0])
def test_share_of_replaced_frames(probability: float) -> None:
    """The share is the probability, left and right equally often, within four standard errors."""
    torch.manual_seed(0)
    z_q = numbered()
    shift = (jitter(z_q, probability) - z_q)[:, 0, 1:-1]
    assert set(shift.unique().tolist()) <= {-1.0, 0.0, 1.0}
    for side in (-1, 1):
        share, chance = (shift == side).float().mean(), probability / 2
        error = (chance * (1 - chance) / shift.numel()) ** 0.5
        assert abs(share - chance) < 4 * error


def test_a_frame_is_replaced_whole_and_items_are_drawn_apart() -> None:
    """All channels of a frame come from one source; two items have different sources."""
    torch.manual_seed(0)
    found = jitter(numbered(), 0.5)
    assert torch.equal(found[:, 0], found[:, 1])
    assert not torch.equal(found[0], found[1])


def test_the_edges_have_one_neighbour() -> None:
    """The first frame is itself or the second; the last is itself or the one before; nothing wraps round."""
    torch.manual_seed(0)
    found = jitter(torch.arange(3.0).expand(500, 1, 3).contiguous(), 1.0)[:, 0]
    assert found[:, 0].unique().tolist() == [0, 1]
    assert found[:, 1].unique().tolist() == [0, 2]
    assert found[:, 2].unique().tolist() == [1, 2]
    assert torch.equal(jitter(torch.ones(2, 3, 1), 1.0), torch.ones(2, 3, 1))


def test_the_gradient_goes_to_the_source() -> None:
    """Each latent receives one unit for each frame that it stands in."""
    torch.manual_seed(0)
    z_q = numbered(1).requires_grad_()
    found = jitter(z_q, 0.5)
    (grad,) = torch.autograd.grad(found.sum(), z_q)
    uses = found[0, 0].long().bincount(minlength=FRAMES)
    assert torch.equal(grad[0, 0].long(), uses)
