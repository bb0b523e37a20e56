import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("download", "prepare", "train", "codes", "convert", "analyze", "report")


@pytest.fixture
def recipe(tmp_path: Path):
    """Run the recipe with its data and results in a fresh folder, and with a Python of the caller's choice."""

    def call(*argv: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(ROOT / "recipes/vctk/run.sh"), *argv],
            cwd=tmp_path,
            env=os.environ | {"VQSPEECH_PYTHON": python},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return call


@pytest.fixture
def recorder(tmp_path: Path) -> str:
    """Stand in for Python: note the command line, make the files that a stage must leave, do nothing else."""
    path = tmp_path / "python"
    path.write_text(
        """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$PWD/commands"
for ((i = 1; i <= $#; i++)); do
  [[ ${!i} == --out ]] && next=$((i + 1)) && out=${!next}
  [[ ${!i} == run.dir=* ]] && run=${!i#run.dir=\\'} && run=${run%\\'}
done
case "$*" in
  *fetch_corpus*) mkdir -p "${@: -1}" ;;
  *" prepare "*) mkdir -p "$out" && touch "$out/store.json" ;;
  *" train "*) mkdir -p "$run" && touch "$run/metrics.json" ;;
  *encode_split*) mkdir -p "$(dirname "$out")" && touch "$out" ;;
  *convert_pairs*) mkdir -p "$out" && touch "$out/conversions.json" ;;
  *analyze*) mkdir -p "$out" && touch "$out/scores.json" ;;
  *report.py*) mkdir -p "${@: -1}" && echo results >"${@: -1}/RESULTS.md" ;;
esac
"""
    )
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def commands(tmp_path: Path):
    """Return the commands given since the last call."""

    def take() -> list[str]:
        path = tmp_path / "commands"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    return take


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
    done = recipe(*argv)
    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_help_names_every_stage(recipe) -> None:
    """--help lists the stages by number and name and does nothing."""
    done = recipe("--help", python="/nonexistent")
    assert done.returncode == 0
    for number, name in enumerate(STAGES):
        assert f"{number} {name}" in done.stdout


def test_all_stages_in_order_and_a_second_run_starts_no_python(
    recipe, recorder: str, commands, tmp_path: Path
) -> None:
    """The first run does seven stages; the second shows the report without a single command."""
    argv = ["--corpus", "mini", "--exp", "my exp", "--data", "my data", "optimizer.steps=3"]
    first = recipe(*argv, python=recorder)
    assert first.returncode == 0, first.stderr
    given = commands()
    assert len(given) == len(STAGES)
    train = next(line for line in given if " train " in line)
    assert "experiment=mini" in train
    assert f"data.store='{tmp_path}/my data/mini/store'" in train
    assert f"run.dir='{tmp_path}/my exp/train' resume=auto optimizer.steps=3" in train
    assert first.stdout.endswith("results\n")

    second = recipe(*argv, python=recorder)
    assert second.returncode == 0, second.stderr
    assert commands() == []
    assert second.stdout.count("done before") == len(STAGES)
    assert second.stdout.endswith("results\n")


@pytest.mark.parametrize("form", ["number", "name", "equals"])
def test_first_and_last_stage(recipe, recorder: str, commands, form: str) -> None:
    """--stage and --stop-stage take a number or a name and include both ends."""
    argv = {
        "number": ["--stage", "3", "--stop-stage", "4"],
        "name": ["--stage", "codes", "--stop-stage", "convert"],
        "equals": ["--stage=codes", "--stop-stage=4"],
    }[form]
    done = recipe("--corpus", "mini", "--exp", "e", "--data", "d", *argv, python=recorder)
    assert done.returncode == 0, done.stderr
    first, second = commands()
    assert "encode_split.py" in first
    assert "convert_pairs.py" in second


def test_a_tree_of_ones_own(recipe, recorder: str, commands, tmp_path: Path) -> None:
    """A folder with spaces in its name is taken as it is, under the configuration for real speech."""
    (tmp_path / "my speech").mkdir()
    argv = ["--corpus", "my speech", "--exp", "e", "--data", "d", "--stop-stage", "train"]
    assert recipe(*argv, python=recorder).returncode == 0
    prepare, train = commands()
    assert f"--corpus {tmp_path}/my speech --out {tmp_path}/d/my speech/store" in prepare
    assert "experiment=real" in train


