"""The autoencoder as a whole: lengths, blocks, speakers, likelihood."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import vqspeech
from vqspeech.audio.mulaw import mulaw_decode, mulaw_encode
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models import autoencoder as module
from vqspeech.models import decoding, encoding
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.config import ModelConfig, check_config
from vqspeech.models.decoding import Request, decode_blocks
from vqspeech.sampling import Sampling, reference

REFERENCE = Sampling(engine="reference")


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return a recording that passes through many codes."""
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cut(wav: Tensor, lengths: list[int]) -> list[np.ndarray]:
    """Return a recording in pieces of these lengths and a rest."""
    pieces, start = [], 0
    for length in lengths:
        pieces.append(wav[..., start : start + length].numpy())
        start += length
    return [*pieces, wav[..., start:].numpy()]


def asked(codes, speakers, samples, seeds) -> list[Request]:
    """Return requests for several recordings."""
    rows = zip(codes, speakers, samples, seeds, strict=True)
    return [Request(*row) for row in rows]


def decode_all(model: Autoencoder, requests: list[Request], sampling=REFERENCE) -> list[Tensor]:
    """Return what is decoded together, in the order of the requests."""
    made = dict(model.decode_many(requests, sampling))
    assert sorted(made) == list(range(len(requests)))
    return [made[place] for place in range(len(requests))]


def one_pass(model: Autoencoder, wav: Tensor) -> Tensor:
    """Return the codes of the whole recording at once."""
    with torch.inference_mode():
        return model.bottleneck.encode(model.encoder(wav[None]))[0]


def test_the_tiny_model_uses_many_codes(tiny_model: Autoencoder) -> None:
    """What is tested here with it would say little if all codes were one."""
    assert len(tiny_model.encode(noise(5000)).unique()) > 8


