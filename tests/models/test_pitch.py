"""A model that takes pitch: codes suffice, contours steer it, and wrong ones do no harm but to the melody."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vqspeech.audio.mulaw import mulaw_encode
from vqspeech.audio.pitch import Voice, look_up, move, smooth, track
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, save_model
from vqspeech.models.decoding import Request
from vqspeech.models.pitchfilter import PASSES, PitchFilter
from vqspeech.models.postfilter import PostFilter, lift_weak
from vqspeech.sampling import Sampling

REFERENCE = Sampling(engine="reference")


def voice(seconds: float = 0.3, f0_hz: float = 150.0) -> NDArray[np.float32]:
    """Pulses through a formant: something that has a pitch."""
    pulses = np.zeros(round(seconds * 16_000))
    pulses[:: round(16_000 / f0_hz)] = 1
    time = np.arange(300) / 16_000
    formant = np.exp(-time * 400) * np.cos(2 * np.pi * 600 * time)
    return (0.3 * np.convolve(pulses, formant)[: len(pulses)]).astype(np.float32)


def frames_of(model: Autoencoder, codes: torch.Tensor) -> int:
    return len(codes) * model.hop // model.decoder.condition_hop


def test_codes_alone_are_decoded_with_the_predicted_contour(voiced_model: Autoencoder) -> None:
    """Without a contour the decoder predicts it: giving the same one says the same."""
    codes = voiced_model.encode(voice())
    predicted = voiced_model.contour(codes, "p226")
    assert predicted.shape == (frames_of(voiced_model, codes),)
    one = voiced_model.decode(codes, "p226", sampling=REFERENCE)
    other = voiced_model.decode(codes, "p226", sampling=REFERENCE, contour=predicted)
    assert torch.equal(one, other)
    louder = torch.full_like(predicted, 150)
    changed = voiced_model.decode(codes, "p226", sampling=REFERENCE, contour=louder)
    assert not torch.equal(one, changed)


@pytest.mark.parametrize("wrong", ["octave", "unvoiced", "noise", "extreme"])
def test_any_contour_of_the_right_length_is_decoded(voiced_model: Autoencoder, wrong: str) -> None:
    """An octave off, nothing voiced, noise of 20 %, and frequencies that no voice has."""
    codes = voiced_model.encode(voice())
    contour = torch.full((frames_of(voiced_model, codes),), 150.0)
    noise = 1 + 0.2 * torch.randn(len(contour), generator=torch.Generator().manual_seed(0))
    contour = {
        "octave": contour * 2,
        "unvoiced": contour * 0,
        "noise": contour * noise,
        "extreme": torch.where(noise > 1, 1e9, 1e-9),
    }[wrong]
    wav = voiced_model.decode(codes, "p225", contour=contour, sampling=REFERENCE)
    assert torch.isfinite(wav).all()
    assert len(wav) == len(codes) * voiced_model.hop


def test_a_conversion_follows_its_source(voiced_model: Autoencoder) -> None:
    """The source's contour, smoothed and moved to the target, is what `convert` decodes with."""
    wav = voice()
    codes, tracked = voiced_model.encode(wav), track(wav, 16_000)
    assert (tracked > 0).mean() > 0.5
    contour = voiced_model.contour(codes, "p225", tracked, semitones=3)
    moved = move(smooth(tracked), Voice(7.6, 0.2), 3)
    expected = look_up(moved, 0, len(contour), voiced_model.decoder.condition_hop, 16_000)
    np.testing.assert_allclose(contour.numpy(), expected, rtol=1e-5)
    found = voiced_model.convert(wav, "p225", semitones=3, sampling=REFERENCE)
    by_hand = voiced_model.decode(codes, "p225", len(wav), contour=contour, sampling=REFERENCE)
    assert torch.equal(found, by_hand)
    predicted = voiced_model.convert(wav, "p225", pitch="predicted", sampling=REFERENCE)
    assert torch.equal(predicted, voiced_model.decode(codes, "p225", len(wav), sampling=REFERENCE))
    assert not torch.equal(found, predicted)


def test_blocks_with_a_contour_are_the_whole(voiced_model: Autoencoder) -> None:
    """Streamed and joined, beside others or alone: the same bits."""
    codes = voiced_model.encode(voice())
    contour = torch.linspace(90, 200, frames_of(voiced_model, codes))
    whole = voiced_model.decode(codes, "p226", contour=contour, sampling=REFERENCE)
    streamed = torch.cat(
        list(voiced_model.stream(codes, "p226", contour=contour, sampling=REFERENCE))
    )
    assert torch.equal(streamed, whole)
    requests = [Request(codes[:5], "p225"), Request(codes, "p226", contour=contour)]
    together = dict(voiced_model.decode_many(requests, REFERENCE))
    assert torch.equal(together[1], whole)


