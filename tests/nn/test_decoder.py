"""The condition of the WaveNet: which latents it sees, and in which order its parts are."""

import pytest
import torch
from torch import Tensor

from vqspeech.nn.decoder import Conditioner, Decoder

DIM, CHANNELS = 4, 6
WAVENET = {
    "dilations": [1, 2],
    "residual_channels": 4,
    "gate_channels": 4,
    "skip_channels": 4,
    "condition_channels": CHANNELS,
}


def make(context: int, upsample: int) -> Conditioner:
    torch.manual_seed(0)
    return Conditioner(DIM, 3, 5, CHANNELS, context, upsample).double()


def draw(frames: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, DIM, frames, dtype=torch.float64), torch.randint(3, (batch,))


@pytest.mark.parametrize("context", [0, 1, 3])
@pytest.mark.parametrize("upsample", [1, 4])
def test_a_condition_sees_its_own_latent_and_its_neighbours(context: int, upsample: int) -> None:
    """Part p of frame i has a gradient from the latents i - context ... i + context, and from no other."""
    frames = 9
    conditioner = make(context, upsample)
    for parameter in conditioner.parameters():
        # positive everywhere, so that no relu hides a dependence
        parameter.data.abs_()
    z_q, speaker = draw(frames, batch=1)
    z_q = z_q.abs().requires_grad_()
    condition = conditioner(z_q, speaker)
    assert condition.shape == (1, frames * upsample, CHANNELS)
    for part in range(frames * upsample):
        (grad,) = torch.autograd.grad(condition[0, part].square().sum(), z_q, retain_graph=True)
        seen = torch.nonzero(grad[0].abs().sum(0))[:, 0].tolist()
        frame = part // upsample
        assert seen == list(range(max(0, frame - context), min(frames, frame + context + 1)))


def test_parts_of_a_frame_follow_one_another() -> None:
    """The condition at frame * upsample + p is the p-th block of channels of that frame."""
    conditioner = make(0, 3)
    z_q, speaker = draw(5)
    voice = conditioner.speaker(speaker)
    for item in range(2):
        for frame in range(5):
            mixed = torch.cat([z_q[item, :, frame], voice[item]])
            hidden = conditioner.input.weight[:, :, 0] @ mixed + conditioner.input.bias
            split = conditioner.split.weight[:, :, 0] @ hidden.relu() + conditioner.split.bias
            found = conditioner(z_q, speaker)[item, frame * 3 : frame * 3 + 3]
            torch.testing.assert_close(found, split.view(3, CHANNELS))


def test_the_speaker_moves_every_condition() -> None:
    """The same latents under another speaker differ in every frame."""
    conditioner = make(1, 2)
    z_q, _ = draw(5, batch=1)
    one, other = (conditioner(z_q, torch.tensor([index])) for index in (0, 2))
    assert ((one - other).abs().amax(2) > 0).all()


def test_a_hop_that_cannot_be_split() -> None:
    """The parts of a frame must be of one length."""
    with pytest.raises(ValueError, match="upsample 3 does not divide the hop 64"):
        Decoder(DIM, 2, 16, 64, 16000, **WAVENET, upsample=3)
    assert Decoder(DIM, 2, 16, 64, 16000, **WAVENET, upsample=4).condition_hop == 16
