"""The model file: what goes in comes out, and every other file is refused in one line."""

import copy
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_line import one_line
from safetensors.torch import load_file, save_file

import vqspeech
from vqspeech.audio.mulaw import mulaw_encode
from vqspeech.errors import ModelFileError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import (
    load_model,
    load_prior,
    read_header,
    read_prior_header,
    save_model,
    save_prior,
)
from vqspeech.models.prior import Prior

Forge = Callable[..., Path]


def refusal(path: Path) -> str:
    """Return the error of a file that must not load: one line, the file named, no reading of the rest."""
    with pytest.raises(ModelFileError) as error:
        load_model(path)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.fixture
def forge(tiny_model_file: Path, tmp_path: Path) -> Forge:
    """Write the tiny model with another header or other tensors."""

    def write(
        header: dict[str, Any] | str | None = None, tensors: dict[str, Any] | None = None
    ) -> Path:
        path = tmp_path / "forged.safetensors"
        if not isinstance(header, str):
            header = json.dumps(read_header(tiny_model_file) | (header or {}))
        content = load_file(tiny_model_file) | (tensors or {})
        kept = {key: tensor for key, tensor in content.items() if tensor is not None}
        save_file(kept, path, {"vqspeech": header})
        return path

    return write


def test_a_model_comes_back_bit_by_bit(tiny_model: Autoencoder, tmp_path: Path) -> None:
    """Weights, buffers, configuration and speakers are those that were saved; so is what it says of itself."""
    path = tmp_path / "new folder" / "é.safetensors"
    training, scores = {"steps": 7, "data": "mini"}, {"bits_per_sample": 4.5}
    save_model(tiny_model, path, training, scores)
    loaded = vqspeech.load(path)
    assert not loaded.training
    assert loaded.config == tiny_model.config
    assert loaded.speakers == tiny_model.speakers
    saved, found = tiny_model.state_dict(), loaded.state_dict()
    assert saved.keys() == found.keys()
    for key, tensor in saved.items():
        assert torch.equal(found[key], tensor), key
        assert found[key].dtype == tensor.dtype
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    header = read_header(path)
    assert (header["training"], header["scores"]) == (training, scores)
    assert header["speakers"] == list(tiny_model.speakers)
    wav = torch.sin(torch.arange(100.0))
    assert torch.equal(loaded.convert(wav, "p226"), tiny_model.convert(wav, "p226"))


