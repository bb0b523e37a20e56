import importlib
from argparse import ArgumentParser
from pathlib import Path

import pytest

SCRIPT = "vctk/run.sh"
STAGES = ("download", "prepare", "train", "codes", "convert", "analyze", "report")
MINI = ("--corpus", "mini", "--exp", "e", "--data", "d")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--bogus"], "unknown option --bogus"),
        (["word"], "'word' is neither an option nor"),
        (["--corpus"], "--corpus needs a value"),
        (["--corpus="], "--corpus needs a value"),
        (["--corpus", "nowhere"], "--corpus nowhere: no such folder"),
        (["--stage", "7"], "unknown stage '7'"),
        (["--stage", "01"], "unknown stage '01'"),
        (["--stop-stage", "training"], "unknown stage 'training'"),
        (["--stage", "convert", "--stop-stage", "2"], "nothing to do"),
    ],
)
def test_wrong_arguments_are_one_line(recipe, argv: list[str], expected: str) -> None:
    """Status 1, one line on standard error, nothing on standard output."""
    recipe.refuses(*argv, expected=expected)


def test_help_names_every_stage(recipe) -> None:
    """--help lists the stages by number and name and does nothing."""
    done = recipe("--help", VQSPEECH_PYTHON="/nonexistent")
    assert done.returncode == 0
    for number, name in enumerate(STAGES):
        assert f"{number} {name}" in done.stdout


def test_all_stages_in_order_and_a_second_run_starts_no_python(recipe, tmp_path: Path) -> None:
    """The first run does seven stages; the second shows the report without a single command."""
    argv = ["--corpus", "mini", "--exp", "my exp", "--data", "my data", "optimizer.steps=3"]
    first = recipe(*argv)
    assert first.returncode == 0, first.stderr
    given = recipe.commands()
    assert [line.split()[2] for line in given] == [
        *("prepare", "prepare", "train", "codes", "evaluate", "analyze")
    ]
    train = given[2]
    assert "experiment=mini" in train
    assert f"data.store='{tmp_path}/my data/mini/store'" in train
    assert f"run.dir='{tmp_path}/my exp/train' resume=auto optimizer.steps=3" in train
    page = (tmp_path / "my exp/RESULTS.md").read_text()
    assert page.startswith("conversions\n\nphones\n")
    assert first.stdout.endswith(page)

    second = recipe(*argv)
    assert second.returncode == 0, second.stderr
    assert recipe.commands() == []
    assert second.stdout.count("done before") == len(STAGES)
    assert second.stdout.endswith(page)


@pytest.mark.parametrize(
    "argv",
    [
        ["--stage", "3", "--stop-stage", "4"],
        ["--stage", "codes", "--stop-stage", "convert"],
        ["--stage=codes", "--stop-stage=4"],
    ],
    ids=["number", "name", "equals"],
)
def test_first_and_last_stage(recipe, argv: list[str]) -> None:
    """--stage and --stop-stage take a number or a name and include both ends."""
    done = recipe(*MINI, *argv)
    assert done.returncode == 0, done.stderr
    assert recipe.programs() == ["codes", "evaluate"]


def test_vctk_is_fetched_into_the_data_folder(recipe, tmp_path: Path) -> None:
    """The tree that the archive unpacks to is what is prepared then."""
    argv = ["--corpus", "vctk", "--exp", "e", "--data", "d", "--stop-stage", "prepare"]
    assert recipe(*argv).returncode == 0
    fetch, prepare = recipe.commands()
    assert fetch.endswith(f"--corpus vctk --download {tmp_path}/d/vctk")
    assert f"--corpus {tmp_path}/d/vctk/VCTK-Corpus-0.92 --out {tmp_path}/d/vctk/store" in prepare


def test_a_tree_of_ones_own(recipe, tmp_path: Path) -> None:
    """A folder with spaces in its name is taken as it is, under the configuration for real speech."""
    (tmp_path / "my speech").mkdir()
    argv = ["--corpus", "my speech", "--exp", "e", "--data", "d", "--stop-stage", "train"]
    assert recipe(*argv).returncode == 0
    prepare, train = recipe.commands()
    assert f"--corpus {tmp_path}/my speech --out {tmp_path}/d/my speech/store" in prepare
    assert "experiment=real" in train


def test_other_settings_are_not_taken_for_done(recipe) -> None:
    """A run with another configuration into the same folder is refused, not silently skipped."""
    assert recipe(*MINI).returncode == 0
    recipe.commands()
    done = recipe(*MINI, "--config", "phoneme640")
    assert done.returncode == 1
    assert "other settings (experiment=mini" in done.stderr
    assert recipe.commands() == []


def test_doing_a_stage_again_does_those_after_it_again(recipe, tmp_path: Path) -> None:
    """Without the marker of training, codes to report are made anew; the corpus stays."""
    assert recipe(*MINI).returncode == 0
    recipe.commands()
    (tmp_path / "e/done/2-train").unlink()
    assert recipe(*MINI).returncode == 0
    assert recipe.programs() == ["train", "codes", "evaluate", "analyze"]


def test_a_stage_that_fails_or_leaves_nothing_is_not_done(recipe, tmp_path: Path) -> None:
    """No marker after an error, nor after a stage that ended early with status 0, as interrupted training does."""
    assert recipe(*MINI, VQSPEECH_PYTHON="false").returncode == 1
    assert not (tmp_path / "d/mini/done/0-download").exists()
    assert recipe(*MINI, "--stop-stage", "prepare").returncode == 0
    early = recipe(*MINI, "--stage", "train", VQSPEECH_PYTHON="true")
    assert early.returncode == 1
    assert "ended before its work was done: run again" in early.stderr
    assert not (tmp_path / "e/done/2-train").exists()


@pytest.mark.parametrize(
    ("rows", "analysed"),
    [
        (["train\ta.lab", "test\tb.lab"], True),
        (["train\ta.lab", "test\t"], False),
        (["train\t", "test\t"], False),
    ],
)
def test_phones_are_analysed_where_there_are_labels(
    recipe, tmp_path: Path, rows: list[str], analysed: bool
) -> None:
    """A corpus without labels to fit on and to score skips that stage, says so, and goes on to the report."""
    (tmp_path / "speech").mkdir()
    store = tmp_path / "d/speech/store"
    store.mkdir(parents=True)
    (store / "manifest.tsv").write_text("\n".join(["split\tlabels", *rows, ""]))
    done = recipe("--corpus", "speech", "--exp", "e", "--data", "d")
    assert done.returncode == 0, done.stderr
    assert ("analyze" in recipe.programs()) == analysed
    assert ("left out" in done.stdout) != analysed
    assert ("no phone labels" in (tmp_path / "e/RESULTS.md").read_text()) != analysed


def test_sigterm_reaches_the_stage_and_is_waited_for(recipe, tmp_path: Path) -> None:
    """Training gets the signal and may save before the recipe ends."""
    (tmp_path / "stopped").touch()
    done = recipe.stop_in_training(*MINI, "--stage", "2", runs=[tmp_path / "e/train"])
    assert done.returncode == 1
    assert "run again to go on" in done.stderr


def test_commands_are_taken_by_their_verbs(recipe) -> None:
    """What the recipe asks of a verb is among its arguments."""
    assert recipe(*MINI).returncode == 0
    for line in recipe.commands():
        verb, *rest = line.split()[2:]
        if verb != "train":  # whose settings are Hydra's
            parser = ArgumentParser(exit_on_error=False)
            importlib.import_module(f"vqspeech.cli.{verb}").add_arguments(parser)
            parser.parse_args(rest)
