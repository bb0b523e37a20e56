"""The half of ``burst.py`` that measures: sections, each a process of its own, whose results are kept as they come.

A section is a generator of results, pairs of a name and a JSON value. Each is written at once: a section that crashes
or hangs loses only what it has not found yet.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from burst_process import ROOT, deadline, die_with_parent, environment, kill
from burst_train import settings_for
from torch import Tensor

from vqspeech.errors import VqspeechError
from vqspeech.jobs.atomic import write_file

Results = Iterator[tuple[str, Any]]

SCRIPT = (str(Path(__file__).with_name("burst.py")),)

LIMITS_S = {"machine": 25.0, "training": 95.0, "sampler": 45.0, "tests": 60.0}
"""Longest time of each section; what one leaves is for those after it."""

BATCHES = (64, 128, 256)
TINY_BATCHES = (1, 2)

GOOD_ENOUGH = 0.9
"""Share of the best speed that the chosen batch reaches; smaller batches learn more from a sample."""

STREAMS = (1, 64, 512)


def check(pack: Path, out: Path, seconds: float, *, tiny: bool, changes: Sequence[str]) -> int:
    """Run all sections, and return 0 when each came to its end.

    Parameters
    ----------
    pack, out : Path
        What would be trained on, and where results go: ``check.json``, ``check.txt`` and ``choice.json``.
    seconds : float
        Time there is for all, from the start of this process.
    tiny : bool
        Small sizes, on the CPU.
    changes : sequence of str
        Settings over ``burst.yaml``, as key=value.
    """
    tiny = tiny or not torch.cuda.is_available()
    ends = deadline(seconds)
    found: dict[str, dict[str, Any]] = {}
    for name, limit_s in LIMITS_S.items():
        began = time.monotonic()
        limit_s = min(limit_s, ends - began)
        found[name] = _section(name, pack, limit_s, tiny, changes)
        found[name]["seconds"] = round(time.monotonic() - began, 1)
        _write(out, found)
        print("\n".join(_lines(name, found[name])), flush=True)
    return 0 if all(section["ended"] == "done" for section in found.values()) else 1


def _section(
    name: str, pack: Path, limit_s: float, tiny: bool, changes: Sequence[str]
) -> dict[str, Any]:
    """Run a section and return its results, and how it ended."""
    if limit_s <= 1:
        return {"ended": "no time was left"}
    with tempfile.TemporaryDirectory(prefix="vqspeech-check-") as folder:
        results, log = Path(folder) / "results.jsonl", Path(folder) / "log"
        command = [sys.executable, *SCRIPT, "section", "--section", name]
        command += ["--pack", str(pack), "--out", folder]
        command += [*(["--tiny"] if tiny else []), *changes]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
            try:
                status = process.wait(limit_s)
                ended = "done" if status == 0 else f"ended with status {status}"
            except subprocess.TimeoutExpired:
                ended = f"killed after {limit_s:.0f} s"
            finally:
                # with what it has started, compilers among it
                kill(process)
        found: dict[str, Any] = {"ended": ended}
        if results.is_file():
            # the last line of one that was killed may be cut off
            for line in results.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):
                    found |= json.loads(line)
        if ended != "done":
            printed = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            found["last_lines"] = printed[-3:]
        return found


def _write(out: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what was found so far, and what follows from it for training."""
    write_file(out / "check.json", json.dumps(found, indent=1) + "\n")
    lines = "\n".join(line for name in found for line in _lines(name, found[name])) + "\n"
    write_file(out / "check.txt", lines)
    chosen = choose(found.get("training", {}))
    if chosen is not None:
        write_file(out / "choice.json", json.dumps(chosen, indent=1) + "\n")


def choose(training: Mapping[str, Any]) -> dict[str, Any] | None:
    """Choose batch and form of the training step: the smallest batch near the best speed, in the faster form of it.

    Parameters
    ----------
    training : mapping
        Results of the section; those named ``samples_per_s FORM BATCH`` are looked at.
    """
    speeds = {
        (int(key.split()[2]), key.split()[1] == "compiled"): float(value)
        for key, value in training.items()
        if key.startswith("samples_per_s ") and value is not None
    }
    if not speeds:
        return None
    good = GOOD_ENOUGH * max(speeds.values())
    batch = min(size for (size, _), speed in speeds.items() if speed >= good)
    forms = {compiled: speed for (size, compiled), speed in speeds.items() if size == batch}
    compiled = max(forms, key=lambda form: forms[form])
    return {"batch": batch, "compile": compiled, "samples_per_s": forms[compiled]}


