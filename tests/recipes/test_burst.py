"""A burst on a lent machine: whatever goes wrong, usable weights or one clear line are left."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import burst
import burst_check
import burst_train
import numpy as np
import pytest
import torch
import yaml
from labelled_store import Sound, write_sounds

from vqspeech.cli.train import compose
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, read_header
from vqspeech.training.data.coded import CodedStore
from vqspeech.training.data.codestore import extract_codes
from vqspeech.training.data.packing import write_pack
from vqspeech.training.schedule import process_age_s

ROOT = Path(__file__).resolve().parents[2]
FAULTY = Path(__file__).with_name("faulty_burst.py")
PATIENCE_S = 600
"""What a loaded machine may take for a start of training."""


@pytest.fixture(scope="module")
def pack(tiny_model: Autoencoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pack of two speakers' noise with codes of the tiny model."""
    folder = tmp_path_factory.mktemp("burst")
    draw = np.random.default_rng(0)
    sounds = [
        Sound(("ann", "bob")[i % 2], split, draw.integers(-9000, 9000, 4000))
        for i, split in enumerate(["train"] * 6 + ["valid"] * 2 + ["test"] * 2)
    ]
    store = PackedStore(write_sounds(folder / "store", sounds))
    coded = CodedStore(store, extract_codes(tiny_model, store, folder / "codes"))
    write_pack(coded, folder / "pack", origin="noise", model="tiny")
    return folder / "pack"


@pytest.fixture
def changes(tiny_model_file: Path) -> list[str]:
    """Return settings under which a step takes milliseconds."""
    return [
        f"init={tiny_model_file}",
        "model.decoder.pitch=false",
        "data.segment=640",
        "data.crop=320",
        "run.save_every_s=1",
        "run.validate_every=50",
        "run.validate_s=0.1",
    ]


class Burst:
    """A burst with a fault, ended by a signal when the test has seen enough."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.printed = folder, folder / "out", ""
        self._log = folder / "printed"

    def start(self, fault: str, pack: Path, changes: list[str], *options: object) -> None:
        """Begin to train for a time that no test waits for."""
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        environment = {
            "FAULT_MARKER": str(self.folder / "marker"),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(scratch),
        }
        command = ["train", "--pack", pack, "--out", self.out, "--tiny", "--seconds", 600]
        with self._log.open("w") as printed:
            self.process = subprocess.Popen(
                [sys.executable, str(FAULTY), fault, *map(str, [*command, *options, *changes])],
                env=os.environ | environment,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )

    def wait_for_step(self, step: int) -> None:
        """Wait until there are weights of that step or a later one."""
        until = time.monotonic() + PATIENCE_S
        while self.steps() < step:
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.1)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and return the exit status; nothing is left where training worked."""
        status = self.process.wait(PATIENCE_S)
        self.printed = self._log.read_text()
        if status >= 0:
            assert not list((self.folder / "scratch").glob("vqspeech-*"))
        return status

    def lines(self) -> list[str]:
        """What the burst itself has said."""
        lines = self.printed.splitlines()
        return [line.removeprefix("burst: ") for line in lines if line.startswith("burst: ")]

    def record(self) -> dict[str, Any]:
        """What train.json says; empty before there is one."""
        path = self.out / "train.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def steps(self) -> int:
        """Step of the newest weights, which are loaded; 0 before there are any."""
        record = self.record().get("weights")
        if record is None:
            return 0
        model = load_model(self.out / record["file"])
        assert all(torch.isfinite(weight).all() for weight in model.parameters())
        header = read_header(self.out / record["file"])
        assert header["weights"] == "float16"
        return int(record["steps"])


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Burst]:
    """Yield a burst that a test may start; it does not outlive the test."""
    own = Burst(tmp_path)
    yield own
    if own.process.poll() is None:
        own.process.kill()
        own.process.wait()


def test_the_settings_are_those_that_hydra_composes() -> None:
    """The file names the command that makes it, and that command's output it is."""
    text = burst_train.SETTINGS.read_text()
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    _, _, command = comment.partition("vqspeech train --show ")
    assert compose(shlex.split(command)) == yaml.safe_load(text)