@given(
    samples=st.integers(1, 900),
    block=st.integers(1, 200),
    lengths=st.lists(st.integers(0, 300), max_size=6),
)
def test_pieces_and_blocks_give_the_codes_of_one_pass(
    tiny_model: Autoencoder, samples: int, block: int, lengths: list[int]
) -> None:
    """However the recording arrives and however it is cut, every code is the same."""
    wav = noise(samples, seed=samples)
    expected = one_pass(tiny_model, wav)
    assert expected.shape == (-(-samples // tiny_model.hop),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "BLOCK_SAMPLES", block)
        assert torch.equal(tiny_model.encode(wav), expected)
        found = list(tiny_model.encode_blocks(cut(wav, lengths)))
    assert torch.equal(torch.cat(found), expected)
    assert all(codes.dtype == torch.int64 and len(codes) for codes in found)


@pytest.mark.parametrize("block", [1, 100, 400])
def test_a_context_longer_than_a_block(
    tiny_config: ModelConfig, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """Blocks of one frame still see all that came before, where a frame depends on twenty of them."""
    torch.manual_seed(0)
    encoder = dict(tiny_config.encoder) | {"dilations": [2, 8]}
    # with this many codes, a single sample that goes missing at the far end of the context changes some
    bottleneck = {"kind": "vq_ema", "codebook_size": 4096}
    config = replace(tiny_config, encoder=encoder, bottleneck=bottleneck)
    model = Autoencoder(config, ["a"]).eval()
    assert model.encoder.context[0] > 10 * model.hop
    wav = 10 * noise(4000)
    monkeypatch.setattr(encoding, "BLOCK_SAMPLES", block)
    assert torch.equal(model.encode(wav), one_pass(model, wav))


def test_memory_does_not_grow_with_the_recording(
    tiny_model: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder never sees more than a block and its context, and codes come out as soon as they can."""
    monkeypatch.setattr(encoding, "BLOCK_SAMPLES", 160)
    seen: list[int] = []
    handle = tiny_model.encoder.register_forward_pre_hook(
        lambda _module, args: seen.append(args[0].shape[-1])
    )
    taken = 0

    def pieces():
        nonlocal taken
        for seed in range(200):
            taken += 100
            yield noise(100, seed=seed)

    try:
        first = next(tiny_model.encode_blocks(pieces()))
        margin = tiny_model.receptive_field + 2 * tiny_model.hop
        assert taken <= 160 + margin + 100
        assert len(first) == 160 // tiny_model.hop
        tiny_model.encode(noise(20_000))
    finally:
        handle.remove()
    assert len(seen) > 100
    assert max(seen) <= 160 + margin


@pytest.mark.parametrize("samples", [1, 15, 16, 17, 400])
def test_a_batch_has_the_codes_of_its_rows(
    tiny_model: Autoencoder, monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    """(batch, samples) gives (batch, frames), each row what it is alone, arrays and tensors alike."""
    monkeypatch.setattr(encoding, "BLOCK_SAMPLES", 100)
    wav = noise(3, samples)
    codes = tiny_model.encode(wav)
    assert codes.shape == (3, -(-samples // 16))
    for row, found in zip(wav, codes, strict=True):
        assert torch.equal(tiny_model.encode(row), found)
        assert torch.equal(tiny_model.encode(row.double().numpy()), found)


@pytest.mark.parametrize(
    ("wav", "expected"),
    [
        *((torch.tensor([*[0.1] * 777, bad]), "not finite") for bad in (nan, inf, -inf)),
        (torch.zeros(0), "no samples"),
    ],
    ids=["nan", "infinite", "minus infinite", "nothing"],
)
def test_what_is_no_recording_is_refused(
    tiny_model: Autoencoder, wav: Tensor, expected: str
) -> None:
    """One sample that is no number is enough, wherever it is; there is no code for nothing."""
    for ask in (
        lambda: tiny_model.encode(wav),
        lambda: list(tiny_model.encode_blocks(cut(wav, [100, 600] if len(wav) else [0]))),
        lambda: list(tiny_model.encode_blocks([wav.numpy()])),
    ):
        with pytest.raises(VqspeechError, match=expected):
            ask()
    with pytest.raises(VqspeechError, match="no samples"):
        list(tiny_model.encode_blocks([]))


@pytest.mark.parametrize("samples", [1, 15, 16, 17, 50])
def test_as_many_samples_come_back_as_went_in(tiny_model: Autoencoder, samples: int) -> None:
    """Encoding and decoding keep the length, whatever it is."""
    wav = noise(samples)
    codes = tiny_model.encode(wav)
    decoded = tiny_model.decode(codes, "p226", samples)
    assert decoded.shape == (samples,)
    assert decoded.dtype == torch.float32
    assert decoded.abs().max() <= 1
    assert torch.equal(tiny_model.convert(wav, "p226"), decoded)
    whole = tiny_model.decode(codes, "p226")
    assert len(whole) == len(codes) * tiny_model.hop
    assert torch.equal(whole[:samples], decoded)


def test_codes_speaker_and_seed_each_decide_what_is_heard(tiny_model: Autoencoder) -> None:
    """The same three give the same samples; another of any gives others."""
    codes = tiny_model.encode(noise(2000))
    base = tiny_model.decode(codes, "p225", seed=1)
    assert torch.equal(tiny_model.decode(codes.numpy(), "p225", seed=1), base)
    for other in (
        tiny_model.decode((codes + 1) % 16, "p225", seed=1),
        tiny_model.decode(codes, "p226", seed=1),
        tiny_model.decode(codes, "p225", seed=2),
    ):
        assert not torch.equal(other, base)


def test_a_spectral_head_filters_what_is_said(
    tiny_model: Autoencoder, tiny_config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a batch, in blocks and alone the same bits; without the filter those of the WaveNet; lengths as asked."""
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 30)
    torch.manual_seed(1)
    config = replace(tiny_config, decoder={**tiny_config.decoder, "spectral_channels": 8})
    model = Autoencoder(config, tiny_model.speakers).eval()
    model.load_state_dict(tiny_model.state_dict(), strict=False)
    codes = [model.encode(noise(n, seed=n)) for n in (400, 1000, 16)]
    speakers, samples, seeds = ["p226", "p225", "p227"], [333, None, 1], [1, 2, 3]
    requests = asked(codes, speakers, samples, seeds)
    whole = decode_all(model, requests)
    assert [len(wav) for wav in whole] == [333, 1008, 1]
    plain = decode_all(tiny_model, requests)
    bare = decode_all(model, requests, replace(REFERENCE, post_filter=0.0))
    half = model.decode(codes[0], "p226", 333, seed=1, sampling=replace(REFERENCE, post_filter=0.5))
    assert all(torch.equal(found, expected) for found, expected in zip(bare, plain, strict=True))
    assert not torch.equal(whole[0], plain[0])
    assert not torch.equal(half, whole[0])
    yielded = list(decode_blocks(model, requests, REFERENCE))
    for blocks, expected in zip(zip(*yielded, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(blocks), expected)
    streamed = list(model.stream(codes[1], "p225", seed=2, sampling=REFERENCE))
    assert all(len(block) for block in streamed)
    assert torch.equal(torch.cat(streamed), whole[1])


def test_blocks_joined_are_what_is_decoded_at_once(
    tiny_model: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of a batch and of a stream give the bits of decode alone, whatever their length, speakers and seeds."""
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 30)
    codes = [tiny_model.encode(noise(n, seed=n)) for n in (40, 100, 16)]
    speakers, samples, seeds = ["p226", "p225", "p227"], [33, None, 1], [1, 2, 3]
    requests = asked(codes, speakers, samples, seeds)
    whole = decode_all(tiny_model, requests)
    for request, found in zip(requests, decode_all(tiny_model, requests, Sampling()), strict=True):
        alone = tiny_model.decode(*request[:3], seed=request.seed)
        assert torch.equal(alone, found)
    yielded = list(decode_blocks(tiny_model, requests, REFERENCE))
    assert [[len(block) for block in blocks] for blocks in yielded] == [
        [30, 30, 1],
        [3, 30, 0],
        [0, 30, 0],
        [0, 22, 0],
    ]
    assert all(block.dtype == torch.float32 for blocks in yielded for block in blocks)
    for blocks, expected in zip(zip(*yielded, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(blocks), expected)
    streamed = list(tiny_model.stream(codes[1], "p225", seed=2, sampling=REFERENCE))
    assert [len(block) for block in streamed] == [30, 30, 30, 22]
    assert torch.equal(torch.cat(streamed), whole[1])
    assert list(decode_blocks(tiny_model, [])) == decode_all(tiny_model, []) == []


@pytest.mark.parametrize("end", ["close", "delete"])
def test_a_stream_that_is_left_computes_no_more(
    tiny_model: Autoencoder, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Steps are made for the blocks that are taken and for no others; what the engine holds is let go."""
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 10)
    steps, ended = 0, []
    step, advance = reference.Cache.step, reference.draw

    def counted(*args: object) -> Tensor:
        nonlocal steps
        steps += 1
        return step(*args)

    def watched(*args: object) -> Iterator[list[Tensor]]:
        try:
            yield from advance(*args)
        finally:
            ended.append(steps)

    monkeypatch.setattr(reference.Cache, "step", counted)
    monkeypatch.setattr(reference, "draw", watched)
    codes = tiny_model.encode(noise(1000))
    stream = tiny_model.stream(codes, "p225", sampling=REFERENCE)
    assert steps == 0
    for block in stream:
        assert len(block) == 10
        if steps >= 20:
            break
    if end == "close":
        stream.close()
        assert list(stream) == []
    del stream
    gc.collect()
    assert steps == 20
    assert ended == [20]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"speaker": "nobody"}, "'nobody'"),
        ({"codes": [99]}, "from 99 to 99"),
        ({"samples": 10**6}, "1000000 samples asked"),
        ({"sampling": Sampling(engine="warp")}, "engine 'warp'"),
        ({"sampling": Sampling(engine="reference", mode="int3")}, "mode 'int3'"),
    ],
)
def test_a_stream_refuses_its_arguments_at_once(
    tiny_model: Autoencoder, arguments: dict, expected: str
) -> None:
    """What is wrong is told when the stream is asked for, not when its first block is."""
    with pytest.raises(VqspeechError, match=expected):
        tiny_model.stream(**({"codes": [1, 2], "speaker": "p225"} | arguments))


