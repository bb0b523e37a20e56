import json
import shutil
from pathlib import Path

import pytest
from labelled_store import RATE, Spoken, lab_of, write_store

from vqspeech.models import pretrained

OUTPUTS = ["plots", "report.html", "scores.csv", "scores.json", "scores.md", "textgrids"]

QUICK = ("--examples", 0)

BASELINES = ["k-means of MFCC, 1000 Hz, K 16", "k-means of MFCC"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two utterances of 100 frames with labels, one in each split that the study needs."""
    codes, labels = [0, 900, 0, 300] * 25, lab_of(["aa", "s", "pau", "iy"] * 25)
    return write_store(
        tmp_path / "store", [Spoken("train", codes, labels), Spoken("test", codes[::-1], labels)]
    )


def test_writes_scores_pictures_and_a_page(run, store: Path, tmp_path: Path, tiny_model) -> None:
    """The files announced are there, nothing else is, and the tables are printed too."""
    printed = run("analyze", "--corpus", store, "--out", "a/b").printed
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == OUTPUTS
    scores = json.loads((tmp_path / "a/b/scores.json").read_text())
    assert list(scores) == ["tiny", "random weights", *BASELINES]
    assert scores["tiny"]["codebook_size"] == tiny_model.codebook_size
    assert scores["tiny"]["with_silence"]["scored_frames"] == -(-16000 // tiny_model.hop)
    assert scores["tiny"]["with_silence"]["chance"] < 0.5
    assert (tmp_path / "a/b/scores.md").read_text() in printed
    plots = sorted((tmp_path / "a/b/plots").iterdir())
    assert "tiny-phones.png" in [path.name for path in plots]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots)
    page = (tmp_path / "a/b/report.html").read_text()
    assert page.count("<audio") == 2
    assert [path.name for path in (tmp_path / "a/b/textgrids").iterdir()] == ["s1-u1.TextGrid"]


def test_two_models_stand_in_one_table(
    run, store: Path, tmp_path: Path, tiny_model_file: Path
) -> None:
    """Files of one name are told apart by their folders; one shape has one untrained baseline."""
    for folder in ("one", "two"):
        (tmp_path / folder / "train").mkdir(parents=True)
        shutil.copy(tiny_model_file, tmp_path / folder / "train/model.safetensors")
    models = [part for f in ("one", "two") for part in ("--model", f"{f}/train/model.safetensors")]
    assert run("analyze", *models, "--corpus", store, "--out", "out", "--examples", "0").printed
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert list(scores) == ["one", "two", "random weights", *BASELINES]
    assert scores["one"]["with_silence"] == scores["two"]["with_silence"]
    assert "<audio" not in (tmp_path / "out/report.html").read_text()
    assert not (tmp_path / "out/textgrids").exists()


def test_a_prior_goes_to_the_model_whose_codes_it_knows(
    run, store: Path, tiny_prior_file: Path, foreign_prior: Path, tmp_path: Path
) -> None:
    """The model has what its codes cost under the prior, the baselines have none; a stranger's is refused."""
    argv = ("analyze", "--corpus", store, *QUICK, "--prior")
    assert run(*argv, tiny_prior_file, "--out", "out").printed
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert scores["tiny"]["code_cost"]["prior"]["bits_per_code"] > 0
    assert scores["random weights"]["code_cost"]["prior"]["bits_per_code"] is None
    assert scores["tiny"]["code_cost"]["uniform"]["bits_per_code"] == 4
    assert "no model here has it" in run(*argv, foreign_prior, "--out", "other").error
    assert not (tmp_path / "other").exists()


def test_a_corpus_is_packed_first(run, mini_corpus: Path, tmp_path: Path) -> None:
    """Recordings with labels are enough: they are packed at the model's rate, beside the results."""
    sounds = {path.stem: path for path in sorted(mini_corpus.rglob("*.wav"))}
    corpus = tmp_path / "corpus"
    for speaker in ("f1", "m1"):
        (corpus / speaker).mkdir(parents=True)
        for label in sorted(mini_corpus.rglob(f"{speaker}_*.lab"))[:12]:
            for path in (label, sounds[label.stem]):
                shutil.copy(path, corpus / speaker)
    assert run("analyze", "--corpus", corpus, "--out", "out", "--examples", "1").printed
    assert (tmp_path / "out/store/store.json").is_file()
    assert (tmp_path / "out/report.html").is_file()


def test_same_arguments_give_the_same_scores(run, store: Path, tmp_path: Path) -> None:
    """A second run with the same seed writes the same bytes."""
    for out in ("a", "b"):
        assert run("analyze", "--store", store, "--out", out, "--seed", 3, *QUICK).status == 0
    texts = [(tmp_path / out / "scores.json").read_bytes() for out in ("a", "b")]
    assert texts[0] == texts[1]


def test_existing_output_is_kept_unless_forced(run, store: Path, tmp_path: Path) -> None:
    """A file that stands in the way is named and left alone; --force replaces it."""
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out/scores.md"
    kept.write_text("mine")
    assert "out/scores.md exists" in run("analyze", "--store", store, "--out", "out").error
    assert [path.name for path in kept.parent.iterdir()] == ["scores.md"]
    assert kept.read_text() == "mine"
    assert run("analyze", "--store", store, "--out", "out", "--force", *QUICK).status == 0
    assert "map accuracy" in kept.read_text()
    assert "out/scores.json exists" in run("analyze", "--store", store, "--out", "out").error
    for name in ("scores.json", "scores.csv", "scores.md", "report.html"):
        (tmp_path / "out" / name).unlink()
    assert "out/plots exists" in run("analyze", "--store", store, "--out", "out").error


def test_without_labels_it_says_what_to_do(run, tmp_path: Path) -> None:
    """A store without labels is named, nothing is written."""
    store = write_store(
        tmp_path / "bare", [Spoken("train", [0, 1], None), Spoken("test", [0, 1], None)]
    )
    error = run("analyze", "--store", store, "--out", "out").error
    assert error.startswith(f"{store}: no utterance of the train split has phone labels")
    assert not (tmp_path / "out").exists()


def test_store_at_another_rate_is_refused(run, tmp_path: Path) -> None:
    """Both rates are in the error."""
    one = [Spoken(split, [0], lab_of(["aa"])) for split in ("train", "test")]
    store = write_store(tmp_path / "slow", one, rate=8000)
    error = run("analyze", "--store", store, "--out", "out").error
    assert "8000 Hz" in error
    assert f"{RATE} Hz" in error


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--examples", value) for value in ("-1", "1.5", "some")),
        *(("--train-minutes", value) for value in ("0", "-1", "nan", "many")),
    ],
)
def test_impossible_numbers_and_no_store_are_refused(
    run, store: Path, option: str, value: str
) -> None:
    """The option is named; so is a folder that is not there."""
    assert option in run("analyze", "--store", store, "--out", "out", f"{option}={value}").error
    nowhere = store.with_name("nowhere")
    assert str(nowhere) in run("analyze", "--store", nowhere, "--out", "out").error


def test_without_a_model_the_shipped_one_is_measured(
    run, store: Path, monkeypatch, tmp_path: Path
) -> None:
    """It is looked for by its name; where it is missing nothing is written."""
    monkeypatch.delenv("VQSPEECH_MODEL")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    error = run("analyze", "--store", store, "--out", "out").error
    assert error.startswith(str(tmp_path / "vctk.safetensors"))
    assert not Path("out").exists()
