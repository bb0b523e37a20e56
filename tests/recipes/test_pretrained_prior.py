"""The script that trains a shipped prior, and the program that measures it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prior_figures
import pytest
import ship
from labelled_store import Sound, write_sounds

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models import pretrained
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import read_prior_header, save_prior
from vqspeech.models.prior import Prior, PriorConfig
from vqspeech.report.card import prior_tables
from vqspeech.training.data.codestore import CodeStore, extract_codes
from vqspeech.training.prior.scores import count_training

SCRIPT = "pretrained/prior.sh"
OPTIONS = ("--store", "store", "--exp", "exp")


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> None:
    """A packed store is there."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store/store.json").touch()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "which model"),
        (["vctk", "other"], "not both vctk and other"),
        (["vctk", "--exp"], "--exp needs a value"),
        (["vctk", "--fast"], "'--fast' is no option"),
        (["vctk", "--store", "nowhere"], "nowhere: no packed store"),
    ],
)
def test_wrong_use_is_one_line(recipe, argv: list[str], expected: str) -> None:
    """Exit status 1 and one line that names what is wrong."""
    recipe.refuses(*argv, expected=expected)


def test_trains_ships_and_measures_in_this_order(recipe, tmp_path: Path) -> None:
    """Shipped first, so that what is measured is what is shipped, and once more with its figures."""
    done = recipe("vctk", *OPTIONS, "optimizer.steps=5")
    assert done.returncode == 0, done.stderr
    info, train, *rest = recipe.commands()
    assert info == "-m vqspeech info vctk --json"
    run = tmp_path / "exp/vctk-prior/0123456789abcdef"
    assert f"run.dir='{run}' resume=auto optimizer.steps=5" in train
    names = [Path(line.split()[0]).name for line in rest]
    assert names == ["ship.py", "prior_figures.py", "ship.py", "card.py"]


def test_goes_on_where_it_was_stopped(recipe, tmp_path: Path) -> None:
    """A run that a signal ended ships nothing."""
    (tmp_path / "stopped").touch()
    assert recipe("vctk", *OPTIONS).returncode == 0
    assert len(recipe.commands()) == 2


@pytest.fixture
def package(shipped_folder: Path, tiny_prior: Prior, tmp_path: Path) -> Callable[[Prior], Path]:
    """Return a function that writes a prior as training does."""

    def write(prior: Prior) -> Path:
        path = tmp_path / "prior.safetensors"
        config = {"prior": {"model": "/somewhere/vctk"}, "data": {"store": "/gone/store"}}
        save_prior(prior, path, {"steps": 3, "config": config}, {"held_out": {"prior": 3.0}})
        return path

    return write


def test_a_prior_is_shipped_beside_its_model(
    package: Callable[[Prior], Path], shipped_folder: Path, tiny_prior: Prior, tmp_path: Path
) -> None:
    """In fp16, without folders of the machine; figures come to it later and nothing else changes."""
    out = ship.ship_prior(package(tiny_prior), "vctk")
    assert out == shipped_folder / "vctk-prior.safetensors"
    header = read_prior_header("vctk")
    assert header["weights"] == "float16"
    assert header["training"]["config"] == {"prior": {"model": "vctk"}, "data": {"store": "store"}}
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps({"held_out": {"prior": 2.123456789}}))
    ship.ship_prior("vctk", "vctk", evaluation=figures)
    again = read_prior_header("vctk")
    assert again["scores"] == {
        "held_out": {"prior": 3.0},
        "evaluation": {"held_out": {"prior": 2.1235}},
    }
    assert again["training"] == header["training"]