def test_sampling_decides_what_is_heard(tiny_model: Autoencoder) -> None:
    """Temperature and top_p reach the draw, by decode and by convert."""
    wav = noise(200)
    codes = tiny_model.encode(wav)
    likeliest = tiny_model.decode(codes, "p225", 200, sampling=Sampling(temperature=0))
    for how in (Sampling(temperature=0), Sampling(top_p=1e-6)):
        assert torch.equal(tiny_model.convert(wav, "p225", sampling=how), likeliest)
    half = tiny_model.decode(codes, "p225", 200, sampling=Sampling(top_p=0.5))
    assert torch.equal(tiny_model.convert(wav, "p225", sampling=Sampling(top_p=0.5)), half)
    assert not torch.equal(half, tiny_model.decode(codes, "p225", 200))


def test_progress_of_decoding(tiny_model: Autoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It rises to the samples of all recordings, those of several groups too, and says them all each time."""
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 6)
    calls: list[tuple[int, int]] = []
    requests = asked([[1, 2], [3], [4, 5]], ["p225", "p226", "p225"], [None, 7, 20], [0, 0, 0])
    for most, groups in ((256, 1), (2, 2)):
        monkeypatch.setattr(decoding, "LOCKSTEP", most)
        calls.clear()
        made = tiny_model.decode_many(
            requests, REFERENCE, lambda done, total: calls.append((done, total))
        )
        assert [place for place, _ in made] == ([1, 2, 0] if groups == 1 else [2, 0, 1])
        done = [call[0] for call in calls]
        assert done == sorted(set(done))
        assert len(done) > 5
        assert calls[-1] == (59, 59)
        assert {call[1] for call in calls} == {59}


@pytest.mark.parametrize(
    ("codes", "samples", "expected"),
    [
        ([0, 16], None, "from 0 to 16"),
        ([-1, 3], None, "from -1 to 3"),
        ([], None, "expected (frames,)"),
        ([[1, 2]], None, "expected (frames,)"),
        ([1, 2], 33, "33 samples asked of 2 codes"),
        ([1, 2], 0, "0 samples asked"),
        ([1, 2], -5, "-5 samples asked"),
    ],
)
def test_codes_that_cannot_be_this_models(
    tiny_model: Autoencoder, codes: list, samples: int | None, expected: str
) -> None:
    """Codes out of range, of another shape or for another length are told with what was found."""
    with pytest.raises(VqspeechError) as error:
        tiny_model.decode(torch.tensor(codes), "p225", samples)
    assert expected in str(error.value)


def test_an_unknown_speaker_is_told_with_those_that_look_alike(tiny_model: Autoencoder) -> None:
    """The names nearest to the one asked for are in the error; a known one has its place in the table."""
    assert [tiny_model.speaker_index(name) for name in tiny_model.speakers] == [0, 1, 2]
    with pytest.raises(VqspeechError, match=r"'p22x'.*p225"):
        tiny_model.decode([0], "p22x")
    with pytest.raises(VqspeechError, match=r"'somebody'.*3 speakers.*p225"):
        tiny_model.speaker_index("somebody")


@pytest.mark.parametrize("samples", [1, 8, 100, 333])
@pytest.mark.parametrize("window", [1, 40, 100_000])
def test_likelihood_in_windows_is_that_of_one_pass(
    tiny_model: Autoencoder, monkeypatch: pytest.MonkeyPatch, samples: int, window: int
) -> None:
    """Each sample's loss is the cross-entropy of the parallel pass over the whole recording, to 1e-5."""
    monkeypatch.setattr(module, "SCORED_SAMPLES", window)
    wav = noise(samples)
    codes, levels = tiny_model.encode(wav), mulaw_encode(wav)
    found = tiny_model.nll(levels, codes, "p226")
    decoder = tiny_model.decoder
    with torch.inference_mode():
        z_q = tiny_model.bottleneck.dequantize(codes[None])
        condition = decoder.conditioner(z_q, torch.tensor([1]))
        padded = F.pad(levels[None], (0, -samples % tiny_model.hop))
        logits = decoder.wavenet(decoder.wavenet.previous(padded), condition)[0, :samples]
    expected = F.cross_entropy(logits, levels, reduction="none")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_likelihood_depends_on_codes_and_speaker(tiny_model: Autoencoder) -> None:
    """Codes in another order and another speaker are other conditions; a sample moves only those from it on."""
    wav = noise(400)
    codes, levels = tiny_model.encode(wav), mulaw_encode(wav)
    base = tiny_model.nll(levels, codes, "p225")
    shuffled = codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))]
    assert (tiny_model.nll(levels, shuffled, "p225") - base).abs().max() > 1e-3
    assert (tiny_model.nll(levels, codes, "p227") - base).abs().max() > 1e-3
    levels[200] = (levels[200] + 100) % 256
    moved = tiny_model.nll(levels, codes, "p225")
    torch.testing.assert_close(moved[:200], base[:200])
    assert not torch.isclose(moved[201], base[201])