def test_it_needs_none_of_the_packages_that_the_machine_lacks() -> None:
    """Neither itself nor training nor the sampler's measure imports what only this project's venv has."""
    code = f"""
import sys
# these look for others where there are such
import lightning.fabric, torch.utils.tensorboard
for name in ("hydra", "omegaconf", "soundfile", "soxr", "librosa", "torchaudio", "numba", "pooch", "constriction",
             "matplotlib", "pydantic", "vqspeech.sampling._native"):
    sys.modules[name] = None
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "recipes/pretrained")!r}]
import burst, vqspeech.training.__main__, vqspeech.training.loop, vqspeech.sampling.measure, vqspeech.training.data.pack
print("imported")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "imported\n", done.stderr


@pytest.mark.slow
def test_a_signal_saves_and_ends_and_the_next_burst_goes_on(
    started: Burst, pack: Path, changes: list[str]
) -> None:
    """Few files: weights, curve, record, log, and a state that joins and that another burst counts on from."""
    started.start("none", pack, changes)
    started.wait_for_step(60)
    assert started.end() == 0, started.printed
    (stopped,) = [x for x in started.printed.splitlines() if x.startswith("stopped at step ")]
    step = int(stopped.split()[3].rstrip(";"))
    assert started.steps() == step
    assert started.lines()[-1].endswith(f"has the averaged weights of step {step}")
    assert sorted(path.name for path in started.out.iterdir()) == [
        "curve.jsonl",
        "state.pt.part-00",
        "train.json",
        "train.log",
        "weights-0.safetensors",
        "weights-1.safetensors",
    ]
    curve = [json.loads(line) for line in (started.out / "curve.jsonl").read_text().splitlines()]
    assert curve[-1]["step"] == step
    assert any("valid_bits_per_sample" in entry for entry in curve)
    assert burst.main(["join", str(started.out)]) == 0
    assert torch.load(started.out / "state.pt", weights_only=True)["step"] == step
    started.start("none", pack, changes)
    started.wait_for_step(step + 1)
    assert started.end() == 0, started.printed
    assert started.lines()[0] == f"going on from the state in {started.out}"


@pytest.mark.slow
def test_its_time_ends_a_burst(started: Burst, pack: Path, changes: list[str]) -> None:
    """In one start and by itself, with weights; how well the time is kept, benchmarks/deadlines.py measures."""
    started.start("none", pack, changes, "--seconds", 60)
    assert started.wait() == 0, started.printed
    (start,) = started.record()["starts"]
    assert start["ended"].startswith("status 0")
    assert started.steps() > 0


def test_too_little_time_is_one_line(started: Burst, pack: Path, changes: list[str]) -> None:
    """Nothing is begun that could not be saved."""
    started.start("none", pack, changes, "--seconds", 5)
    assert started.wait() == 1
    (line,) = started.lines()
    assert line.startswith("no weights were written: ")
    assert line.endswith(" s are too short to begin")


@pytest.mark.slow
def test_a_compiler_that_fails_costs_nothing_but_speed(
    started: Burst, pack: Path, changes: list[str]
) -> None:
    """The same start goes on eager."""
    started.start("compile-fails", pack, [*changes, "run.compile=true"])
    started.wait_for_step(1)
    assert started.end() == 0, started.printed
    line = "run.compile: RuntimeError: no such instruction; going on without"
    assert line in started.printed.splitlines()
    assert len(started.record()["starts"]) == 1


@pytest.mark.slow
def test_a_compiler_that_hangs_is_killed_and_training_goes_on_without(
    started: Burst, pack: Path, changes: list[str]
) -> None:
    """One line says so, and the second start is eager."""
    compiled = [*changes, "run.compile=true", "run.compile_s=1"]
    started.start("compile-hangs", pack, compiled, "--stall-s", 30)
    started.wait_for_step(1)
    assert started.end() == 0, started.printed
    line = "training ended: no progress for 31 s; going on eager from step 0"
    assert started.lines()[0] == line
    assert [start["compile"] for start in started.record()["starts"]] == [True, False]


@pytest.mark.slow
def test_training_that_is_killed_goes_on_from_its_last_state(
    started: Burst, pack: Path, changes: list[str]
) -> None:
    """The steps before the kill count."""
    started.start("killed", pack, changes)
    started.wait_for_step(1)
    killed_at = started.steps()
    started.wait_for_step(killed_at + 1)
    assert started.end() == 0, started.printed
    # between them, what was printed last
    assert started.lines()[0].startswith("training ended: signal 9 (")
    assert started.lines()[0].endswith(f"); going on eager from step {killed_at}")
    steps = [json.loads(entry)["step"] for entry in (started.out / "curve.jsonl").open()]
    assert killed_at + 1 in steps


@pytest.mark.slow
def test_a_burst_that_is_killed_leaves_weights_and_no_child(
    started: Burst, pack: Path, changes: list[str]
) -> None:
    """Kill -9 of the burst itself, once there are weights: they load, and the training process is gone."""
    started.start("none", pack, changes)
    started.wait_for_step(1)
    own = started.process.pid
    (child,) = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    assert started.end(signal.SIGKILL) == -signal.SIGKILL
    until = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert started.steps() > 0


@pytest.mark.slow
def test_a_missing_part_of_the_pack_is_one_line(
    started: Burst, pack: Path, changes: list[str], tmp_path: Path
) -> None:
    """Training is not started again: it would find the same."""
    copy = tmp_path / "copy"
    shutil.copytree(pack, copy, ignore=shutil.ignore_patterns("levels-000.xz"))
    started.start("none", copy, changes)
    assert started.wait() == 1
    (line,) = started.lines()
    assert line.startswith(f"no weights were written: {copy}/levels-000.xz: No such file")
    assert len(started.record()["starts"]) == 1


@pytest.mark.slow
def test_a_full_output_folder_is_one_line_and_weights_before_stay(
    started: Burst, pack: Path, changes: list[str]
) -> None:
    """Training goes on, and what was there loads."""
    full = started.out
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(full)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        started.start("none", pack, changes)
        started.wait_for_step(1)
        status = os.statvfs(full)
        (full / "ballast").write_bytes(bytes(status.f_bavail * status.f_bsize))
        before = started.steps()
        until = time.monotonic() + PATIENCE_S
        while "cannot be kept" not in (started.folder / "printed").read_text():
            assert time.monotonic() < until
            time.sleep(0.1)
        assert started.end() == 1
        line, last = started.lines()
        assert line.startswith(f"{full}: results cannot be kept (")
        assert "No space left on device" in line
        assert line.endswith(f"of step {before} is whole; make room there")
        assert "No space left on device" in last
        assert started.steps() == before
    finally:
        started.process.kill()
        started.process.wait()
        subprocess.run(["umount", str(full)], check=True)


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (
            lambda out: (out / "state.pt.part-01").unlink(),
            "part-01: No such file or directory; copy",
        ),
        (lambda out: (out / "state.pt.part-00").write_bytes(b"x"), "not those of one moment"),
        (lambda out: (out / "train.json").write_text("{}"), "names no parts of a state"),
    ],
)
def test_parts_of_a_state_that_do_not_belong_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm, found: str
) -> None:
    """One line, and no file is made of them; those that do belong together make it again."""
    monkeypatch.setattr(burst_train, "STATE_PART_BYTES", 10)
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    out.mkdir()
    (run / "state.pt").write_bytes(bytes(range(25)))
    burst_train.Keeper(run, out, {}, print).keep()
    burst.join(out, tmp_path / "state.pt")
    assert (tmp_path / "state.pt").read_bytes() == bytes(range(25))
    harm(out)
    with pytest.raises(ConfigurationError) as caught:
        burst.join(out, tmp_path / "again.pt")
    assert found in str(caught.value)
    assert not (tmp_path / "again.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing"], "nothing: not a setting as key=value"),
        (["data.crops=1"], "data.crops: no such setting in burst.yaml"),
        (["--choice", "nowhere"], "nowhere: no choice of burst.py check"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path,
    pack: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    """On standard error, before anything is trained."""
    command = ["train", "--pack", str(pack), "--out", str(tmp_path), "--tiny", *arguments]
    assert burst.main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"burst: {complaint}")


def test_sections_that_fail_cost_only_themselves(
    tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One crashes, one hangs, one ends with an error: what each had found is there, and how it ended."""
    monkeypatch.setattr(burst_check, "SCRIPT", (str(FAULTY), "sections"))
    limits = {"machine": 60.0, "training": 25.0, "sampler": 60.0, "tests": 60.0}
    monkeypatch.setattr(burst_check, "LIMITS_S", limits)
    # until now the process has run for as long as the tests before have
    seconds = process_age_s() + 205
    assert burst_check.check(pack, tmp_path, seconds, tiny=True, changes=[]) == 1
    found = json.loads((tmp_path / "check.json").read_text())
    assert {name: section["ended"] for name, section in found.items()} == {
        "machine": "ended with status -6",
        "training": "killed after 25 s",
        "sampler": "ended with status 1",
        "tests": "done",
    }
    assert found["machine"]["python"] == "3"
    assert found["sampler"]["last_lines"] == ["burst: no kernel"]
    assert json.loads((tmp_path / "choice.json").read_text()) == {
        "batch": 7,
        "compile": False,
        "samples_per_s": 11.0,
    }
    text = (tmp_path / "check.txt").read_text()
    assert "training: killed after 25 s, 25." in text
    assert "  samples_per_s eager 7: 11" in text
    assert capsys.readouterr().out == text


