"""Codes of a large archive: killed machines and drivers, damaged files, memory, and what the cluster costs.

    python tests/campaign/archive.py RECORDINGS WORK [--only nodes,driver,damaged,memory,overhead,whole] [--model vctk]

RECORDINGS is a folder of speech; trees of any size are made of it in WORK, of links. Prints a row for each property:
what was done and what was found. Ratios are those of one run of this program; other work on the machine moves them.
"""

import argparse
import collections
import contextlib
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "10",
}

from vqspeech import audio
from vqspeech.corpus.folder import recordings
from vqspeech.corpus.sources import list_units
from vqspeech.models import pretrained
from vqspeech.sharding import cluster
from vqspeech.sharding.plan import Plan, make_plan

_PR_SET_CHILD_SUBREAPER = 36


def make_tree(source: Path, tree: Path, hours: float, longest_s: float = 1e9) -> float:
    """Link recordings into a tree until it has so many hours; return its hours."""
    found = [(path, audio.info(path).duration_s) for path in recordings(source, [])]
    found = [(path, seconds) for path, seconds in found if seconds <= longest_s]
    total, turn = 0.0, 0
    while total < hours * 3600:
        for number, (path, seconds) in enumerate(found):
            if total >= hours * 3600:
                break
            place = tree / f"{number % 100:02}" / f"{turn:04}-{number:05}{path.suffix}"
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except OSError:
                place.symlink_to(path)
            total += seconds
        turn += 1
    return total / 3600


def codes(*argv: object, model: str) -> list[str]:
    """Return a command line of the verb."""
    return [sys.executable, "-m", "vqspeech", "codes", *map(str, argv), "--model", model]


def content(out: Path) -> dict[str, bytes]:
    """Return the files of the shards."""
    return {path.name: path.read_bytes() for path in sorted((out / "shards").iterdir())}