def test_what_is_sampled_is_likely(tiny_config: ModelConfig) -> None:
    """Sampler and likelihood speak of one distribution: the mean loss of a draw is its entropy."""
    torch.manual_seed(0)
    model = Autoencoder(tiny_config, ["a", "b"]).eval()
    with torch.no_grad():
        model.decoder.wavenet.output.weight.mul_(40)
    codes = torch.randint(16, (100,))
    decoded = model.decode(codes, "b", seed=0)
    levels = mulaw_encode(decoded)
    assert torch.equal(mulaw_decode(levels), decoded)
    found = model.nll(levels, codes, "b")
    with torch.inference_mode():
        z_q = model.bottleneck.dequantize(codes[None])
        condition = model.decoder.conditioner(z_q, torch.tensor([1]))
        net = model.decoder.wavenet
        entropy = torch.distributions.Categorical(
            logits=net(net.previous(levels[None]), condition)[0]
        ).entropy()
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - entropy.mean()) < 4 * error
    assert entropy.mean() < 5


def test_attributes_of_a_model(tiny_model: Autoencoder) -> None:
    """Hop, rates and sizes are those of its parts."""
    assert tiny_model.hop == 16
    assert tiny_model.frame_rate_hz == 1000
    assert tiny_model.codebook_size == 16
    assert tiny_model.receptive_field == tiny_model.encoder.receptive_field
    assert tiny_model.speakers == ("p225", "p226", "p227")
    assert tiny_model.device == torch.device("cpu")
    assert vqspeech.Autoencoder is Autoencoder