def test_other_settings_are_not_taken_for_done(recipe, recorder: str, commands) -> None:
    """A run with another configuration into the same folder is refused, not silently skipped."""
    argv = ["--corpus", "mini", "--exp", "e", "--data", "d"]
    assert recipe(*argv, python=recorder).returncode == 0
    commands()
    done = recipe(*argv, "--config", "phoneme640", python=recorder)
    assert done.returncode == 1
    assert "other settings (experiment=mini" in done.stderr
    assert commands() == []


def test_doing_a_stage_again_does_those_after_it_again(
    recipe, recorder: str, commands, tmp_path: Path
) -> None:
    """Without the marker of training, codes to report are made anew; the corpus stays."""
    argv = ["--corpus", "mini", "--exp", "e", "--data", "d"]
    assert recipe(*argv, python=recorder).returncode == 0
    commands()
    (tmp_path / "e/done/2-train").unlink()
    assert recipe(*argv, python=recorder).returncode == 0
    assert len(commands()) == len(STAGES) - 2


def test_a_stage_that_fails_or_leaves_nothing_is_not_done(
    recipe, recorder: str, tmp_path: Path
) -> None:
    """No marker after an error, nor after a stage that ended early with status 0, as interrupted training does."""
    argv = ["--corpus", "mini", "--exp", "e", "--data", "d"]
    failed = recipe(*argv, python="false")
    assert failed.returncode == 1
    assert not (tmp_path / "d/mini/done/0-download").exists()
    assert recipe(*argv, "--stop-stage", "prepare", python=recorder).returncode == 0
    early = recipe(*argv, "--stage", "train", python="true")
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
    recipe, recorder: str, commands, tmp_path: Path, rows: list[str], analysed: bool
) -> None:
    """A corpus without labels to fit on and to score skips that stage, says so, and goes on to the report."""
    (tmp_path / "speech").mkdir()
    store = tmp_path / "d/speech/store"
    store.mkdir(parents=True)
    (store / "manifest.tsv").write_text("\n".join(["split\tlabels", *rows, ""]))
    done = recipe("--corpus", "speech", "--exp", "e", "--data", "d", python=recorder)
    assert done.returncode == 0, done.stderr
    assert any(" analyze " in line for line in commands()) == analysed
    assert ("left out" in done.stdout) != analysed
    assert done.stdout.endswith("results\n")


def test_sigterm_reaches_the_stage_and_is_waited_for(tmp_path: Path) -> None:
    """Training gets the signal and may save before the recipe ends."""
    python = tmp_path / "python"
    python.write_text(
        "#!/usr/bin/env bash\n"
        "trap 'sleep 0.3; touch saved; exit 0' TERM\n"
        "touch started\n"
        "for _ in {1..300}; do sleep 0.1; done\n"
    )
    python.chmod(0o755)
    process = subprocess.Popen(
        ["bash", str(ROOT / "recipes/vctk/run.sh"), "--corpus", "mini", "--data", "d", "--exp", "e",
         "--stage", "2"],
        cwd=tmp_path,
        env=os.environ | {"VQSPEECH_PYTHON": str(python)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    for _ in range(200):
        if (tmp_path / "started").exists():
            break
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert (tmp_path / "saved").exists()
    assert process.returncode == 1
    assert "run again to go on" in err


def test_without_a_network_one_line_says_what_to_do(recipe, tmp_path: Path) -> None:
    """Where VCTK cannot be fetched, the line names the two ways that need no download."""
    script = ROOT / "recipes/vctk/local/fetch_corpus.py"
    code = (
        "import runpy, sys\n"
        "from vqspeech.corpus import vctk\n"
        "from vqspeech.errors import CorpusError\n"
        "def fail(folder):\n"
        "    raise CorpusError('no connection')\n"
        "vctk.download = fail\n"
        f"sys.argv = ['fetch_corpus.py', 'vctk', {str(tmp_path / 'VCTK-Corpus-0.92')!r}]\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    for word in ("no connection", "--corpus mini", "--corpus DIR"):
        assert word in done.stderr
