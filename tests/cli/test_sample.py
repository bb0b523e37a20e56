import copy
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from vqspeech.models import pretrained
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_prior, save_model, save_prior
from vqspeech.models.prior import Prior, prompt_codes
from vqspeech.sampling import Sampling

SHORT = ("--seconds", 0.05)


@pytest.fixture(scope="module")
def heedful(tiny_model: Autoencoder) -> Autoencoder:
    """Return the tiny model with a decoder that heeds its codes: other codes are another sound."""
    model = copy.deepcopy(tiny_model)
    with torch.no_grad():
        model.decoder.conditioner.input.weight.mul_(20)
        model.decoder.wavenet.condition.weight.mul_(20)
        model.decoder.wavenet.output.weight.mul_(20)
    decoded = [model.decode(torch.full((50,), code), "p225", seed=0) for code in (0, 15)]
    assert (decoded[0] != decoded[1]).float().mean() > 0.5
    return model


@pytest.fixture(scope="module")
def heedful_file(heedful: Autoencoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of that model."""
    path = tmp_path_factory.mktemp("heedful") / "model.safetensors"
    save_model(heedful, path)
    return path


@pytest.fixture
def sample(run, heedful_file: Path, tiny_prior_file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs ``vqspeech sample`` in the voice of p225 with that model and the tiny prior."""
    monkeypatch.setenv("VQSPEECH_MODEL", str(heedful_file))

    def call(*argv: object, speaker: str = "p225") -> Any:
        return run("sample", "--speaker", speaker, "--prior", tiny_prior_file, *argv)

    return call


def _read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def test_what_is_written_is_what_the_python_interface_gives(
    sample, tmp_path: Path, heedful: Autoencoder, tiny_prior: Prior
) -> None:
    """Codes from the prior, sound from the decoder, each with its own temperature and top-p and one seed."""
    done = sample(
        *("--seconds", 0.0505, "--seed", 7, "--temperature", 0.7, "--top-p", 0.9),
        *("--decoder-temperature", 0.5, "--decoder-top-p", 0.8),
    )
    assert done.out == "sample-7-p225.wav\n"
    found = _read(tmp_path / "sample-7-p225.wav")
    assert len(found) == 808
    codes = tiny_prior.sample(51, "p225", seed=7, temperature=0.7, top_p=0.9)
    how = Sampling(temperature=0.5, top_p=0.8)
    expected = heedful.decode(codes, "p225", 808, seed=7, sampling=how).numpy()
    np.testing.assert_allclose(found, expected, atol=1 / 32768)


def test_the_seed_decides_the_bytes(sample, tmp_path: Path) -> None:
    """Same seed, same bytes, alone or among others; another seed, another sound."""
    for name, seed in (("x.wav", 1), ("y.wav", 1), ("z.wav", 2)):
        assert sample(*SHORT, "--out", name, "--seed", seed).status == 0
    x, y, z = ((tmp_path / name).read_bytes() for name in ("x.wav", "y.wav", "z.wav"))
    assert x == y
    assert x != z
    done = sample(*SHORT, "--count", 2, "--seed", 1, "--out", "several")
    assert sorted(done.out.split()) == ["several/sample-1-p225.wav", "several/sample-2-p225.wav"]
    assert (tmp_path / "several/sample-1-p225.wav").read_bytes() == x
    assert (tmp_path / "several/sample-2-p225.wav").read_bytes() == z


def test_several_voices(sample, tmp_path: Path) -> None:
    """Each speaker gets a file of its own."""
    assert sample(*SHORT, speaker="p225,p226").status == 0
    one, other = (_read(tmp_path / f"sample-0-{name}.wav") for name in ("p225", "p226"))
    assert len(one) == len(other) == 800
    assert not np.array_equal(one, other)


def test_a_prompt_is_said_again_and_gone_on_from(
    sample, tone, tmp_path: Path, heedful: Autoencoder, tiny_prior: Prior
) -> None:
    """What is written begins with the prompt's codes and holds as much new speech as was asked for."""
    tone("in/a.wav", 0.05)
    assert sample(*SHORT, "--prompt", "in/a.wav").out == "a-0-p225.wav\n"
    prompt = heedful.encode(_read(tmp_path / "in/a.wav"))
    heard_the_end = -(-heedful.encoder.context[1] // heedful.hop)
    prompt = prompt[: len(prompt) - heard_the_end]
    codes = tiny_prior.sample(50, "p225", prompt=prompt, seed=0)
    expected = heedful.decode(torch.cat([prompt, codes]), "p225", seed=0).numpy()
    np.testing.assert_allclose(_read(tmp_path / "a-0-p225.wav"), expected, atol=1 / 32768)


def test_codes_of_a_prompt_have_not_heard_its_end(tiny_model: Autoencoder, tone) -> None:
    """They are those of a longer recording; of one that is too short for that all are kept."""
    wav = torch.from_numpy(_read(tone("a.wav", 0.0523)))
    codes = prompt_codes(tiny_model, tiny_model.encode(wav), len(wav))
    longer = tiny_model.encode(torch.cat([wav, torch.ones(500)]))
    assert 0 < len(codes) < len(wav) // 16
    assert torch.equal(codes, longer[: len(codes)])
    assert len(prompt_codes(tiny_model, tiny_model.encode(wav[:16]), 16)) == 1


def test_what_is_there_is_kept(sample, tone, tmp_path: Path) -> None:
    """An existing file stays without --force, and a prompt always does."""
    (tmp_path / "x.wav").write_text("mine")
    assert "x.wav exists" in sample(*SHORT, "--out", "x.wav").error
    assert (tmp_path / "x.wav").read_text() == "mine"
    assert sample(*SHORT, "--out", "x.wav", "--force").status == 0
    tone("a.wav")
    line = sample(*SHORT, "--prompt", "a.wav", "--out", "a.wav", "--force").error
    assert "is itself a source" in line


def test_to_a_pipe(tiny_model_file: Path, tiny_prior_file: Path, tmp_path: Path) -> None:
    """--out - writes one wav to standard output, the samples of the file."""
    command = [
        *(sys.executable, "-m", "vqspeech", "sample", "--speaker", "p225", "--seconds", "0.05"),
        *("--prior", str(tiny_prior_file), "--model", str(tiny_model_file), "--seed", "3", "--out"),
    ]
    piped = subprocess.run([*command, "-"], cwd=tmp_path, capture_output=True, check=True)
    subprocess.run([*command, "x.wav"], cwd=tmp_path, capture_output=True, check=True)
    found = soundfile.read(io.BytesIO(piped.stdout), dtype="float32")[0]
    assert np.array_equal(found, _read(tmp_path / "x.wav"))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("--seconds", "0"), "'0' is not a number above 0"),
        (("--seconds", "nan"), "'nan' is not a number above 0"),
        (("--count", "0"), "'0' is not a whole number from 1 up"),
        (("--count", "2", "--out", "x.wav"), "is one file for 2 results"),
        (("--count", "2", "--out", "-"), "is one recording, not 2"),
        (("--count", "2", "--seed", 2**63 - 1), "leaves no room for --count 2"),
        (("--prompt", "nowhere.wav"), "nowhere.wav"),
        (("--decoder-top-p", "2"), "'2' is not a number above 0 and at most 1"),
        (("--speaker", "p999"), "speaker 'p999'"),
        (("--prior", "nowhere.safetensors"), "nowhere.safetensors: no such prior file"),
    ],
)
def test_wrong_use_is_one_line(sample, argv: tuple, expected: str) -> None:
    """Exit status 1 and one line that names what is wrong."""
    assert expected in sample(*SHORT, *argv).error


