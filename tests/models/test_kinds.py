"""Models with every kind of bottleneck: encoded, decoded, scored, written and read alike, with codes or without."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vqspeech.audio.mulaw import mulaw_encode
from vqspeech.errors import VqspeechError
from vqspeech.models import encoding
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, save_model
from vqspeech.models.config import BOTTLENECKS, DISCRETE
from vqspeech.sampling import Sampling

CONTINUOUS = [kind for kind in BOTTLENECKS if kind not in DISCRETE]
REFERENCE = Sampling(engine="reference")


@pytest.fixture(params=BOTTLENECKS)
def model(
    request: pytest.FixtureRequest, tiny_of_kind: Callable[[str], Autoencoder]
) -> Autoencoder:
    return tiny_of_kind(request.param)


@pytest.fixture(params=CONTINUOUS)
def continuous(
    request: pytest.FixtureRequest, tiny_of_kind: Callable[[str], Autoencoder]
) -> Autoencoder:
    return tiny_of_kind(request.param)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_discrete_kinds_are_those_with_codes() -> None:
    """Four have codes; a plain and a Gaussian autoencoder have none."""
    assert set(DISCRETE) == {"vq", "vq_ema", "gumbel", "vimco"}
    assert set(CONTINUOUS) == {"gaussian", "none"}


def test_latents_are_what_the_decoder_gets_in_evaluation(model: Autoencoder) -> None:
    """The output of the bottleneck in evaluation mode, and the vectors of the codes where there are any."""
    wav = noise(2, 500)
    with torch.inference_mode():
        expected = model.bottleneck(model.encoder(wav)).z_q
    latents = model.latents(wav)
    assert latents.shape == (2, 8, 32)
    torch.testing.assert_close(latents, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.latents(wav[1].numpy()), latents[1], rtol=1e-5, atol=1e-6)
    if model.discrete:
        vectors = model.quantizer.dequantize(model.encode(wav))
        torch.testing.assert_close(latents, vectors)


def test_training_mode_changes_no_conditioning(model: Autoencoder) -> None:
    """A model in training is judged by the same latents, codes and divergences: no noise gets in."""
    wav = noise(300)
    conditioning, latents, divergence = (
        model.conditioning(wav),
        model.latents(wav),
        model.divergence(wav),
    )
    model.train()
    assert torch.equal(model.conditioning(wav), conditioning)
    assert torch.equal(model.latents(wav), latents)
    assert torch.equal(model.divergence(wav), divergence)
    assert torch.equal(model.encoding(wav).conditioning, conditioning)
    assert torch.equal(model.encoding(wav).divergence, divergence)


def test_pieces_and_blocks_give_the_conditioning_of_one_pass(
    model: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a recording arrives, the decoder is conditioned alike, to rounding."""
    wav = noise(3000)
    expected = model.conditioning(wav)
    monkeypatch.setattr(encoding, "BLOCK_SAMPLES", 160)
    for pieces in ([wav], list(wav.split(77))):
        found = torch.cat(list(model.conditioning_blocks(pieces)), -1)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert model.divergence(wav).shape == expected.shape[-1:]


def test_converting_is_decoding_the_conditioning(model: Autoencoder) -> None:
    """As long as the source, and the same levels under the same seed; another voice is another recording."""
    wav = noise(200)
    made = model.convert(wav, "p226", seed=3, sampling=REFERENCE)
    assert made.shape == (200,)
    again = model.decode(model.conditioning(wav), "p226", 200, seed=3, sampling=REFERENCE)
    assert torch.equal(made, again)
    assert not torch.equal(made, model.convert(wav, "p225", seed=3, sampling=REFERENCE))
    blocks = model.stream(model.conditioning(wav), "p226", 200, seed=3, sampling=REFERENCE)
    assert torch.equal(torch.cat(list(blocks)), made)


def test_likelihood_hangs_on_the_conditioning_and_its_order(model: Autoencoder) -> None:
    """Shuffled in time, codes or latents lead to another likelihood."""
    wav = noise(600)
    levels, conditioning = mulaw_encode(wav), model.conditioning(wav)
    nll = model.nll(levels, conditioning, "p225")
    assert nll.shape == (600,)
    order = torch.randperm(conditioning.shape[-1], generator=torch.Generator().manual_seed(0))
    assert (model.nll(levels, conditioning[..., order], "p225") - nll).abs().max() > 1e-4
    torch.testing.assert_close(model.nll(levels, model.latents(wav), "p225"), nll)


def test_model_files_hold_every_kind(model: Autoencoder, tmp_path: Path) -> None:
    """Written and read, in either precision, a model makes the same of a recording."""
    path, wav = tmp_path / "model.safetensors", noise(300)
    save_model(model, path)
    loaded = load_model(path)
    assert loaded.config.bottleneck == model.config.bottleneck
    assert torch.equal(loaded.conditioning(wav), model.conditioning(wav))
    assert loaded.codebook_id == model.codebook_id
    save_model(model, path, half=True)
    halved = load_model(path)
    for name, weight in halved.bottleneck.state_dict().items():
        assert torch.equal(weight, model.bottleneck.state_dict()[name]), name
    if not model.discrete:
        torch.testing.assert_close(halved.latents(wav), model.latents(wav), rtol=0, atol=0.01)


def test_only_codebooks_have_an_id(model: Autoencoder) -> None:
    """Another table, another id; without a table none."""
    if not model.discrete:
        assert model.codebook_id is None
        return
    before = model.codebook_id
    assert re.fullmatch(r"[0-9a-f]{16}", before)
    with torch.no_grad():
        for tensor in model.bottleneck.state_dict().values():
            if tensor.is_floating_point():
                tensor += torch.rand_like(tensor)
    assert model.codebook_id != before


def test_codes_are_refused_in_one_line_where_there_are_none(continuous: Autoencoder) -> None:
    """Asked for codes, or given some, a continuous model says what it is and what works."""
    wav, codes = noise(100), torch.tensor([0, 1])
    kind = continuous.config.bottleneck["kind"]
    for ask in (
        lambda: continuous.encode(wav),
        lambda: continuous.encode_blocks([wav]),
        lambda: continuous.codebook_size,
        lambda: continuous.decode(codes, "p225"),
        lambda: continuous.nll(mulaw_encode(wav[:32]), codes, "p225"),
    ):
        with pytest.raises(
            VqspeechError, match=f"no codes: its bottleneck '{kind}' is contin"
        ) as e:
            ask()
        assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("latents", "expected"),
    [
        (np.zeros((7, 3), np.float32), r"latents of shape \(7, 3\): expected \(8, frames\)"),
        (np.zeros((8, 0), np.float32), r"latents of shape \(8, 0\)"),
        (np.full((8, 2), np.nan, np.float32), "not finite"),
    ],
)
def test_impossible_latents_are_refused(
    tiny_model: Autoencoder, latents: np.ndarray, expected: str
) -> None:
    """Before anything is sampled."""
    with pytest.raises(VqspeechError, match=expected):
        tiny_model.decode(latents, "p225")


def test_more_samples_than_latents_are_refused(continuous: Autoencoder) -> None:
    """Two latents of 16 samples do not last for 33."""
    with pytest.raises(VqspeechError, match="33 samples asked of 2 codes of 16 samples each"):
        continuous.decode(torch.zeros(8, 2), "p225", 33)