def test_saving_twice_gives_the_same_bytes(tiny_model: Autoencoder, tmp_path: Path) -> None:
    """Nothing of time or place is in the file."""
    for name in ("a", "b"):
        save_model(tiny_model, tmp_path / name, {"steps": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_loading_moves_no_random_number(tiny_model_file: Path) -> None:
    """A program that draws numbers draws the same ones whether it loads a model or not."""
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_model(tiny_model_file)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a model\n" * 100,
        b"\xff" * 200,
        (2**62).to_bytes(8, "little") + b"{}",
        (50_000_000).to_bytes(8, "little") + b"{}",
        (4).to_bytes(8, "little") + b"[[[[",
        *(0.0001, 0.01, 0.5, 0.999),
    ],
    ids=lambda content: f"cut at {content}" if isinstance(content, float) else f"{content[:9]!r}",
)
def test_files_of_another_kind(
    tiny_model_file: Path, tmp_path: Path, content: bytes | float
) -> None:
    """Nothing, text, noise, headers that lie about their length and a copy that was cut off are refused."""
    path = tmp_path / "a.safetensors"
    if isinstance(content, float):
        whole = tiny_model_file.read_bytes()
        content = whole[: int(len(whole) * content)]
    path.write_bytes(content)
    assert "not a whole safetensors file" in refusal(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    """Both are told as what they are: no model file; so is a link to itself."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("missing.safetensors", ".", "loop", "-", "a b\tc"):
        assert refusal(tmp_path / name) == "no such model file"


@pytest.mark.parametrize("kind", ["pickle", "torch", "npz", "yaml"])
def test_files_that_would_run_code_run_nothing(tmp_path: Path, kind: str, harmful: object) -> None:
    """Pickles in any wrapping are refused unread."""
    path, harmed = tmp_path / "a.safetensors", tmp_path / "harmed"
    with path.open("wb") as file:
        if kind == "pickle":
            pickle.dump(harmful, file)
        elif kind == "torch":
            torch.save({"model": harmful}, file)
        elif kind == "npz":
            np.savez(file, weights=np.array([harmful], dtype=object))
        else:
            file.write(b"!!python/object/apply:os.system ['touch %s']" % os.fsencode(harmed))
    assert "not a whole safetensors file" in refusal(path)
    assert not harmed.exists()


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"vqspeech": "{}"}, {"vqspeech": "[1]"}]
)
def test_safetensors_of_another_program(tmp_path: Path, metadata: dict | None) -> None:
    """A file without our header is said to be whole but not ours."""
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata)
    assert "not one that vqspeech wrote" in refusal(path)


@pytest.mark.parametrize("header", ["", "{", "[" * 100_000, '{"a": ' * 50_000])
def test_a_header_that_is_no_json(forge: Forge, header: str) -> None:
    """Broken and bottomless JSON are refused."""
    assert "is it a vqspeech model file?" in refusal(forge(header))


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_a_file_of_another_version(forge: Forge, version: object) -> None:
    """The version found and the one expected are both named."""
    assert f"format version {version!r} found, 1 expected" in refusal(forge({"version": version}))


def test_a_header_without_all_its_keys(forge: Forge, tiny_model_file: Path) -> None:
    """What is missing is named."""
    header = read_header(tiny_model_file)
    del header["training"], header["speakers"]
    line = refusal(forge(json.dumps(header)))
    assert line == "its header has no speakers, training"


@pytest.mark.parametrize(
    ("part", "change", "expected"),
    [
        ("encoder", {"_target_": "os.system"}, "encoder: unknown setting '_target_'"),
        ("bottleneck", {"_target_": "os.system"}, "bottleneck: unknown setting '_target_'"),
        ("bottleneck", {"kind": "os.system"}, "kind 'os.system' is not one of vq, vq_ema"),
        ("bottleneck", {"kind": ["vq"]}, "unhashable"),
        ("encoder", {"strides": [4, 0]}, "1 is the smallest"),
        ("encoder", {"strides": [4, "4"]}, "describes no model"),
        ("encoder", {"channels": [8]}, "as many channels as strides"),
        ("decoder", {"dilations": []}, "at least one"),
        ("decoder", {"dilations": [1, 0, 4]}, "1 is the smallest"),
        ("decoder", {"upsample": 0}, "does not divide"),
        ("decoder", {"upsample": 3}, "does not divide"),
        ("decoder", {"gate_channels": 0}, "two halves"),
        ("decoder", {"residual_channels": 0}, "describes no model"),
        ("decoder", {"context": 10**12}, "context 1000000000000: expected 0 to"),
        ("decoder", {"context": -1}, "context -1: expected 0 to"),
    ],
)
def test_configurations_that_describe_no_model(
    forge: Forge, tiny_model_file: Path, part: str, change: dict, expected: str
) -> None:
    """A class name, an unknown kind and impossible sizes are refused, and nothing is made of them."""
    config = read_header(tiny_model_file)["config"]
    line = refusal(forge({"config": config | {part: config[part] | change}}))
    assert line.startswith("its config describes no model: ")
    assert expected in line


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        *(
            ({"config": change}, "is not a whole number above 0")
            for change in (
                {"sample_rate": 0},
                {"sample_rate": None},
                {"sample_rate": 16000.5},
                {"levels": "x"},
            )
        ),
        ({"config": None}, "config has None"),
        ({"config": []}, "config has []"),
        ({"config": {"_target_": "os.system"}}, "config has ['_target_', 'bottleneck'"),
        ({"speakers": "p225"}, "speakers is not a list of names"),
        ({"speakers": [1, 2, 3]}, "speakers is not a list of names"),
    ],
)
def test_headers_with_the_wrong_things_in_them(
    forge: Forge, tiny_model_file: Path, change: dict, expected: str
) -> None:
    """A part of the header that is not what it should be is named; rates and levels are whole numbers above 0."""
    if change.get("config"):
        change = {"config": read_header(tiny_model_file)["config"] | change["config"]}
    assert expected in refusal(forge(change))


def test_huge_sizes_in_a_header_allocate_nothing(forge: Forge, tiny_model_file: Path) -> None:
    """Terabytes that a header asks for are compared with the weights there are, not allocated."""
    config = read_header(tiny_model_file)["config"]
    bottleneck = config["bottleneck"] | {"codebook_size": 10**12}
    line = refusal(forge({"config": config | {"bottleneck": bottleneck}}))
    assert line == "key bottleneck.codebook has shape (16, 8), expected (1000000000000, 8)"
    line = refusal(forge({"speakers": [f"s{i}" for i in range(100_000)]}))
    assert line == "key decoder.conditioner.speaker.weight has shape (3, 4), expected (100000, 4)"


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({"encoder.norm.bias": None}, "key encoder.norm.bias missing"),
        ({"head.weight": torch.zeros(2)}, "key head.weight found, the model has none of that name"),
        (
            {"encoder.norm.bias": torch.zeros(15)},
            "key encoder.norm.bias has shape (15,), expected (16,)",
        ),
        (
            {"encoder.norm.bias": torch.zeros(16, 1)},
            "key encoder.norm.bias has shape (16, 1), expected (16,)",
        ),
        (
            {"encoder.norm.bias": torch.full((16,), float("nan"))},
            "key encoder.norm.bias holds values that are not finite numbers",
        ),
        (
            {"bottleneck.codebook": torch.full((16, 8), float("inf"))},
            "key bottleneck.codebook holds values that are not finite numbers",
        ),
    ],
)
def test_weights_that_do_not_fit(forge: Forge, tensors: dict, expected: str) -> None:
    """The key is named, with what was found and what was expected."""
    assert refusal(forge(tensors=tensors)) == expected


def test_weights_of_another_precision_are_converted(forge: Forge, tiny_model_file: Path) -> None:
    """Half precision on disk is float32 in memory."""
    half = {
        key: tensor.half()
        for key, tensor in load_file(tiny_model_file).items()
        if tensor.is_floating_point()
    }
    model = load_model(forge(tensors=half))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert len(model.convert(torch.zeros(20), "p225")) == 20


def test_half_size_weights(tiny_model: Autoencoder, tmp_path: Path) -> None:
    """fp16 on disk is float32 in memory: the same codes, logits within 1 % of their spread."""
    path = tmp_path / "half.safetensors"
    save_model(tiny_model, path, half=True)
    loaded = load_model(path)
    found = loaded.state_dict()
    for key, tensor in tiny_model.state_dict().items():
        assert found[key].dtype == tensor.dtype, key
        torch.testing.assert_close(found[key], tensor, rtol=2**-11, atol=2**-24)
    wav = 0.3 * torch.randn(4000, generator=torch.Generator().manual_seed(0))
    codes = tiny_model.encode(wav)
    assert torch.equal(loaded.encode(wav), codes)
    levels = mulaw_encode(wav, tiny_model.config.levels)
    before, after = (model.nll(levels, codes, "p226") for model in (tiny_model, loaded))
    assert not torch.equal(before, after)
    assert float((before - after).abs().max()) < 0.01 * float(before.std())


def test_what_is_kept_in_half_precision(tiny_model: Autoencoder, tmp_path: Path) -> None:
    """The header says so; the bottleneck and what fp16 cannot hold keep their precision, and saving again all."""
    model = copy.deepcopy(tiny_model)
    with torch.no_grad():
        model.encoder.norm.bias.fill_(1e6)
    path = tmp_path / "half.safetensors"
    save_model(model, path, half=True)
    for key, tensor in load_file(path).items():
        whole = key.startswith("bottleneck.") or key == "encoder.norm.bias"
        assert tensor.dtype == (model.state_dict()[key].dtype if whole else torch.float16), key
    assert read_header(path)["weights"] == "float16"
    before = path.read_bytes()
    save_model(load_model(path), path, half=True)
    assert path.read_bytes() == before


def test_a_prior_comes_back_bit_by_bit(tiny_prior: Prior, tmp_path: Path) -> None:
    """Weights, unigram, configuration and speakers are those that were saved; so is what it says of itself."""
    path = tmp_path / "prior.safetensors"
    save_prior(tiny_prior, path, {"steps": 7}, {"bits": 4.5})
    loaded = vqspeech.load_prior(path)
    assert not loaded.training
    assert (loaded.config, loaded.speakers) == (tiny_prior.config, tiny_prior.speakers)
    assert loaded.codebook_id == tiny_prior.codebook_id
    saved, found = tiny_prior.state_dict(), loaded.state_dict()
    assert saved.keys() == found.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in saved.items())
    header = read_prior_header(path)
    assert (header["format"], header["training"]) == ("vqspeech-prior", {"steps": 7})
    assert header["scores"] == {"bits": 4.5}
    before = path.read_bytes()
    save_prior(loaded, path, {"steps": 7}, {"bits": 4.5})
    assert path.read_bytes() == before


def test_a_prior_of_half_the_size(tiny_prior: Prior, tmp_path: Path) -> None:
    """fp16 on disk is float32 in memory, all but the unigram rounded; bits change by less than a hundredth."""
    path = tmp_path / "half.safetensors"
    save_prior(tiny_prior, path, half=True)
    kept = {key for key, tensor in load_file(path).items() if tensor.dtype == torch.float32}
    assert kept == {"unigram"}
    loaded = load_prior(path)
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    codes = tiny_prior.sample(200, "p225", seed=0)
    before, after = (float(prior.nll(codes, "p225").mean()) for prior in (tiny_prior, loaded))
    assert before != after
    assert after == pytest.approx(before, abs=0.01)


def test_models_and_priors_are_told_apart(tiny_model_file: Path, tiny_prior_file: Path) -> None:
    """One in the place of the other is named as what it is."""
    with pytest.raises(ModelFileError, match="a prior, where a model is expected"):
        load_model(tiny_prior_file)
    with pytest.raises(ModelFileError, match="a model, where a prior is expected"):
        load_prior(tiny_model_file)
    with pytest.raises(ModelFileError, match="no such prior file"):
        load_prior("nowhere.safetensors")


@pytest.mark.parametrize(
    ("config", "tensors", "expected"),
    [
        ({"network": {"_target_": "os.system"}}, {}, "network: unknown setting '_target_'"),
        ({"network": {"width": 0, "dilations": [1]}}, {}, "describes no prior"),
        ({"network": {"width": 8, "dilations": [0]}}, {}, "each from 1"),
        ({"codebook_size": "16"}, {}, "'16' is not a whole number above 0"),
        ({"codebook_size": 10**12}, {}, "key network.embedding.weight has shape (17, 8), expected"),
        (
            {"more": 1},
            {},
            "config has ['codebook_id', 'codebook_size', 'more', 'network'], expected",
        ),
        ({}, {"unigram": torch.zeros(3)}, "key unigram has shape (3,), expected (16,)"),
        ({}, {"unigram": torch.full((16,), -torch.inf)}, "key unigram holds values that are not"),
        ({}, {"other": torch.zeros(3)}, "key other found, the prior has none of that name"),
    ],
)
def test_priors_that_do_not_fit(
    tiny_prior_file: Path, tmp_path: Path, config: dict, tensors: dict, expected: str
) -> None:
    """The first thing that is wrong is named, and nothing is made of it."""
    header = read_prior_header(tiny_prior_file)
    header["config"] |= config
    path = tmp_path / "forged.safetensors"
    save_file(load_file(tiny_prior_file) | tensors, path, {"vqspeech": json.dumps(header)})
    with one_line(ModelFileError, expected, start=f"{path}: "):
        load_prior(path)


def test_a_folder_one_may_not_write_to(tiny_model: Autoencoder, read_only_folder: Path) -> None:
    """The operating system's reason comes through, and nothing is left behind."""
    with pytest.raises(PermissionError):
        save_model(tiny_model, read_only_folder / "model.safetensors")
    assert list(read_only_folder.iterdir()) == []
