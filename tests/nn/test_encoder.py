"""The encoder: its lengths, and what a frame depends on."""

from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vqspeech.nn.encoder import Encoder

CONF = Path(__file__).parents[2] / "conf/encoder"
PRESETS = sorted(path.stem for path in CONF.glob("*.yaml"))


def narrow(preset: str) -> Encoder:
    """Return an encoder with the strides and dilations of a preset and few channels."""
    settings = yaml.safe_load((CONF / f"{preset}.yaml").read_text())
    settings["channels"] = [4] * len(settings["strides"])
    torch.manual_seed(0)
    return Encoder(dim=3, **settings)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder([3, 2, 5], [4, 6, 8], [1, 4], 3)


@given(st.integers(1, 200), st.integers(1, 3))
def test_any_length_gives_the_frames_that_cover_it(
    encoder: Encoder, samples: int, batch: int
) -> None:
    """frames = ceil(samples / hop), from one sample up."""
    z_e = encoder(torch.zeros(batch, samples))
    assert z_e.shape == (batch, 3, -(-samples // encoder.hop))


@pytest.mark.parametrize("preset", PRESETS)
def test_receptive_field_and_context_are_those_of_the_gradient(preset: str) -> None:
    """A frame has a gradient from every sample within its context, and from none outside."""
    encoder = narrow(preset).double()
    with torch.no_grad():
        # positive everywhere, so that no relu hides a dependence
        for layer in [*encoder.strided, *encoder.blocks.modules()]:
            if isinstance(layer, torch.nn.Conv1d):
                layer.weight.abs_()
    before, after = encoder.context
    frame = -(-before // encoder.hop) + 1
    frames = frame + 2 + -(-after // encoder.hop)
    wav = torch.rand(1, frames * encoder.hop, dtype=torch.float64, requires_grad=True)
    (z_e,) = encoder(wav)
    (grad,) = torch.autograd.grad(z_e[:, frame].square().sum(), wav)
    found = torch.nonzero(grad[0])[:, 0]
    expected = torch.arange(frame * encoder.hop - before, (frame + 1) * encoder.hop + after)
    assert torch.equal(found, expected)
    assert encoder.receptive_field == len(expected)


@pytest.mark.parametrize(("preset", "hop"), [("paper64", 64), ("phoneme640", 640), ("mini", 160)])
def test_hop_of_presets(preset: str, hop: int) -> None:
    """Those that the README names are there; the two of the paper shorten as much as their names say."""
    assert preset in PRESETS
    assert narrow(preset).hop == hop


@given(st.data())
def test_a_frame_depends_on_nothing_outside_its_receptive_field(
    encoder: Encoder, data: st.DataObject
) -> None:
    """Replacing all samples outside leaves the frame as it was; one sample inside moves it."""
    hop, (before, after) = encoder.hop, encoder.context
    frames = 24
    frame = data.draw(st.integers(0, frames - 1))
    torch.manual_seed(frame)
    wav, other = torch.randn(2, frames * hop)
    outside = torch.ones(frames * hop, dtype=torch.bool)
    outside[max(0, frame * hop - before) : (frame + 1) * hop + after] = False

    def encode(x: Tensor) -> Tensor:
        return encoder(x[None])[0, :, frame]

    torch.testing.assert_close(
        encode(torch.where(outside, other, wav)), encode(wav), rtol=0, atol=1e-6
    )
    inside = data.draw(st.integers(frame * hop, (frame + 1) * hop - 1))
    moved = wav.clone()
    moved[inside] += 10
    assert (encode(moved) - encode(wav)).abs().max() > 1e-4


def test_a_recording_does_not_depend_on_its_company(encoder: Encoder) -> None:
    """No statistic over the batch stands between waveform and latents."""
    torch.manual_seed(0)
    wav = torch.randn(3, 100)
    wav[1] *= 50
    for row, z_e in zip(wav, encoder(wav), strict=True):
        torch.testing.assert_close(encoder(row[None])[0], z_e, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("strides", "channels"), [([2, 2], [4]), ([2], [4, 4]), ([], [])])
def test_channels_that_do_not_match_the_strides(strides: list[int], channels: list[int]) -> None:
    """Each stride needs its channels, and there must be one."""
    with pytest.raises(ValueError, match="as many channels as strides"):
        Encoder(strides, channels, [], 3)