def _lines(name: str, section: Mapping[str, Any]) -> Iterator[str]:
    yield f"{name}: {section['ended']}, {section.get('seconds', 0)} s"
    for key, value in section.items():
        if key not in ("ended", "seconds"):
            yield f"  {key}: {f'{value:.4g}' if isinstance(value, float) else value}"


def run_section(name: str, pack: Path, out: Path, *, tiny: bool, changes: Mapping[str, Any]) -> int:
    """Run a section in this process, each result going to ``results.jsonl`` at once."""
    with (out / "results.jsonl").open("a", encoding="utf-8") as file:
        for key, value in SECTIONS[name](pack, tiny, changes):
            file.write(json.dumps({key: value}) + "\n")
            file.flush()
    return 0


def _seconds(work: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Seconds of one of several calls, after one that is not counted."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    work()
    wait()
    began = time.perf_counter()
    for _ in range(rounds):
        work()
    wait()
    return (time.perf_counter() - began) / rounds


def machine(_: Path, tiny: bool, __: Mapping[str, Any]) -> Results:
    """Versions, the card, and what it copies and multiplies a second."""
    yield "python", platform.python_version()
    yield "torch", torch.__version__
    yield "cuda", torch.version.cuda
    try:
        yield "triton", version("triton")
    except PackageNotFoundError:
        yield "triton", "not installed"
    yield "cores", len(os.sched_getaffinity(0))
    device = torch.device("cpu" if tiny else "cuda")
    if not tiny:
        properties = torch.cuda.get_device_properties(device)
        yield "card", properties.name
        yield "memory_gb", properties.total_memory / 1e9
        yield "multiprocessors", properties.multi_processor_count
        query = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm", "--format=csv,noheader"]
        try:
            asked = subprocess.run(query, capture_output=True, text=True, timeout=10)
            yield "driver", asked.stdout.strip()
        except (OSError, subprocess.TimeoutExpired) as error:
            yield "driver", str(error)
    size = 2**22 if tiny else 2**30
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    # read and written
    yield "copy_gb_per_s", 2 * size / 1e9 / _seconds(lambda: target.copy_(source), 10, device)
    if not tiny:
        pinned = torch.zeros(size // 4, dtype=torch.uint8).pin_memory()
        there = torch.empty_like(pinned, device=device)
        rate = (
            len(pinned) / 1e9 / _seconds(lambda: there.copy_(pinned, non_blocking=True), 5, device)
        )
        yield "pinned_to_device_gb_per_s", rate
    side = 256 if tiny else 8192
    torch.set_float32_matmul_precision("high")
    for dtype, label in ((torch.bfloat16, "bf16"), (torch.float32, "tf32")):
        matrix = torch.randn(side, side, device=device, dtype=dtype)
        spent = _seconds(lambda matrix=matrix: matrix @ matrix, 10, device)  # type: ignore[misc]
        yield f"{label}_tflop_per_s", 2 * side**3 / 1e12 / spent


def tests(_: Path, tiny: bool, __: Mapping[str, Any]) -> Results:
    """The quick tests that need a GPU, where there is none to see that they can be collected."""
    marked = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "mark.gpu" in path.read_text(encoding="utf-8")
    ]
    yield "files", marked
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu and not slow",
        "-q",
        "-p",
        "no:cacheprovider",
        *marked,
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["no output"]
    yield "summary", lines[-1].strip("= ")
    yield "failed", [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    # 5: none was collected
    if done.returncode:
        yield "status", done.returncode
        yield "errors", done.stderr.strip().splitlines()[-3:]


def sampler(_: Path, tiny: bool, __: Mapping[str, Any]) -> Results:
    """Samples a second of the CUDA kernel in each of its shapes; without a GPU those of the reference engine."""
    from vqspeech.sampling import cuda
    from vqspeech.sampling.measure import BASELINE, Case, reference_subject, speeds

    def rate(case: Case, seconds: float) -> float:
        (found,) = speeds(
            {case.pitch_taps: subject}, [case], rounds=1, seconds=seconds, tick=lambda: None
        )
        return found

    if tiny:
        subject = reference_subject("cpu")
        yield "samples_per_s reference 1", rate(BASELINE, 0.1)
        return
    subject = reference_subject("cuda")
    missing = cuda.unavailable_reason(torch.device("cuda"))
    if missing is not None:
        yield "cannot_run", missing
        return
    for shape in cuda.SHAPES["bf16"]:
        with patch.dict(cuda.SHAPES, {"bf16": (shape,)}):
            for streams in STREAMS:
                key = f"samples_per_s bf16 {streams} streams, {shape.streams} a program"
                yield key, rate(Case("cuda", "bf16", streams, 1), 0.5)


def training(pack: Path, tiny: bool, changes: Mapping[str, Any]) -> Results:
    """Training steps eager and compiled: how far apart they are, and samples a second that the WaveNet learns from."""
    from vqspeech.training.compiled import Differentiated
    from vqspeech.training.config import from_mapping
    from vqspeech.training.data.pack import Pack
    from vqspeech.training.data.segments import CodedSegments
    from vqspeech.training.process import launch
    from vqspeech.training.start import start

    corpus = Pack(pack)
    batches = TINY_BATCHES if tiny else BATCHES
    config = from_mapping(settings_for(pack, tiny=tiny, changes={"data.batch": 1} | dict(changes)))
    fabric = launch(config.run)
    device = fabric.device
    state = start(config, corpus.speakers, device)
    model, crop = state.objective.model, config.data.crop
    # compiled random numbers would be others than eager ones, and losses could not be compared
    torch._inductor.config.fallback_random = True
    forms = {
        form: Differentiated(state.objective, fabric.autocast, form == "compiled", 600)
        for form in ("eager", "compiled")
    }
    segments = {}
    for batch in batches:
        settings = settings_for(pack, tiny=tiny, changes=dict(changes) | {"data.batch": batch})
        phases = from_mapping(settings).phases()
        segments[batch] = CodedSegments(corpus, phases, 0, 0, model.speakers).resident(device)

    def reseed() -> None:
        torch.manual_seed(0)

    def differentiate(form: str, batch: int, step: int) -> Tensor:
        for weight in state.objective.parameters():
            weight.grad = None
        losses = forms[form](reseed, segments[batch][step], crop, False)
        return losses.total.detach()

    def learn(form: str, batch: int) -> None:
        differentiate(form, batch, 0)
        for optimizer in state.optimizers:
            optimizer.step()

    def speed(form: str, batch: int) -> float | None:
        try:
            learn(form, batch)
            spent = _seconds(lambda: learn(form, batch), 1 if tiny else 20, device)
        except torch.OutOfMemoryError:
            return None
        return batch * crop / spent

    for batch in batches:
        yield f"samples_per_s eager {batch}", speed("eager", batch)
    for batch in batches:
        began = time.monotonic()
        loss = differentiate("compiled", batch, 0)
        yield f"compile_s {batch}", time.monotonic() - began
        if forms["compiled"].compiled is None:
            raise VqspeechError("the training step was not compiled, for the reason above")
        if batch == batches[0]:
            compiled = _gradient(state.objective)
            other = differentiate("eager", batch, 0)
            eager = _gradient(state.objective)
            yield "loss_eager", float(other)
            yield "loss_difference", float(loss - other)
            yield "gradient_difference", float((compiled - eager).norm() / eager.norm())
        yield f"samples_per_s compiled {batch}", speed("compiled", batch)
    if not tiny:
        yield "memory_gb", torch.cuda.max_memory_allocated(device) / 1e9


def _gradient(objective: torch.nn.Module) -> Tensor:
    """All gradients, end to end."""
    return torch.cat(
        [w.grad.flatten().double() for w in objective.parameters() if w.grad is not None]
    )


SECTIONS: dict[str, Callable[[Path, bool, Mapping[str, Any]], Results]] = {
    "machine": machine,
    "training": training,
    "sampler": sampler,
    "tests": tests,
}