def timed(argv: list[str]) -> tuple[float, float]:
    """Run a command; return wall seconds, and processor seconds of all processes that it started."""
    # What outlives its parent becomes a child of this process, and is counted when it ends.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    done = subprocess.run(argv, stdout=subprocess.DEVNULL)
    took = time.monotonic() - start
    assert done.returncode == 0, argv
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def loads() -> str:
    """Return the load of the machine, which timings hang on."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def nodes(source: Path, work: Path, model: str) -> str:
    """Kill one of two machines in the middle of a run."""
    import ray
    from ray.cluster_utils import Cluster

    hours = make_tree(source, work / "tree", 3)
    alone, out = work / "alone", work / "out"
    subprocess.run(
        codes(
            work / "tree", "--out", alone, "--format", "parquet", "--shard-hours", 0.1, model=model
        ),
        check=True,
    )
    settings = Plan(alone).settings
    plan = make_plan(out, settings, list_units(settings.source))
    machines = Cluster()
    machines.add_node(num_cpus=1, object_store_memory=100_000_000)
    ray.init(address=machines.address, log_to_driver=False)
    lost = machines.add_node(num_cpus=1, object_store_memory=100_000_000)
    machines.wait_for_nodes()
    numbers, made, killed = plan.missing(), [], ""
    start = time.monotonic()
    for shard in cluster.encode_shards(plan, numbers, pretrained.find(model), workers=2):
        made.append(shard.number)
        if len(made) == len(numbers) // 3:
            machines.remove_node(lost, allow_graceful=False)
            killed = f"killed after {len(made)} of {len(numbers)} shards"
    took = time.monotonic() - start
    ray.shutdown()
    machines.shutdown()
    same = content(alone) == content(out)
    return f"{hours:.2f} h, {killed}; {took:.0f} s; same files as one process: {same}; {loads()}"


def driver(source: Path, work: Path, model: str) -> str:
    """Kill the driver at a few moments, each time with all that it started, and start it again."""
    hours = make_tree(source, work / "tree", 1)
    common = ("--format", "parquet", "--shard-hours", 0.05)
    alone, out = work / "alone", work / "out"
    subprocess.run(codes(work / "tree", "--out", alone, *common, model=model), check=True)
    command = codes(
        work / "tree", "--out", out, *common, "--cluster", "local", "--workers", 2, model=model
    )
    again, kept = 0, []
    for wanted in (3, 8):
        process = subprocess.Popen(command, start_new_session=True)
        while process.poll() is None and len(list(out.glob("done/*.json"))) < wanted:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(10)  # what it started ends when it finds it gone
        times = {path: path.stat().st_mtime_ns for path in out.glob("done/*.json")}
        kept.append(times)
    done = subprocess.run(command)
    for times in kept:
        again += sum(path.stat().st_mtime_ns != before for path, before in times.items())
    same = content(alone) == content(out)
    left = [path.name for path in out.iterdir() if path.name.startswith(".vqspeech-")]
    return (
        f"{hours:.2f} h, killed twice ({', '.join(str(len(t)) for t in kept)} shards done); status"
        f" {done.returncode}; made again: {again}; same files: {same}; left over: {len(left)}"
    )


def odd_files(good: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield suffixes and contents of files that are no whole sound."""
    draw = random.Random(0)
    while True:
        path = draw.choice(good)
        whole = path.read_bytes()
        yield from (
            (path.suffix, b""),
            (path.suffix, whole[: draw.randrange(1, len(whole) // 2)]),
            (path.suffix, bytes(len(whole))),
            (".wav", b"<!DOCTYPE html><title>404</title>"),
            (".mp3", draw.randbytes(2000)),
            (".flac", b"version https://git-lfs.github.com/spec/v1\n"),
            (".wav", whole[4:]),
            (".m4a", draw.randbytes(200)),
            (".ogg", b"OggS" + draw.randbytes(400)),
            (path.suffix, b"link"),
        )


def damaged(source: Path, work: Path, model: str) -> str:
    """Put 1,000 damaged or odd files among 9,000 good ones, which are cut to a second."""
    tree, good = work / "tree", []
    found = list(recordings(source, []))
    for number in range(9000):
        path = tree / f"{number % 90:02}" / f"good-{number:05}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < len(found):
            wav = audio.read(found[number])[: 4000 + number % 4000]
            audio.write(path, wav, 16000)
        else:
            os.link(good[number % len(found)], path)
        good.append(path)
    bad = set()
    for number, (suffix, data) in zip(range(1000), odd_files(good), strict=False):
        path = tree / f"{number % 90:02}" / f"bad-{number:05}{suffix}"
        if data == b"link":
            path.symlink_to("nowhere")
        else:
            path.write_bytes(data)
        bad.add(str(path))
    out = work / "out"
    done = subprocess.run(
        codes(tree, "--out", out, "--format", "parquet", "--shard-hours", 0.1, model=model)
    )
    total = json.loads((out / "total.json").read_text())
    rows = [line.split("\t") for line in (out / "failures.tsv").read_text().splitlines()[1:]]
    listed = {row[1] for row in rows}
    reasons = collections.Counter(row[2].split("(")[0].strip()[:40] for row in rows)
    return (
        f"{total['utterances']} coded of 9000 good, {len(listed & bad)} of {len(bad)} bad listed,"
        f" {len(listed - bad)} good listed; status {done.returncode}; {len(reasons)} kinds of reasons; read all the"
        f" same: {sorted(collections.Counter(Path(p).suffix for p in bad - listed).items())}"
    )


def memory(source: Path, work: Path, model: str) -> str:
    """Compare the peak of memory on an hour and on 44 hours."""
    said = []
    for hours in (1.0, 44.0):
        real = make_tree(source, work / f"tree-{hours}", hours)
        argv = (work / f"tree-{hours}", "--out", work / f"out-{hours}", "--format", "parquet")
        code = (
            "import resource,sys; from vqspeech.cli import main; status=main(sys.argv[1:]);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss//1024, status)"
        )
        start = time.monotonic()
        words = [sys.executable, "-c", code, *codes(*argv, model=model)[3:]]
        ended = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        took = time.monotonic() - start
        peak, status = ended.stdout.splitlines()[-1].split()
        said.append(
            f"{real:.1f} h: peak {peak} MB, {took:.0f} s, {real * 3600 / took:.0f} x real time, status {status}"
        )
    return "; ".join([*said, loads()])


def overhead(source: Path, work: Path, model: str) -> str:
    """Compare one process, one worker and two, on a quarter of an hour and an hour of recordings of at most 10 s."""
    ways = {
        "plain loop": (),
        "one worker": ("--cluster", "local", "--workers", 1),
        "two workers": ("--cluster", "local", "--workers", 2),
    }
    said = []
    for hours in (0.25, 1.0):
        real = make_tree(source, work / f"tree-{hours}", hours, longest_s=10)
        for name, options in ways.items():
            out = work / f"out-{hours}-{name.replace(' ', '-')}"
            argv = (
                work / f"tree-{hours}",
                "--out",
                out,
                "--format",
                "parquet",
                "--shard-hours",
                0.1,
            )
            wall, spent = timed(codes(*argv, *options, model=model))
            said.append(f"{real:.2f} h, {name}: {wall:.0f} s, processor {spent:.0f} s")
    return f"{'; '.join(said)}; {loads()}"


def whole(source: Path, work: Path, model: str) -> str:
    """Prepare 44 hours in place, train for 1,000 steps on them, and encode them: time and peak of memory."""
    hours = make_tree(source, work / "tree", 44)
    rows = ["speaker\tutterance\tpath\tsplit"]
    for path in sorted((work / "tree").rglob("*.*")):
        # the copies of a recording are in one split
        split = {0: "valid", 1: "test"}.get(int(path.stem.rpartition("-")[2]) // 7, "train")
        rows.append(
            f"{path.parent.name}\t{path.stem}\ttree/{path.parent.name}/{path.name}\t{split}"
        )
    (work / "all.tsv").write_text("\n".join(rows) + "\n")
    store, run, out = work / "store", work / "run", work / "out"
    trained = run / "model.safetensors"
    # one line for each stage of a recipe
    verbs = {
        "prepare": ["prepare", "--corpus", work / "all.tsv", "--out", store, "--in-place"],
        "train": [
            "train",
            "experiment=mini",
            "machine=cpu",
            f"data.store={store}",
            f"run.dir={run}",
        ],
        "codes": ["codes", store, "--out", out, "--format", "parquet", "--model", trained],
    }
    verbs["prepare"] += ["--sample-rate", 8000]
    verbs["train"] += ["optimizer.steps=800", "spectral.steps=200", "run.validate_every=1000"]
    said = []
    for name, argv in verbs.items():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "vqspeech", *map(str, argv)])
        peak = 0
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            time.sleep(0.2)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        took = time.monotonic() - start
        ended = f"processor {spent:.0f} s, peak {peak} MB, status {process.returncode}"
        said.append(f"{name}: {took:.0f} s, {ended}")
    size = sum(path.stat().st_size for path in store.iterdir()) >> 20
    return f"{hours:.1f} h, {len(rows) - 1} recordings, store of {size} MB; {'; '.join(said)}; {loads()}"


def _memory(pid: int) -> int:
    """Resident memory of a process and all that it started, MB; pages that they share count once for each."""
    total, waiting = 0, [pid]
    while waiting:
        of = waiting.pop()
        with contextlib.suppress(OSError):
            pages = int(Path(f"/proc/{of}/statm").read_text().split()[1])
            total += pages * resource.getpagesize() >> 20
            tasks = Path(f"/proc/{of}/task").glob("*/children")
            waiting += [int(word) for task in tasks for word in task.read_text().split()]
    return total


PROPERTIES = {f.__name__: f for f in (nodes, driver, damaged, memory, overhead, whole)}


def main() -> int:
    """Run what was asked for and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("work", type=Path, help="a folder that is made and removed again")
    parser.add_argument("--only", default=",".join(PROPERTIES))
    parser.add_argument("--model", default="vctk")
    args = parser.parse_args()
    for name in args.only.split(","):
        work = (args.work / name).absolute()
        work.mkdir(parents=True)
        print(
            f"| {name} | {PROPERTIES[name](args.recordings.absolute(), work, args.model)} |",
            flush=True,
        )
        shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
