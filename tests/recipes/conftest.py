"""Recipes run as a person runs them, with something that only notes the commands in place of Python."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

RECORDER = r"""#!/usr/bin/env bash
[[ $1 == -c ]] && exit 1  # no GPU
printf '%s\n' "$*" >>"$NOTES/commands"
for ((i = 1; i <= $#; i++)); do
  next=$((i + 1))
  [[ ${!i} == --out ]] && out=${!next}
  [[ ${!i} == --download ]] && download=${!next}
  [[ ${!i} == run.dir=* ]] && run=${!i#run.dir=\'} && run=${run%\'}
done
case "$*" in
  *" info "*) printf '{\n  "codebook_id": "0123456789abcdef",\n}\n' ;;
  *" --download "*) mkdir -p "$download/VCTK-Corpus-0.92" ;;
  *" prepare "*) mkdir -p "$out" && touch "$out/store.json" ;;
  *" train "*)
    [[ ${BROKEN:-} && $run == *"$BROKEN"* ]] && exit 1
    mkdir -p "$run"
    eval "${IN_TRAINING:-}"
    touch "$run/model.safetensors" "$run/prior.safetensors"
    [[ -e $NOTES/stopped ]] || touch "$run/metrics.json"
    ;;
  *" codes "*) mkdir -p "$out" ;;
  *" evaluate "*) mkdir -p "$out" && echo conversions >"$out/evaluation.md" && touch "$out/evaluation.json" ;;
  *" analyze "*) mkdir -p "$out" && echo phones >"$out/scores.md" && touch "$out/scores.json" ;;
  *probe_latents*) touch "$out" ;;
  *compare_bottlenecks*) echo results >"$2/bottlenecks.md" ;;
esac
"""
"""Notes the command line, makes the files that a step must leave, and does nothing else."""

UNTIL_STOPPED = (
    'trap \'touch "$run/asked"; until [[ -e $NOTES/go ]]; do sleep 0.05; done; touch "$run/saved"; exit 0\' TERM;'
    ' touch "$run/started"; while kill -0 $PPID; do sleep 0.05; done'
)
"""A training that goes on until SIGTERM, and then saves when the file ``go`` is there."""


@dataclass(frozen=True)
class Recipe:
    """A script in a fresh folder.

    Attributes
    ----------
    script : str
        Its place in the folder of recipes.
    folder : Path
        Where it runs.
    """

    script: str
    folder: Path

    def _command(self, argv: tuple[str, ...]) -> list[str]:
        return ["bash", str(RECIPES / self.script), *argv]

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        own = {"VQSPEECH_PYTHON": str(self.folder / "python"), "NOTES": str(self.folder)}
        return os.environ | own | variables

    def __call__(self, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it with `variables` in its environment."""
        return subprocess.run(
            self._command(argv),
            cwd=self.folder,
            env=self._environment(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def refuses(self, *argv: str, expected: str) -> None:
        """Assert status 1, one line on standard error with `expected`, nothing on standard output."""
        done = self(*argv)
        assert done.returncode == 1
        assert expected in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.stdout == ""

    def commands(self) -> list[str]:
        """Return the commands given since the last call."""
        path = self.folder / "commands"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def programs(self) -> list[str]:
        """Return the verbs and programs of `commands`."""
        words = [line.split() for line in self.commands()]
        return [line[2] if line[0] == "-m" else Path(line[0]).name for line in words]

    def stop_in_training(self, *argv: str, runs: list[Path]) -> subprocess.CompletedProcess[str]:
        """Run it until all `runs` train, end it with SIGTERM, and let them save only while it waits for them."""
        process = subprocess.Popen(
            self._command(argv),
            cwd=self.folder,
            env=self._environment({"IN_TRAINING": UNTIL_STOPPED}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("started", "asked"):
            while not all((run / name).exists() for run in runs):
                assert process.poll() is None
                time.sleep(0.05)
            if name == "started":
                process.terminate()
        assert process.poll() is None
        (self.folder / "go").touch()
        _, err = process.communicate()
        assert all((run / "saved").exists() for run in runs)
        return subprocess.CompletedProcess(process.args, process.returncode, "", err)


@pytest.fixture
def recipe(tmp_path: Path, request: pytest.FixtureRequest) -> Recipe:
    """Return the script that the test module names in ``SCRIPT``."""
    python = tmp_path / "python"
    python.write_text(RECORDER)
    python.chmod(0o755)
    return Recipe(request.module.SCRIPT, tmp_path)