def test_what_is_not_shipped(
    package: Callable[[Prior], Path],
    shipped_folder: Path,
    tiny_prior: Prior,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A prior of other codes, for a model that ships none, or too large; nothing is written."""
    stranger = Prior(PriorConfig(16, "0" * 16, tiny_prior.config.network), [])
    with pytest.raises(VqspeechError, match="codes of codebook 0000000000000000"):
        ship.ship_prior(package(stranger), "vctk")
    with pytest.raises(ConfigurationError, match="models with a shipped prior are vctk"):
        ship.ship_prior(package(tiny_prior), "phoneme25")
    monkeypatch.setattr(pretrained, "LARGEST_PRIOR", 100)
    with pytest.raises(VqspeechError, match="what is shipped has 100 at most"):
        ship.ship_prior(package(tiny_prior), "vctk")
    assert not (shipped_folder / "vctk-prior.safetensors").exists()


@pytest.fixture(scope="module")
def coded(
    mini_store: Path, tiny_model: Autoencoder, tmp_path_factory: pytest.TempPathFactory
) -> CodeStore:
    """Return the codes of the miniature corpus, whose frames are those of the tiny model."""
    return extract_codes(
        tiny_model, PackedStore(mini_store), tmp_path_factory.mktemp("coded") / "codes"
    )


def test_real_speech_is_most_like_speech(
    coded: CodeStore, tiny_model: Autoencoder, tiny_prior: Prior
) -> None:
    """The test split is at no distance from itself; other speech is nearer than bigrams draw, and uniform codes far."""
    simpler = count_training(coded)
    draws = prior_figures.draws_of(tiny_prior, simpler)
    del draws["prior"]
    rows = prior_figures.likeness(tiny_model, coded, draws)
    itself, other = rows["held-out speech"], rows["other real speech"]
    assert (
        itself.unigrams == itself.bigrams == itself.coarse_trigrams == itself.spaced_trigrams == 0
    )
    assert 0 < other.bigrams < rows["uniform"].bigrams
    assert other.coarse_trigrams < rows["bigram"].coarse_trigrams < rows["uniform"].coarse_trigrams
    assert other.spaced_trigrams < rows["uniform"].spaced_trigrams
    assert abs(other.judged - itself.judged) < rows["uniform"].judged - itself.judged


def test_stretches_of_real_speech_have_the_length_and_speaker_asked_for(coded: CodeStore) -> None:
    """However long, they are training codes of the speaker, from the beginning of an utterance on."""
    wanted = [coded.sequences[i] for i in coded.indices("test")]
    kept = coded.indices("train").tolist()
    found = prior_figures.real_stretches(coded, wanted, kept)
    assert [len(codes) for codes in found] == [of.frames for of in wanted]
    for codes, of in zip(found, wanted, strict=True):
        begins = [
            coded.sequence(i)[: len(codes)]
            for i in kept
            if coded.sequences[i].speaker == of.speaker
        ]
        assert any(np.array_equal(codes[: len(begin)], begin) for begin in begins)


@pytest.fixture
def small_store(tmp_path: Path) -> Path:
    """Return a store of noise by two voices of the tiny model."""
    draw = np.random.default_rng(0)
    sounds = [
        Sound(speaker, split, draw.normal(scale=3000, size=2000))
        for speaker in ("p225", "p226")
        for split in ["train"] * 6 + ["valid", "test", "test", "test"]
    ]
    return write_sounds(tmp_path / "packed", sounds)


class _Deaf:
    """Hears how long and how loud recordings are."""

    def __init__(self, folder: Path | None) -> None:
        assert folder is None

    def hear(self, wavs: list[np.ndarray], sample_rate: int) -> prior_figures.Heard:
        assert {len(wav) for wav in wavs} == {1600}
        loud = float(np.mean([np.abs(wav).mean() for wav in wavs]))
        return prior_figures.Heard(len(wavs), loud, 0.0, 0.0, float(sample_rate))


def test_the_program_prints_tables_and_writes_figures(
    small_store: Path,
    tiny_model: Autoencoder,
    tiny_model_file: Path,
    tiny_prior_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each figure stands beside its baselines, in Markdown and in JSON."""
    monkeypatch.setattr(prior_figures, "Ear", _Deaf)
    codes = extract_codes(tiny_model, PackedStore(small_store), tmp_path / "codes").path
    out = tmp_path / "figures.json"
    argv: list[Any] = [
        *("prior_figures.py", tiny_model_file, "--prior", tiny_prior_file, "--store", small_store),
        *("--codes", codes, "--out", out, "--count", 1, "--seconds", 0.1),
    ]
    monkeypatch.setattr(sys, "argv", list(map(str, argv)))
    assert prior_figures.main() == 0
    figures = json.loads(out.read_text())
    assert {"held_out", "likeness", "heard"} == figures.keys()
    assert "its codes decoded" in figures["heard"]
    assert prior_tables(figures) == capsys.readouterr().out.rstrip("\n")
    monkeypatch.setattr(sys, "argv", [*map(str, argv[:4]), "--store", "x", "--codes", "nowhere"])
    assert prior_figures.main() == 1
    assert "nowhere: not a finished store of codes" in capsys.readouterr().err
