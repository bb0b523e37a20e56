"""Worker processes and the cores they may use."""

import math
from pathlib import Path

import numpy as np
import pytest

from vqspeech import audio
from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.prepare import prepare
from vqspeech.corpus.store import PackedStore
from vqspeech.jobs.workers import _granted_cores


def _group(root: Path, listed: str, **files: str) -> float:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(listed)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return _granted_cores(root)


@pytest.mark.parametrize(
    ("listed", "files", "cores"),
    [
        ("0::/\n", {}, math.inf),
        ("0::/\n", {"cpu_max": "max 100000\n"}, math.inf),
        ("0::/\n", {"cpu_max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a__cpu_max": "100000 100000\n", "a__b__cpu_max": "max 100000\n"}, 1),
        ("0::/outer/name\n", {"cpu_max": "50000 100000\n"}, 0.5),
        (
            "4:cpu,cpuacct:/x\n",
            {
                "cpu,cpuacct__x__cpu_cfs_quota_us": "200000",
                "cpu,cpuacct__x__cpu_cfs_period_us": "100000",
            },
            2,
        ),
        ("4:memory:/x\n", {"cpu_max": "50000 100000\n"}, math.inf),
    ],
)
def test_control_groups_grant_cores(
    tmp_path: Path, listed: str, files: dict[str, str], cores: float
) -> None:
    """The tightest quota of a group and those above it counts, in both versions."""
    assert _group(tmp_path, listed, **files) == cores


def test_workers_run_nothing_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal.py or soundfile.py where the command is run is a file of somebody, not a module."""
    for name in ("signal", "soundfile", "json", "queue", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'RUN')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/ann").mkdir(parents=True)
    for number in range(40):  # more than one part, so that there are workers
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 400)
        audio.write(tmp_path / f"in/ann/{number}.wav", noise, 16000)
    prepare(list_folder(tmp_path / "in"), tmp_path / "store", workers=2, progress=False)
    assert len(PackedStore(tmp_path / "store")) == 40
    assert not (tmp_path / "RUN").exists()