def test_a_model_without_codes(sample, continuous_model_file: Path) -> None:
    """There is nothing to draw for a continuous bottleneck."""
    assert "the model has no codes" in sample(*SHORT, "--model", continuous_model_file).error


def test_a_prior_of_other_codes(sample, foreign_prior: Path) -> None:
    """A prior that was trained on another codebook is refused."""
    assert "codes of codebook ffffffffffffffff" in sample(*SHORT, "--prior", foreign_prior).error


def test_which_prior_serves(
    run, tmp_path: Path, shipped_folder: Path, heedful_file: Path, tiny_prior_file: Path
) -> None:
    """The one beside the model; else the shipped one over its codes, as for a model with new voices; else none."""
    shutil.copy(heedful_file, tmp_path / "own.safetensors")
    ask = ("sample", "--speaker", "p225", *SHORT, "--model", "own.safetensors", "--force")
    assert "own.safetensors: no prior over the codes of this model" in run(*ask).error
    shutil.copy(tiny_prior_file, pretrained.prior_beside(pretrained.path("vctk")))
    assert run(*ask).status == 0
    shipped = (tmp_path / "sample-0-p225.wav").read_bytes()
    prior = load_prior(tiny_prior_file)
    with torch.no_grad():
        prior.network.output.bias.copy_(torch.arange(16.0))
    save_prior(prior, tmp_path / "own-prior.safetensors")
    assert run(*ask).status == 0
    assert (tmp_path / "sample-0-p225.wav").read_bytes() != shipped


def test_a_voice_that_the_prior_does_not_know(
    run, tmp_path: Path, heedful: Autoencoder, tiny_prior_file: Path
) -> None:
    """A voice that was added to the model later speaks the codes of nobody in particular, and one is told so."""
    renamed = Autoencoder(heedful.config, ["ann", "p226", "p227"])
    renamed.load_state_dict(heedful.state_dict())
    save_model(renamed, tmp_path / "new.safetensors")
    argv = ("--model", "new.safetensors", "--prior", tiny_prior_file)
    done = run("sample", "--speaker", "ann", *SHORT, *argv)
    assert done.status == 0
    codes = load_prior(tiny_prior_file).sample(50, seed=0)
    expected = renamed.eval().decode(codes, "ann", 800, seed=0).numpy()
    np.testing.assert_allclose(_read(tmp_path / "sample-0-ann.wav"), expected, atol=1 / 32768)
