"""The distribution of pitch contours: a distribution, causal in the contour, and drawn from as it is measured."""

import math

import pytest
import torch
from torch.nn import functional as F

from vqspeech.nn.contour import (
    KNOT_FRAMES,
    PAST,
    STEPS_PER_OCTAVE,
    ContourModel,
    coded,
)

MEAN = torch.tensor([math.log2(120.0)])
ONE = torch.tensor([1])


@pytest.fixture
def model() -> ContourModel:
    """Return one whose weights are far from zero, so that everything matters."""
    torch.manual_seed(3)
    model = ContourModel(dim=6, speakers=3, channels=16, upsample=2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    return model.eval().requires_grad_(False)


def contour(frames: int = 40) -> torch.Tensor:
    """Voiced for some time, unvoiced, voiced again, in whole steps at knots."""
    f0 = 120 * torch.exp2(0.3 * torch.sin(torch.arange(frames) / 5.0))
    f0[10:24] = 0
    return coded(f0[None], MEAN)


def test_probabilities_of_a_frame_sum_to_one(model: ContourModel) -> None:
    """Over unvoiced and all steps of F0 at knots, over voiced or not elsewhere."""
    z_q = torch.randn(1, 6, 20)
    steps = torch.exp2(MEAN + torch.arange(-330, 331) / STEPS_PER_OCTAVE)
    # voicing begins at 24; 15 would begin a stretch, 31 is between knots
    for frame, f0 in ((0, steps), (4, steps), (15, steps), (24, steps), (31, steps[:1])):
        many = contour().repeat(len(f0) + 1, 1)
        many[:, frame] = torch.cat([torch.zeros(1), f0])
        rows = len(many)
        nats = model(z_q.expand(rows, -1, -1), ONE.expand(rows), MEAN.expand(rows), many)
        assert float(torch.exp(-nats[:, frame].double()).sum()) == pytest.approx(1, abs=1e-4)


def test_a_frame_depends_on_those_before_it_alone(model: ContourModel) -> None:
    """What follows may change; so may what lies further back than the last knot, where there is one since."""
    z_q, known = torch.randn(1, 6, 20), contour()
    later, earlier, long_ago = known.clone(), known.clone(), known.clone()
    later[0, 32] *= 2
    earlier[0, 28] *= 2
    long_ago[0, 4] *= 2
    nats, of_later, of_earlier, of_long_ago = (
        model(z_q, ONE, MEAN, c) for c in (known, later, earlier, long_ago)
    )
    assert torch.equal(nats[0, :32], of_later[0, :32])
    assert (nats[0, 32:] != of_later[0, 32:]).all()
    assert nats[0, 32] != of_earlier[0, 32]
    assert torch.equal(nats[0, 24:], of_long_ago[0, 24:])
    assert not torch.equal(model(z_q.flip(2), ONE, MEAN, known), nats)
    assert not torch.equal(model(z_q, ONE - 1, MEAN, known), nats)


def test_the_last_knot_counts_however_far_back(model: ContourModel) -> None:
    """After a long silence F0 is still predicted from it."""
    z_q, known = torch.randn(1, 6, 20), contour()
    other = known.clone()
    other[0, 8] *= 2
    assert (known[0, 24 - PAST : 24] == 0).all()
    assert model(z_q, ONE, MEAN, other)[0, 24] != model(z_q, ONE, MEAN, known)[0, 24]


def test_what_is_drawn_is_what_is_measured(model: ContourModel) -> None:
    """Where a distribution leaves no doubt, the draw is what it gives all its mass to, in each frame."""
    z_q = torch.randn(1, 6, 30)
    voicing, weight, _, scale = model.output.weight.split([1, 4, 4, 4])
    # half of the frames voiced, after silence
    odds = model(z_q, ONE, MEAN, torch.zeros(1, 60)).expm1().log()
    model.output.bias[0] -= odds.median()
    # sure of voicing, of the component, and of a height within a thousandth of an octave
    voicing.mul_(1000)
    model.output.bias[0] *= 1000
    weight.mul_(100)
    scale.zero_()
    model.output.bias[-4:] = -20
    drawn = model.draw(z_q, ONE, MEAN, torch.Generator().manual_seed(0))
    voiced = drawn[0] > 0
    assert 0 < voiced.sum() < 60
    assert torch.allclose(drawn, coded(drawn, MEAN))
    nats = model(z_q, ONE, MEAN, drawn)[0]
    assert float(nats.median()) < 0.01
    knot = voiced & ((torch.arange(60) % KNOT_FRAMES == 0) | ~F.pad(voiced, (1, 0))[:-1])
    unlike = torch.where(torch.arange(60) % 8 == 0, drawn, drawn * 2 ** (2 / STEPS_PER_OCTAVE))
    assert float(model(z_q, ONE, MEAN, unlike)[0, knot].median()) > 1


def test_draws_have_the_likelihood_that_is_expected_of_them(model: ContourModel) -> None:
    """How often the first frame is voiced, and its mean height, in many draws."""
    z_q = torch.randn(1, 6, 1)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.stack([model.draw(z_q, ONE, MEAN, generator)[0, 0] for _ in range(600)])
    f0 = torch.exp2(MEAN + torch.arange(-330, 331) / STEPS_PER_OCTAVE)[:, None].repeat(1, 2)
    rows = len(f0)
    nats = model(z_q.expand(rows, -1, -1), ONE.expand(rows), MEAN.expand(rows), f0)
    mass = torch.exp(-nats[:, 0])
    share = float(mass.sum())
    assert float((drawn > 0).float().mean()) == pytest.approx(share, abs=0.07)
    octaves = torch.log2(drawn[drawn > 0]) - MEAN
    below = [float((octaves < at).float().mean()) for at in (-0.1, 0.0, 0.1)]
    steps = torch.arange(-330, 331) / STEPS_PER_OCTAVE
    expected = [float(mass[steps < at - 1e-6].sum()) / share for at in (-0.1, 0.0, 0.1)]
    assert below == pytest.approx(expected, abs=0.08)


@pytest.mark.parametrize("off", [-0.4, 0.4])
def test_a_contour_is_linear_from_knot_to_knot(off: float) -> None:
    """Whole steps where voice begins and at every fourth frame; a stretch ends level, and what is coded stays."""
    steps = torch.tensor([0, 3, 0, 0, 0, 8, 0, 0, 4, 1, 0, 9, 0, 0, 0, 0]).float()
    voiced = torch.tensor([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0]).bool()
    f0 = torch.where(voiced, torch.exp2(MEAN + (steps + off) / STEPS_PER_OCTAVE), 0)[None]
    found = coded(f0, MEAN)
    assert torch.equal(found > 0, f0 > 0)
    expected = torch.tensor([3, 2, 1, 0, 1, 2, 3, 4, 4, 4, 0]).float()
    heights = (torch.log2(found[f0 > 0]) - MEAN) * STEPS_PER_OCTAVE
    torch.testing.assert_close(heights, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(coded(found, MEAN), found)
    both = coded(torch.cat([f0, f0.roll(4, 1)]), MEAN.repeat(2))
    assert torch.equal(both[:1], found)
