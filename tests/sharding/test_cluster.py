"""A cluster makes the shards of one process, also when a machine is lost in the middle."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vqspeech.cli import main
from vqspeech.models.checkpoint import load_model
from vqspeech.sharding import cluster
from vqspeech.sharding.headstart import HeadStart
from vqspeech.sharding.plan import Plan
from vqspeech.sharding.work import encode_shard

# No report to anybody, no token in the home of whoever runs the tests, and no lower priority than the tests have.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "10",
}


@pytest.fixture(scope="module")
def two_nodes() -> Iterator["Cluster"]:  # noqa: F821
    """Start a cluster whose machines, as far as Ray knows, have one CPU each."""
    pytest.importorskip("ray", reason="needs Ray (the extra `cluster`)")
    before = dict(os.environ)
    os.environ.update(SETTINGS)
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    try:
        nodes.add_node(num_cpus=1, object_store_memory=80_000_000)
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()
        os.environ.clear()
        os.environ.update(before)


def test_a_lost_machine_costs_its_shards_and_no_others(
    two_nodes,
    plan: Plan,
    planned: Callable[[str], Plan],
    tmp_path: Path,
    tiny_model_file: Path,
) -> None:
    """One of two machines is killed after the first shards: all are made, and are those of one process."""
    lost = two_nodes.add_node(num_cpus=1, object_store_memory=80_000_000)
    two_nodes.wait_for_nodes()
    numbers = plan.missing()
    assert len(numbers) >= 11
    first = threading.Event()

    def kill() -> None:
        first.wait(120)
        two_nodes.remove_node(lost, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    made = []
    for shard in cluster.encode_shards(plan, numbers, tiny_model_file, workers=2):
        made.append(shard.number)
        first.set()
    killer.join()
    assert sorted(made) == numbers
    assert plan.missing() == []

    alone = planned("alone")
    model = load_model(tiny_model_file)
    for number in numbers:
        encode_shard(model, alone, number)
        assert plan.done(number) == alone.done(number)
    for path in (tmp_path / "alone/shards").iterdir():
        assert (tmp_path / "out/shards" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("early", [True, False])
def test_the_verb_on_a_cluster_gives_what_it_gives_alone(
    two_nodes, plan: Plan, tmp_path: Path, tiny_model_file: Path, early: bool, monkeypatch, capsys
) -> None:
    """The same files with and without --cluster, the damaged recording listed, and its status."""
    if not early:
        # this process makes none of them before the cluster is there
        monkeypatch.setattr(HeadStart, "_run", lambda self: None)
    for place, options in (("alone", ()), ("cluster", ("--cluster", "auto"))):
        argv = ["codes", str(tmp_path / "sound"), "--out", str(tmp_path / place), *options]
        argv += ["--model", str(tiny_model_file), "--device", "cpu", "--format", "parquet"]
        assert main([*argv, "--shard-hours", str(8 / 3600)]) == 1
        assert "recordings not encoded: 1" in capsys.readouterr().err
        assert "03.wav" in (tmp_path / place / "failures.tsv").read_text()
    files = {path.name: path.read_bytes() for path in (tmp_path / "alone/shards").iterdir()}
    assert len(files) > 1
    for name, content in files.items():
        assert (tmp_path / "cluster/shards" / name).read_bytes() == content


def test_what_is_done_is_not_made_again(two_nodes, plan: Plan, tiny_model_file: Path) -> None:
    """Shards whose markers are there keep their files; only the missing ones are written."""
    model = load_model(tiny_model_file)
    numbers = plan.missing()
    for number in numbers[:-2]:
        encode_shard(model, plan, number)
    times = {number: plan.marker(number).stat().st_mtime_ns for number in numbers[:-2]}
    time.sleep(0.01)
    made = list(cluster.encode_shards(plan, numbers, tiny_model_file, workers=1))
    assert sorted(shard.number for shard in made) == numbers
    assert {number: plan.marker(number).stat().st_mtime_ns for number in numbers[:-2]} == times
    assert plan.missing() == []
