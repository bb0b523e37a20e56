"""Several workers, started in each of the ways there are: gloo, on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.training.config import from_mapping
from vqspeech.training.loop import train
from vqspeech.training.process import launch, lost_workers

Settings = dict[str, Any]
Write = Callable[[Settings], Path]
STEPS = 12


@pytest.fixture
def two(settings: Settings) -> Settings:
    """Return the settings of a run of two workers."""
    settings["run"] |= {"devices": 2, "validate_every": 6}
    settings["model"]["bottleneck"]["dead_below"] = 0.9
    return settings


def _port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _start(command: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def _torchrun(config: Path, nodes: int = 1, rank: int = 0, port: int = 0) -> subprocess.Popen[str]:
    """Start the workers of one machine with torchrun."""
    place = (
        ["--standalone"]
        if nodes == 1
        else [f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}"]
    )
    many = [f"--nnodes={nodes}", f"--nproc-per-node={2 // nodes}"]
    return _start(["torch.distributed.run", *many, *place, "-m", "vqspeech.training", str(config)])


def _weights(folder: Path) -> Mapping[str, Any]:
    return torch.load(folder / "state.pt", weights_only=True)


def _same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert found["step"] == expected["step"] == STEPS
    for part in ("objective", "average"):
        for key, tensor in expected[part].items():
            assert torch.equal(found[part][key], tensor), f"{part}.{key}"
    for key in ("nats_per_sample", "used_codes", "shuffled_bits", "utterances"):
        assert found["curve"][0][key] == expected["curve"][0][key]


@pytest.mark.slow
def test_torchrun_two_machines_and_devices_give_one_run(
    two: Settings, write_settings: Write
) -> None:
    """Two workers are two workers: weights, average and shared scores are the same bits however they were started."""
    ends = {}
    for name in ("devices", "torchrun", "machines"):
        own = deepcopy(two)
        own["run"]["dir"] = str(Path(two["run"]["dir"]).with_name(name))
        if name == "devices":
            runs = [_start(["vqspeech.training", str(write_settings(own))])]
        elif name == "torchrun":
            runs = [_torchrun(write_settings(own))]
        else:
            own["run"] |= {"devices": 1, "nodes": 2}
            other = deepcopy(own)
            # what the second machine has on its disk is its own
            other["run"]["dir"] += "-second"
            port = _port()
            configs = [write_settings(own), write_settings(other)]
            runs = [_torchrun(config, 2, rank, port) for rank, config in enumerate(configs)]
        for run in runs:
            out, err = run.communicate(timeout=240)
            assert run.returncode == 0, out + err
        ends[name] = _weights(Path(own["run"]["dir"]))
    _same(ends["torchrun"], ends["devices"])
    _same(ends["machines"], ends["devices"])


@pytest.mark.slow
def test_a_run_goes_on_from_the_disk_of_the_first_worker(
    two: Settings, write_settings: Write
) -> None:
    """The other machine has nothing of the earlier run, and the end is that of a run that was left alone."""
    straight, broken = deepcopy(two), deepcopy(two)
    straight["run"]["dir"] += "-straight"
    run = _torchrun(write_settings(straight))
    assert run.wait(240) == 0
    broken["optimizer"]["steps"] -= 4
    run = _torchrun(write_settings(broken))
    assert run.wait(240) == 0
    broken["optimizer"]["steps"] += 4
    broken["run"] |= {"devices": 1, "nodes": 2}
    other = deepcopy(broken)
    other["run"]["dir"] += "-second"
    port = _port()
    configs = [write_settings(broken), write_settings(other)]
    runs = [_torchrun(config, 2, rank, port) for rank, config in enumerate(configs)]
    for run in runs:
        out, err = run.communicate(timeout=240)
        assert run.returncode == 0, out + err
    assert not (Path(other["run"]["dir"]) / "state.pt").exists()
    found, expected = (_weights(Path(s["run"]["dir"])) for s in (broken, straight))
    assert found["step"] == expected["step"] == STEPS
    assert found["samples"] == expected["samples"]


def test_a_failing_collective_is_one_line_and_no_other_error_is() -> None:
    """Wherever it stands in a step: what counts is that torch.distributed raised it."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        line = r"^run: another worker .* resume=auto$"
        with pytest.raises(VqspeechError, match=line), lost_workers("run"):
            dist.all_gather([torch.empty(3)], torch.empty(2))
    finally:
        dist.destroy_process_group()
    with pytest.raises(RuntimeError, match="must match"), lost_workers("run"):
        torch.ones(2) + torch.ones(3)


@pytest.mark.slow
def test_when_a_worker_is_killed_the_other_ends_with_one_line(
    two: Settings, write_settings: Write
) -> None:
    """With the line that says what to do, long before its steps are done."""
    two["optimizer"]["steps"], two["run"]["save_every_s"] = 100_000, 0
    two["run"] |= {"devices": 1, "nodes": 2}
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0", "GROUP_RANK": "0"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_port())}
    common |= {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"}
    config = write_settings(two)
    runs = [
        _start(["vqspeech.training", str(config)], **common | {"RANK": rank}) for rank in ("0", "1")
    ]
    state = Path(two["run"]["dir"]) / "state.pt"
    while not state.exists():
        assert all(run.poll() is None for run in runs), runs[0].communicate()[1]
        time.sleep(0.1)
    os.killpg(runs[1].pid, signal.SIGKILL)
    _, err = runs[0].communicate()
    assert runs[0].returncode == 1
    lines = [line for line in err.splitlines() if line.startswith("vqspeech: ")]
    assert len(lines) == 1, err
    assert "another worker has ended" in lines[0]
    assert "resume=auto" in lines[0]
    assert "Traceback" not in err
    assert torch.load(state, weights_only=True)["step"] > 0


@pytest.mark.parametrize(
    ("environment", "started"),
    [
        ({"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "4"}, 4),
        ({"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_JOB_NAME": "train"}, 8),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "3", "SLURM_JOB_NAME": "train"}, 3),
    ],
)
def test_other_workers_than_asked_for_are_refused(
    two: Settings, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], started: int
) -> None:
    """Two runs that both believe they are alone would write into one folder."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ConfigurationError, match=f"ask for 2 workers, {started} were started"
    ) as error:
        launch(from_mapping(two).run)
    assert "\n" not in str(error.value)


def test_a_shell_on_a_cluster_is_alone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an interactive job the number of tasks says nothing of this process."""
    for name, value in {
        "SLURM_NTASKS": "4",
        "SLURM_JOB_NAME": "bash",
        "SLURM_STEP_ID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    assert train(from_mapping(settings)) is not None
    metrics = json.loads((Path(settings["run"]["dir"]) / "metrics.json").read_text())
    assert metrics["steps"] == STEPS
