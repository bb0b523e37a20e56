"""The script that trains what ships: what it runs, in which order, and how it goes on."""

from pathlib import Path

import pytest

SCRIPT = "pretrained/train.sh"
OPTIONS = ("--corpus", "corpus", "--exp", "exp", "--data", "data")


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path) -> None:
    """A folder to learn from is there."""
    (tmp_path / "corpus").mkdir()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "which model"),
        (["other"], "'other' is neither vctk nor phoneme25"),
        (["vctk", "--exp"], "--exp needs a value"),
        (["vctk", "--corpus", "nowhere"], "nowhere: no such folder"),
        (["vctk", "--data", "d"], "give --corpus DIR"),
        (["vctk", "--ship-only", "--corpus", "corpus"], "no validation has written a model"),
    ],
)
def test_wrong_use_is_one_line(recipe, argv: list[str], expected: str) -> None:
    """Exit status 1 and one line that names what is wrong."""
    recipe.refuses(*argv, expected=expected)


def test_trains_ships_and_scores_in_this_order(recipe, tmp_path: Path) -> None:
    """Shipped first, so that what is scored is what is shipped, and once more with its scores."""
    done = recipe("vctk", *OPTIONS, "optimizer.steps=5")
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "commands").read_text()
    shipped = ["ship.py", "evaluate", "ship.py", "card.py"]
    assert recipe.programs() == ["prepare", "train", "train", "train", *shipped]
    assert "experiment=vctk machine=cpu" in commands
    trained = tmp_path / "exp/vctk"
    assert f"experiment=spectrum machine=cpu init='{trained}/model.safetensors'" in commands
    assert (
        f"experiment=contours machine=cpu init='{trained}/spectrum/model.safetensors'" in commands
    )
    assert f"{trained}/contours/model.safetensors vctk --store" in commands
    assert commands.count("optimizer.steps=5") == 1


def test_goes_on_where_it_was_stopped(recipe, tmp_path: Path) -> None:
    """A run that a signal ended ships nothing; the next one does not pack the recordings again."""
    (tmp_path / "stopped").touch()
    assert recipe("phoneme25", *OPTIONS).returncode == 0
    assert recipe.programs() == ["prepare", "train"]
    (tmp_path / "stopped").unlink()
    assert recipe("phoneme25", *OPTIONS[2:]).returncode == 0
    assert recipe.programs() == ["train", "ship.py", "evaluate", "ship.py", "card.py"]


def test_ships_an_unfinished_model_when_asked(recipe, tmp_path: Path) -> None:
    """What the last validation left can be scored and shipped while there is no time to train on."""
    (tmp_path / "stopped").touch()
    recipe("vctk", *OPTIONS)
    assert recipe.programs() == ["prepare", "train"]
    assert recipe("vctk", *OPTIONS, "--ship-only").returncode == 0
    assert recipe.programs() == ["ship.py", "evaluate", "ship.py", "card.py"]
