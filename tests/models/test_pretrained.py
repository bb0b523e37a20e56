"""Shipped models: found by name, small enough, with a card, and able to speak."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import vqspeech
from vqspeech.errors import ModelFileError
from vqspeech.models import pretrained
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import read_header, read_prior_header
from vqspeech.models.prior import check_fits

HEADINGS = (
    "What it is for",
    "Architecture",
    "Speakers",
    "Data and licences",
    "Training",
    "Scores",
    "Failures",
    "What it must not be used for",
)


@pytest.fixture(params=pretrained.NAMES)
def shipped(request: pytest.FixtureRequest) -> str:
    """Return the name of each model that a release ships."""
    return str(request.param)


def test_by_name(shipped_folder: Path, tiny_model: Autoencoder) -> None:
    """Names mean the files beside the package's own, for the model as for its header."""
    assert pretrained.names() == ["vctk"]
    assert pretrained.path("vctk") == shipped_folder / "vctk.safetensors"
    assert pretrained.card("vctk").startswith("# vctk")
    model = vqspeech.load("vctk")
    assert model.speakers == tiny_model.speakers
    assert read_header("vctk")["speakers"] == list(tiny_model.speakers)


def test_a_file_comes_before_a_name(
    shipped_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies here under a shipped name is meant; a folder of that name is not."""
    monkeypatch.chdir(tmp_path)
    Path("vctk").mkdir()
    assert pretrained.find("vctk") == shipped_folder / "vctk.safetensors"
    Path("vctk").rmdir()
    Path("vctk").touch()
    assert pretrained.find("vctk") == Path("vctk")


@pytest.mark.parametrize("text", ["vctk.safetensors", "./vctk", "a/models/vctk", "/vctk", "..", ""])
def test_what_has_a_folder_or_a_suffix_is_a_path(shipped_folder: Path, text: str) -> None:
    """It is never taken for a name, whether or not it is there."""
    assert pretrained.find(text) == Path(text)


@pytest.mark.parametrize("text", ["nobody", "VCTK", "vctk ", "-"])
def test_unknown_names(shipped_folder: Path, text: str) -> None:
    """The line has the name and those that are shipped."""
    with pytest.raises(ModelFileError) as error:
        vqspeech.load(text)
    assert str(error.value) == (
        f"{text}: no such model file, and no model that comes with vqspeech (vctk, phoneme25)"
    )


def test_a_model_that_an_installation_lacks(shipped_folder: Path) -> None:
    """The missing file is named, for model and card."""
    for ask in (vqspeech.load, read_header, pretrained.path):
        with pytest.raises(ModelFileError, match=r"phoneme25\.safetensors: missing"):
            ask("phoneme25")
    with pytest.raises(ModelFileError, match=r"phoneme25\.md: missing"):
        pretrained.card("phoneme25")
    with pytest.raises(ModelFileError, match="nobody: no such model file"):
        pretrained.card("nobody")


def test_the_card_beside_a_file(tiny_model_file: Path, tmp_path: Path) -> None:
    """It is NAME.md; where there is none, the line says so."""
    file = tmp_path / "mine.safetensors"
    shutil.copy(tiny_model_file, file)
    with pytest.raises(ModelFileError, match=r"mine\.safetensors: no card beside it"):
        pretrained.card(str(file))
    file.with_suffix(".md").write_text("# mine\n")
    assert pretrained.card(str(file)) == "# mine\n"


def test_priors_by_name(shipped_folder: Path, tiny_prior_file: Path, tmp_path: Path) -> None:
    """The name of a model means the prior beside it; a path means itself; both name what is missing."""
    with pytest.raises(ModelFileError, match=r"vctk-prior\.safetensors: missing"):
        vqspeech.load_prior("vctk")
    beside = pretrained.prior_beside(shipped_folder / "vctk.safetensors")
    assert beside == shipped_folder / "vctk-prior.safetensors"
    shutil.copy(tiny_prior_file, beside)
    assert vqspeech.load_prior("vctk").speakers == vqspeech.load("vctk").speakers
    assert vqspeech.load_prior(tiny_prior_file).speakers == vqspeech.load("vctk").speakers
    (shipped_folder / "phoneme25.safetensors").touch()
    with pytest.raises(ModelFileError, match="phoneme25: no prior comes with this model"):
        vqspeech.load_prior("phoneme25")
    with pytest.raises(ModelFileError, match="nobody: no such model file"):
        vqspeech.load_prior("nobody")


def test_shipped_files_are_small(shipped: str) -> None:
    """At most 8,000,000 bytes each, weights in fp16."""
    assert pretrained.path(shipped).stat().st_size <= pretrained.LARGEST == 8_000_000
    assert read_header(shipped)["weights"] == "float16"


def test_shipped_headers_say_what_was_done(shipped: str) -> None:
    """Training and scores are told, without folders of the machine that trained."""
    header = read_header(shipped)
    assert {"steps", "samples_seen", "seconds", "hardware", "minutes"} <= header["training"].keys()
    assert header["scores"]
    assert "/" not in json.dumps(header["training"]["config"])


def test_shipped_cards_are_whole(shipped: str) -> None:
    """Every part is there, with the notices that the recordings ask for, and nothing is left unfilled."""
    card = pretrained.card(shipped)
    found = [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]
    assert tuple(found) == HEADINGS
    assert "The code must retain the above copyright notice" in card
    for name in ("CMU ARCTIC", "LibriSpeech", "CSTR VCTK Corpus", "CC BY 4.0", "ODC-By 1.0"):
        assert name in card
    assert "${" not in card


def test_shipped_models_convert(shipped: str) -> None:
    """A second of sound comes back as a second of sound, not silent."""
    model = vqspeech.load(shipped)
    time = torch.arange(model.sample_rate) / model.sample_rate
    wav = model.convert(0.3 * torch.sin(2 * torch.pi * 150 * time), model.speakers[0])
    assert wav.shape == time.shape
    assert wav.isfinite().all()
    assert 0 < float(wav.abs().max()) <= 1


@pytest.mark.parametrize("name", pretrained.PRIORS)
def test_shipped_priors(name: str) -> None:
    """Small, over the codes of the model of that name, below the bigrams it was measured beside, and able to draw."""
    path = pretrained.find_prior(name)
    assert path.stat().st_size <= pretrained.LARGEST_PRIOR == 4_000_000
    header = read_prior_header(name)
    assert header["weights"] == "float16"
    assert {"steps", "codes_seen", "seconds", "hardware", "minutes"} <= header["training"].keys()
    assert "/" not in json.dumps(header["training"]["config"])
    scores = header["scores"]["held_out"]
    assert scores["prior"] < scores["nobody"] < scores["trigram"] < scores["bigram"]
    prior, model = vqspeech.load_prior(name), vqspeech.load(name)
    check_fits(prior, model)
    drawn = prior.sample(100, model.speakers[0], seed=0)
    assert len(drawn.unique()) > 10
    shuffled = drawn[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    assert float(prior.nll(drawn).sum()) < float(prior.nll(shuffled).sum())


def test_what_the_models_are_for() -> None:
    """512 codes and the voices p225 to p228; 25 codes a second out of 128, 640 times fewer than samples."""
    model = vqspeech.load("vctk")
    assert model.codebook_size == 512
    assert {"p225", "p226", "p227", "p228"} <= set(model.speakers)
    model = vqspeech.load("phoneme25")
    assert (model.frame_rate_hz, model.hop, model.codebook_size) == (25, 640, 128)
