import json
from pathlib import Path

import pytest
from labelled_store import RATE, Spoken, lab_of, write_store

OUTPUTS = ["phones.png", "scores.json", "scores.md"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two utterances of 100 frames with labels, one in each split that the study needs."""
    codes, labels = [0, 900, 0, 300] * 25, lab_of(["aa", "s", "pau", "iy"] * 25)
    return write_store(
        tmp_path / "store", [Spoken("train", codes, labels), Spoken("test", codes[::-1], labels)]
    )


def test_writes_scores_table_and_picture(run, store: Path, tmp_path: Path, tiny_model) -> None:
    """The three files are there, nothing else is, and the table is printed too."""
    outcome = run("analyze", "--store", store, "--out", "a/b")
    assert outcome.status == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == OUTPUTS
    scores = json.loads((tmp_path / "a/b/scores.json").read_text())
    assert scores["codebook_size"] == tiny_model.codebook_size
    assert scores["with_silence"]["scored_frames"] == -(-16000 // tiny_model.hop)
    assert scores["with_silence"]["chance"] < 0.5
    assert (tmp_path / "a/b/scores.md").read_text() in outcome.out
    assert (tmp_path / "a/b/phones.png").read_bytes().startswith(b"\x89PNG")


def test_same_arguments_give_the_same_scores(run, store: Path, tmp_path: Path) -> None:
    """A second run with the same seed writes the same bytes."""
    for out in ("a", "b"):
        assert run("analyze", "--store", store, "--out", out, "--seed", 3).status == 0
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
    assert run("analyze", "--store", store, "--out", "out", "--force").status == 0
    assert "map accuracy" in kept.read_text()


def test_without_labels_it_says_what_to_do(run, tmp_path: Path) -> None:
    """A store without labels is named, nothing is written."""
    store = write_store(
        tmp_path / "bare", [Spoken("train", [0, 1], None), Spoken("test", [0, 1], None)]
    )
    error = run("analyze", "--store", store, "--out", "out").error
    assert error.startswith(f"{store}: no utterance of the train split has phone labels")
    assert not (tmp_path / "out").exists()


def test_folder_that_is_no_store_is_named(run, tmp_path: Path) -> None:
    """What was given is in the error."""
    assert (
        str(tmp_path / "nowhere")
        in run("analyze", "--store", tmp_path / "nowhere", "--out", "out").error
    )


def test_store_at_another_rate_is_refused(run, tmp_path: Path) -> None:
    """Both rates are in the error."""
    one = [Spoken(split, [0], lab_of(["aa"])) for split in ("train", "test")]
    store = write_store(tmp_path / "slow", one, rate=8000)
    error = run("analyze", "--store", store, "--out", "out").error
    assert "8000 Hz" in error
    assert f"{RATE} Hz" in error


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "many"])
def test_impossible_minutes_are_refused(run, store: Path, minutes: str) -> None:
    """The option is named."""
    arguments = ("analyze", "--store", store, "--out", "out", f"--train-minutes={minutes}")
    assert "--train-minutes" in run(*arguments).error
