import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("none", "gaussian", "gumbel", "vq", "vq_ema", "vimco")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Have a stand-in for Python: note the command line, make the files that a step must leave, do nothing else."""
    path = tmp_path / "python"
    path.write_text(
        """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$NOTES"
for ((i = 1; i <= $#; i++)); do
  [[ ${!i} == --out ]] && next=$((i + 1)) && out=${!next}
  [[ ${!i} == run.dir=* ]] && run=${!i#run.dir=\\'} && run=${run%\\'}
done
case "$*" in
  *fetch_corpus*) mkdir -p "${@: -1}" ;;
  *" prepare "*) mkdir -p "$out" && touch "$out/store.json" ;;
  *" train "*)
    [[ $run != *"$BROKEN"* ]] || exit 1
    touch "$run/metrics.json" "$run/model.safetensors"
    ;;
  *probe_latents*) touch "$out" ;;
  *compare_bottlenecks*) echo results >"$2/bottlenecks.md" ;;
esac
"""
    )
    path.chmod(0o755)
    notes = str(tmp_path / "notes")
    return os.environ | {"VQSPEECH_PYTHON": str(path), "NOTES": notes, "BROKEN": "nothing"}


@pytest.fixture
def recipe(tmp_path: Path, environment: dict[str, str]):
    """Run the recipe with its data and results in a fresh folder."""

    def call(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(ROOT / "recipes/vctk/bottlenecks.sh"), "--data", "d", "--exp", "e", *argv],
            cwd=tmp_path,
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return call


@pytest.fixture
def commands(tmp_path: Path):
    """Return the commands given since the last call."""

    def take() -> list[str]:
        path = tmp_path / "notes"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    return take


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
        (["--kinds", "vq,fsq"], "'fsq' is not one of none gaussian gumbel vq vq_ema vimco"),
        (["--seeds=a"], "'a' is not a whole number"),
        (["--jobs", "0"], "'0' is not a whole number above 0"),
        (["--codes", "many"], "'many' is not a whole number above 0"),
        (["--corpus", "nowhere"], "--corpus nowhere: no such folder"),
        (["fsq:run.seed=1"], "'fsq' is not one of"),
    ],
)
def test_wrong_arguments_are_one_line(recipe, commands, argv: list[str], expected: str) -> None:
    """Status 1, one line on standard error, nothing done."""
    done = recipe(*argv)
    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert commands() == []


def test_every_kind_is_trained_and_probed_alike(recipe, commands, tmp_path: Path) -> None:
    """One configuration and seed for all; the size of the codebook where there is one; then probes, MFCC, the page."""
    done = recipe("optimizer.steps=3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("results\n")
    given = commands()
    found = trainings(given)
    assert set(found) == {f"{kind}-0" for kind in KINDS}
    for kind in KINDS:
        words = found[f"{kind}-0"].split()
        assert f"bottleneck={kind}" in words
        for shared in ("experiment=bottlenecks", "run.seed=0", "optimizer.steps=3", "resume=auto"):
            assert shared in words
        discrete = kind not in ("none", "gaussian")
        assert ("model.bottleneck.codebook_size=64" in words) == discrete
    probes = [line for line in given if "probe_latents" in line]
    assert len([line for line in probes if "--model" in line]) == len(KINDS)
    assert "--mfcc" in probes[-1]
    assert given[-1].endswith(" ".join([f"{tmp_path}/e", *(f"{kind}-0" for kind in KINDS)]))


def test_what_is_done_is_skipped_and_more_can_be_added(recipe, commands) -> None:
    """A second call makes the page alone; another seed and kind are trained beside what is there."""
    assert recipe("--kinds", "vq,none").returncode == 0
    commands()
    assert recipe("--kinds", "vq,none").returncode == 0
    assert ["compare_bottlenecks" in line for line in commands()] == [True]
    assert recipe("--kinds=vq,gumbel", "--seeds=0,1").returncode == 0
    assert set(trainings(commands())) == {"gumbel-0", "vq-1", "gumbel-1"}


def test_settings_of_one_kind_go_to_it_alone(recipe, commands) -> None:
    """And values with colons in them are no such settings."""
    done = recipe("--kinds", "vq,gaussian", "gaussian:model.bottleneck.free_bits=6", "run.note=a:b")
    assert done.returncode == 0, done.stderr
    found = trainings(commands())
    assert "model.bottleneck.free_bits=6" in found["gaussian-0"]
    assert "gaussian:" not in found["gaussian-0"]
    assert "free_bits" not in found["vq-0"]
    assert all("run.note=a:b" in line for line in found.values())


def test_other_settings_are_not_mixed(recipe, commands) -> None:
    """A folder holds one comparison: other settings for it are refused before anything is trained."""
    assert recipe("--kinds", "vq").returncode == 0
    commands()
    done = recipe("--kinds", "none", "optimizer.steps=5")
    assert done.returncode == 1
    assert "was made with other settings" in done.stderr
    assert commands() == []


def test_a_tree_of_ones_own_has_its_configuration(recipe, commands, tmp_path: Path) -> None:
    """Real speech, in a folder with a space in its name, and larger codebooks."""
    (tmp_path / "my speech").mkdir()
    assert recipe("--corpus", "my speech", "--kinds", "vq").returncode == 0
    (line,) = trainings(commands()).values()
    assert "experiment=bottlenecks_real" in line
    assert "codebook_size=512" in line
    assert f"data.store='{tmp_path}/d/my speech/store'" in line


def test_one_that_fails_leaves_the_others_done(recipe, commands, tmp_path: Path) -> None:
    """The line names it and its log; the page waits; the next call does what is missing."""
    done = recipe("--kinds", "vq,gumbel,none", BROKEN="gumbel")
    assert done.returncode == 1
    assert "gumbel-0 ended before its work was done" in done.stderr
    assert "gumbel-0/train.log" in done.stderr
    assert not (tmp_path / "e/bottlenecks.md").exists()
    assert set(trainings(commands())) == {"vq-0", "gumbel-0", "none-0"}
    assert recipe("--kinds", "vq,gumbel,none").returncode == 0
    assert set(trainings(commands())) == {"gumbel-0"}


def test_no_more_than_so_many_at_a_time(recipe, environment, tmp_path: Path) -> None:
    """With two jobs, never three trainings are at work, and sometimes two."""
    busy = tmp_path / "busy"
    busy.mkdir()
    script = Path(environment["VQSPEECH_PYTHON"])
    watch = f"touch {busy}/$$; ls {busy} | wc -l >>{tmp_path}/seen; sleep 0.2; rm {busy}/$$"
    script.write_text(
        script.read_text().replace(
            '    touch "$run/metrics', f'    {watch}\n    touch "$run/metrics'
        )
    )
    assert recipe("--jobs", "2").returncode == 0
    seen = [int(line) for line in (tmp_path / "seen").read_text().split()]
    assert len(seen) == len(KINDS)
    assert max(seen) == 2


def test_sigterm_reaches_every_training_and_is_waited_for(environment, tmp_path: Path) -> None:
    """Both get the signal and may save before the recipe ends, in one line; nothing else is begun."""
    script = Path(environment["VQSPEECH_PYTHON"])
    wait = (
        'trap \'sleep 0.3; touch "$run/saved"; exit 0\' TERM; touch "$run/started";'
        " for _ in {1..300}; do sleep 0.1; done"
    )
    script.write_text(
        script.read_text().replace(
            '    touch "$run/metrics', f'    {wait}\n    touch "$run/metrics'
        )
    )
    process = subprocess.Popen(
        ["bash", str(ROOT / "recipes/vctk/bottlenecks.sh"), "--data", "d", "--exp", "e",
         "--jobs", "2", "--kinds", "vq,none,gumbel"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    for _ in range(400):
        if all((tmp_path / f"e/{run}-0/started").exists() for run in ("vq", "none")):
            break
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err == "bottlenecks.sh: interrupted: run again to go on\n"
    assert (tmp_path / "e/vq-0/saved").exists()
    assert (tmp_path / "e/none-0/saved").exists()
    assert not (tmp_path / "e/gumbel-0").exists()


def test_help_names_every_kind() -> None:
    """--help lists the kinds and does nothing."""
    script = str(ROOT / "recipes/vctk/bottlenecks.sh")
    done = subprocess.run(
        ["bash", script, "--help"],
        env=os.environ | {"VQSPEECH_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert ",".join(KINDS) in done.stdout