def test_the_post_filter_takes_conditions_without_pitch(voiced_model: Autoencoder) -> None:
    """The spectral head sees codes and speaker alone, as it was trained: a contour does not change its prediction."""
    codes = voiced_model.encode(voice())
    contour = torch.full((frames_of(voiced_model, codes),), 150.0)
    one, other = (voiced_model.condition(codes, "p225", c) for c in (contour, 2 * contour))
    assert one.spectrum is not None
    assert torch.equal(one.spectrum, other.spectrum)
    assert not torch.equal(one.condition, other.condition)


def test_what_is_drawn_is_filtered_along_the_contour(voiced_model: Autoencoder) -> None:
    """First along the pitch, then towards the predicted spectrum; neither with a strength of 0."""
    codes = voiced_model.encode(voice())
    contour = torch.full((frames_of(voiced_model, codes),), 150.0)
    bare, found = (
        voiced_model.decode(
            codes, "p225", contour=contour, sampling=replace(REFERENCE, post_filter=s)
        )
        for s in (0.0, 1.0)
    )
    _, lag, predicted = voiced_model.condition(codes, "p225", contour)
    head = voiced_model.decoder.spectral
    assert lag is not None
    assert head is not None
    assert predicted is not None
    combed = bare
    for _ in range(PASSES):
        combed = PitchFilter(lag, voiced_model.decoder.condition_hop, len(bare), 1.0)(combed)
    assert not torch.equal(combed, bare)
    assert torch.equal(found, PostFilter(head, lift_weak(predicted), len(bare), 1.0)(combed))


def test_likelihood_with_a_contour_in_windows_is_that_of_one_pass(
    voiced_model: Autoencoder,
) -> None:
    """`nll` takes a contour; its windows overlap by receptive field and longest period."""
    wav = voice(1.2)
    codes = voiced_model.encode(wav)
    levels = mulaw_encode(torch.from_numpy(wav), 256)
    contour = torch.linspace(60, 300, frames_of(voiced_model, codes))
    found = voiced_model.nll(levels, codes, "p225", contour)
    condition, lag, _ = voiced_model.condition(codes, "p225", contour)
    assert lag is not None
    net = voiced_model.decoder.wavenet
    padded = torch.nn.functional.pad(levels, (0, len(codes) * voiced_model.hop - len(levels)))
    with torch.inference_mode():
        logits = net(net.previous(padded[None]), condition[None], lag=lag[None])[0, : len(levels)]
    expected = torch.nn.functional.cross_entropy(logits, levels, reduction="none")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(found, voiced_model.nll(levels, codes, "p225"))


@pytest.mark.parametrize("bad", [torch.ones(3), torch.ones(0), -1.0, float("nan")])
def test_contours_that_cannot_be(voiced_model: Autoencoder, bad: torch.Tensor | float) -> None:
    """Another length, or what is no frequency, is refused in one line."""
    codes = voiced_model.encode(voice(0.05))
    contour = bad
    if isinstance(bad, float):
        contour = torch.full((frames_of(voiced_model, codes),), bad)
    with pytest.raises(VqspeechError, match="pitch contour"):
        voiced_model.decode(codes, "p225", contour=contour)


def test_a_model_without_pitch_has_no_contour(tiny_model: Autoencoder) -> None:
    """It converts as ever, whatever `pitch` says, but is not shifted."""
    wav = voice(0.05)
    plain = tiny_model.convert(wav, "p225", sampling=REFERENCE)
    assert torch.equal(
        plain, tiny_model.convert(wav, "p225", pitch="predicted", sampling=REFERENCE)
    )
    with pytest.raises(VqspeechError, match="takes no pitch"):
        tiny_model.convert(wav, "p225", semitones=1)
    with pytest.raises(ConfigurationError, match="pitch 'sung'"):
        tiny_model.convert(wav, "p225", pitch="sung")


def test_the_file_in_half_precision_keeps_voices_whole(
    voiced_model: Autoencoder, tmp_path: Path
) -> None:
    """Mean and deviation of a speaker are not rounded: 11 bits would be half a quarter tone."""
    save_model(voiced_model, tmp_path / "half.safetensors", half=True)
    again = load_model(tmp_path / "half.safetensors")
    assert again.decoder.pitch is not None
    assert voiced_model.decoder.pitch is not None
    assert torch.equal(again.decoder.pitch.voices, voiced_model.decoder.pitch.voices)
