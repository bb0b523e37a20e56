from pathlib import Path

import pytest

from vqspeech.models.config import BOTTLENECKS, DISCRETE

SCRIPT = "vctk/bottlenecks.sh"
PLACES = ("--data", "d", "--exp", "e")
KINDS = sorted(BOTTLENECKS)


def trainings(given: list[str]) -> dict[str, str]:
    """Command lines of trainings by the folder of the run."""
    lines = [line for line in given if " train " in line]
    return {line.split("run.dir='")[1].split("'")[0].split("/e/")[1]: line for line in lines}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--bogus"], "unknown option --bogus"),
        (["word"], "'word' is neither an option nor"),
        (["--kinds"], "--kinds needs a value"),
        (["--kinds", "vq,fsq"], "'fsq' is not one of " + " ".join(KINDS)),
        (["--seeds=a"], "'a' is not a whole number"),
        (["--jobs", "0"], "'0' is not a whole number above 0"),
        (["--codes", "many"], "'many' is not a whole number above 0"),
        (["--corpus", "nowhere"], "--corpus nowhere: no such folder"),
        (["fsq:run.seed=1"], "'fsq' is not one of"),
    ],
)
def test_wrong_arguments_are_one_line(recipe, argv: list[str], expected: str) -> None:
    """Status 1, one line on standard error, nothing done."""
    recipe.refuses(*argv, expected=expected)
    assert recipe.commands() == []


def test_every_kind_is_trained_and_probed_alike(recipe, tmp_path: Path) -> None:
    """One configuration and seed for all; the size of the codebook where there is one; then probes, MFCC, the page."""
    done = recipe(*PLACES, "optimizer.steps=3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("results\n")
    given = recipe.commands()
    found = trainings(given)
    assert set(found) == {f"{kind}-0" for kind in KINDS}
    for kind in KINDS:
        words = found[f"{kind}-0"].split()
        assert f"bottleneck={kind}" in words
        for shared in ("experiment=bottlenecks", "run.seed=0", "optimizer.steps=3", "resume=auto"):
            assert shared in words
        assert ("model.bottleneck.codebook_size=64" in words) == (kind in DISCRETE)
    probes = [line for line in given if "probe_latents" in line]
    assert len([line for line in probes if "--model" in line]) == len(KINDS)
    assert "--mfcc" in probes[-1]
    assert given[-1].endswith(" ".join([f"{tmp_path}/e", *(f"{kind}-0" for kind in KINDS)]))


def test_what_is_done_is_skipped_and_more_can_be_added(recipe) -> None:
    """A second call makes the page alone; another seed and kind are trained beside what is there."""
    assert recipe(*PLACES, "--kinds", "vq,none").returncode == 0
    recipe.commands()
    assert recipe(*PLACES, "--kinds", "vq,none").returncode == 0
    assert ["compare_bottlenecks" in line for line in recipe.commands()] == [True]
    assert recipe(*PLACES, "--kinds=vq,gumbel", "--seeds=0,1").returncode == 0
    assert set(trainings(recipe.commands())) == {"gumbel-0", "vq-1", "gumbel-1"}


def test_settings_of_one_kind_go_to_it_alone(recipe) -> None:
    """And values with colons in them are no such settings."""
    done = recipe(
        *PLACES, "--kinds", "vq,gaussian", "gaussian:model.bottleneck.free_bits=6", "run.note=a:b"
    )
    assert done.returncode == 0, done.stderr
    found = trainings(recipe.commands())
    assert "model.bottleneck.free_bits=6" in found["gaussian-0"]
    assert "gaussian:" not in found["gaussian-0"]
    assert "free_bits" not in found["vq-0"]
    assert all("run.note=a:b" in line for line in found.values())


def test_other_settings_are_not_mixed(recipe) -> None:
    """A folder holds one comparison: other settings for it are refused before anything is trained."""
    assert recipe(*PLACES, "--kinds", "vq").returncode == 0
    recipe.commands()
    done = recipe(*PLACES, "--kinds", "none", "optimizer.steps=5")
    assert done.returncode == 1
    assert "was made with other settings" in done.stderr
    assert recipe.commands() == []


def test_a_tree_of_ones_own_has_its_configuration(recipe, tmp_path: Path) -> None:
    """Real speech, in a folder with a space in its name, and larger codebooks."""
    (tmp_path / "my speech").mkdir()
    assert recipe(*PLACES, "--corpus", "my speech", "--kinds", "vq").returncode == 0
    (line,) = trainings(recipe.commands()).values()
    assert "experiment=bottlenecks_real" in line
    assert "codebook_size=512" in line
    assert f"data.store='{tmp_path}/d/my speech/store'" in line


def test_one_that_fails_leaves_the_others_done(recipe, tmp_path: Path) -> None:
    """The line names it and its log; the page waits; the next call does what is missing."""
    done = recipe(*PLACES, "--kinds", "vq,gumbel,none", BROKEN="gumbel")
    assert done.returncode == 1
    assert "gumbel-0 ended before its work was done" in done.stderr
    assert "gumbel-0/train.log" in done.stderr
    assert not (tmp_path / "e/bottlenecks.md").exists()
    assert set(trainings(recipe.commands())) == {"vq-0", "gumbel-0", "none-0"}
    assert recipe(*PLACES, "--kinds", "vq,gumbel,none").returncode == 0
    assert set(trainings(recipe.commands())) == {"gumbel-0"}


def test_no_more_than_so_many_at_a_time(recipe, tmp_path: Path) -> None:
    """With two jobs, never three trainings are at work; the first waits until another is beside it."""
    (tmp_path / "busy").mkdir()
    watch = (
        'touch "$NOTES/busy/$$"; ls "$NOTES/busy" | wc -l >>"$NOTES/seen";'
        ' until [[ $(sort -n "$NOTES/seen" | tail -n 1) -ge 2 ]]; do sleep 0.05; done; rm "$NOTES/busy/$$"'
    )
    assert recipe(*PLACES, "--jobs", "2", IN_TRAINING=watch).returncode == 0
    seen = [int(line) for line in (tmp_path / "seen").read_text().split()]
    assert len(seen) == len(KINDS)
    assert max(seen) == 2


def test_sigterm_reaches_every_training_and_is_waited_for(recipe, tmp_path: Path) -> None:
    """Both get the signal and may save before the recipe ends, in one line; nothing else is begun."""
    (tmp_path / "stopped").touch()
    done = recipe.stop_in_training(
        *PLACES, "--jobs", "2", "--kinds", "vq,none,gumbel",
        runs=[tmp_path / "e/vq-0", tmp_path / "e/none-0"],
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "bottlenecks.sh: interrupted: run again to go on\n"
    assert not (tmp_path / "e/gumbel-0").exists()


def test_help_names_every_kind(recipe) -> None:
    """--help lists the kinds and does nothing."""
    done = recipe("--help", VQSPEECH_PYTHON="/nonexistent")
    assert done.returncode == 0
    assert ",".join(KINDS) in done.stdout