@pytest.mark.slow
def test_a_check_measures_and_chooses(tmp_path: Path, pack: Path, changes: list[str]) -> None:
    """All of it, small, on a CPU; whether the step compiles there depends on the compiler."""
    command = [sys.executable, ROOT / "recipes/pretrained/burst.py", "check", "--pack", pack]
    command += ["--out", tmp_path, "--tiny", *changes]
    subprocess.run(list(map(str, command)), env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["machine"]["ended"] == found["sampler"]["ended"] == "done"
    assert found["machine"]["copy_gb_per_s"] > 0
    assert found["sampler"]["samples_per_s reference 1"] > 0
    assert "tests/sampling/test_cuda.py" in found["tests"]["files"]
    assert found["tests"]["failed"] == []
    training = found["training"]
    if training["ended"] == "done":
        assert abs(training["loss_difference"]) < 1e-3 * training["loss_eager"]
        assert training["gradient_difference"] < 1e-3
    speeds = {
        f"samples_per_s eager {batch}": training[f"samples_per_s eager {batch}"] for batch in (1, 2)
    }
    assert all(speed > 0 for speed in speeds.values())
    assert json.loads((tmp_path / "choice.json").read_text())["batch"] in (1, 2)


def test_the_choice_is_the_smallest_batch_near_the_best_speed() -> None:
    """In the faster form of it; what did not fit or was not reached does not count."""
    speeds = {
        "samples_per_s eager 64": 7e6,
        "samples_per_s eager 128": 8e6,
        "samples_per_s eager 256": None,
        "compile_s 64": 40.0,
        "samples_per_s compiled 64": 12.5e6,
        "samples_per_s compiled 128": 13e6,
    }
    chosen = burst_check.choose(speeds)
    assert chosen == {"batch": 64, "compile": True, "samples_per_s": 12.5e6}
    assert burst_check.choose({"ended": "killed after 3 s"}) is None
    eager = {key: value for key, value in speeds.items() if "compiled" not in key}
    assert burst_check.choose(eager) == {"batch": 128, "compile": False, "samples_per_s": 8e6}


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_burst_on_a_gpu_leaves_weights_in_time(
    pack: Path, changes: list[str], started: Burst
) -> None:
    """Compiled, in bf16, with a batch that it finds itself."""
    program = ROOT / "recipes" / "pretrained" / "burst.py"
    command = [program, "train", "--pack", pack, "--out", started.out, "--seconds", 120, *changes]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 120
    assert started.steps() > 0