def test_a_codebook_is_told_from_any_other(tiny_config: ModelConfig) -> None:
    """The same codebook has the same id whatever else a model holds; one changed number makes another."""
    torch.manual_seed(0)
    one, other = Autoencoder(tiny_config, ["a"]), Autoencoder(tiny_config, ["a", "b"])
    other.bottleneck.load_state_dict(one.bottleneck.state_dict())
    assert other.codebook_id == one.codebook_id
    with torch.no_grad():
        other.bottleneck.codebook[0, 0] += 1e-3
    assert other.codebook_id != one.codebook_id


def test_everything_wrong_in_a_configuration_is_told_at_once(tiny_config: ModelConfig) -> None:
    """Unknown, missing and impossible settings of all parts are in one line."""
    encoder = dict(tiny_config.encoder) | {"stride": 2, "dim": 4}
    decoder = {k: v for k, v in tiny_config.decoder.items() if k != "dilations"}
    wrong = ModelConfig(0, 256, 8, encoder, {"kind": "vq", "size": 3}, decoder | {"levels": 3})
    with pytest.raises(ConfigurationError) as error:
        check_config(wrong)
    for phrase in (
        "sample_rate: 0 is not",
        "encoder: unknown setting 'stride'",
        "encoder: unknown setting 'dim'",
        "bottleneck: unknown setting 'size'",
        "bottleneck: missing setting 'codebook_size'",
        "decoder: missing setting 'dilations'",
        "decoder: unknown setting 'levels'",
    ):
        assert phrase in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigurationError, match="kind 'pickle' is not one of vq, vq_ema"):
        check_config(replace(tiny_config, bottleneck={"kind": "pickle"}))
