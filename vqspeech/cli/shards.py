"""``vqspeech codes`` of a whole archive: in shards, on one machine, in a Slurm array, or on a Ray cluster."""

import argparse
import hashlib
import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.cli.files import check_folder
from vqspeech.cli.options import check_codes, find_device, model_name, number, open_model
from vqspeech.errors import ConfigurationError, VqspeechError

if TYPE_CHECKING:
    from vqspeech.jobs.progress import Progress
    from vqspeech.sharding.plan import Plan

log = logging.getLogger("vqspeech")

FORMATS = ("parquet", "km", "shar", "webdataset")
"""Names in `vqspeech.codes.shards.FORMATS`, whose import would bring in numpy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that go with these formats."""
    group = parser.add_argument_group(
        "shards", f"with --format {', '.join(FORMATS)}; see docs/scale.md"
    )
    group.add_argument(
        "--unique",
        action="store_true",
        help="write runs of equal codes once, with their durations in frames",
    )
    group.add_argument(
        "--shard-hours",
        type=number(lambda value: value > 0, "above 0"),
        default=1.0,
        metavar="H",
        help="speech in each shard (default: 1)",
    )
    group.add_argument(
        "--shard",
        metavar="I/N|slurm",
        help="make only every N-th shard, from I = 0 on; slurm: as the variables of a Slurm array say",
    )
    group.add_argument(
        "--cluster",
        metavar="local|auto|ADDRESS",
        help="make them on a Ray cluster: one on this machine, the one that it belongs to, or that at an address",
    )
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes of --cluster (default: one for each CPU, or GPU)",
    )
    group.add_argument(
        "--retry-failed",
        action="store_true",
        help="make shards again in which recordings could not be encoded",
    )
    group.add_argument(
        "--merge",
        action="store_true",
        help="without sources: check that every shard of --out is there and write the tables of the whole",
    )


def check_alone(args: argparse.Namespace) -> None:
    """Refuse options of shards for formats that are not in shards.

    Raises
    ------
    ConfigurationError
        Naming the first such option.
    """
    for name in ("unique", "shard", "cluster", "workers", "retry_failed", "merge"):
        if getattr(args, name):
            option = name.replace("_", "-")
            raise ConfigurationError(f"--{option} goes with --format {', '.join(FORMATS)}")


def shard_of(text: str) -> tuple[int, int]:
    """Read ``--shard``: which shards of how many.

    Raises
    ------
    ConfigurationError
        When it is not I/N with I from 0 to N - 1, or ``slurm`` outside of an array.
    """
    if text == "slurm":
        names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN")
        found = [os.environ.get(name, "") for name in names]
        step = os.environ.get("SLURM_ARRAY_TASK_STEP", "1")
        if not all(value.isdigit() for value in (*found, step)) or int(step) < 1:
            raise ConfigurationError(
                f"--shard slurm: {', '.join(names)} are not set: no Slurm array"
            )
        task, count, first = map(int, found)
        index = (task - first) // int(step)
    else:
        parts = text.split("/")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
            raise ConfigurationError(f"--shard {text}: expected I/N, such as 0/8, or slurm")
        index, count = map(int, parts)
    if not 0 <= index < count:
        raise ConfigurationError(
            f"--shard {text}: I counts from 0: there is 0/{count} to {count - 1}/{count}"
            if count
            else f"--shard {text}: N is 0"
        )
    return index, count


def make(args: argparse.Namespace) -> None:
    """Make the shards that `args` ask for and are not there, and check the whole unless ``--shard`` is a part.

    Raises
    ------
    ConfigurationError
        When options do not go together, or the folder holds something else.
    VqspeechError
        After all is done, when recordings could not be encoded; when shards are missing, with ``--merge``.
    """
    from vqspeech.codes import shards
    from vqspeech.corpus.sources import list_units
    from vqspeech.models import pretrained
    from vqspeech.sharding.plan import INDEX, Plan, Settings, make_plan, remove, require_same

    if args.out is None:
        raise ConfigurationError("shards are written into a folder: name it with --out")
    folder = Path(args.out)
    check_folder(folder)
    if args.merge:
        if args.sources or args.corpus:
            raise ConfigurationError(
                "--merge takes no sources: they are those of the plan in --out"
            )
        _finish(Plan(folder))
        return
    if args.coder or args.speaker:
        raise ConfigurationError("--coder and --speaker are for --format vqc")
    if args.shard and args.cluster:
        raise ConfigurationError("--shard and --cluster are two ways to share the work: take one")
    if args.workers is not None and args.workers < 1:
        raise ConfigurationError(f"--workers is {args.workers}; 1 or more is possible")
    if len(args.sources) + bool(args.corpus) != 1:
        raise ConfigurationError(
            "shards are of one source: a folder, store, manifest, Parquet, tars or Lhotse Shar"
        )
    index, count = shard_of(args.shard) if args.shard else (0, 1)
    shards.require_installed(args.format)
    name = model_name(args)
    model_file = pretrained.find(name)
    settings = Settings(
        source=_absolute(str(args.corpus or args.sources[0])),
        split=args.split if args.corpus else None,
        model=name,
        model_id=_digest(model_file),
        kind=args.format,
        unique=args.unique,
        shard_hours=args.shard_hours,
    )
    if args.force:
        if args.shard:
            raise ConfigurationError("--force with --shard would remove what other tasks make")
        remove(folder)
    if (args.shard or args.retry_failed) and (folder / INDEX).is_file():
        # Thousands of tasks need not list the archive again; and what was mended since has another length.
        plan = Plan(folder)
        require_same(plan, settings)
    else:
        plan = make_plan(folder, settings, list_units(settings.source, settings.split))
    wanted = range(index, len(plan.shards), count)
    for n in wanted if args.retry_failed else ():
        if (plan.done(n) or {}).get("failures"):
            plan.marker(n).unlink()
    numbers = [n for n in wanted if plan.done(n) is None]
    log.warning("%s: %d of %d shards are to be made", folder, len(numbers), len(wanted))
    if numbers and args.cluster:
        _on_cluster(args, plan, numbers, model_file)
    elif numbers:
        _here(args, plan, numbers)
    if args.shard:
        _report(sum(len((plan.done(n) or {"failures": []})["failures"]) for n in wanted), folder)
    else:
        _finish(plan)


def _absolute(source: str) -> str:
    from vqspeech.corpus.places import is_url

    return source if is_url(source) else os.path.abspath(source)  # noqa: PTH100


def _digest(model_file: Path) -> str:
    try:
        return hashlib.sha256(model_file.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ConfigurationError(f"{model_file}: cannot be read ({error.strerror})") from None


class _Speed:
    """Shows speech done and left, and how many times faster than real time."""

    def __init__(self, bar: "Progress") -> None:
        self._bar, self._started, self._seconds, self._due = bar, time.monotonic(), 0.0, 0.0
        self._lock = threading.Lock()

    def tell(self, planned_s: float, found_s: float) -> None:
        """Count speech as planned and as it was; from any thread."""
        with self._lock:
            self._seconds += found_s
            self._due += planned_s
            whole = int(self._due)
            self._due -= whole
            ratio = self._seconds / max(time.monotonic() - self._started, 1e-9)
            self._bar.update(whole, f"{ratio:.0f} x real time")


def _here(args: argparse.Namespace, plan: "Plan", numbers: list[int]) -> None:
    from vqspeech.jobs.progress import Progress
    from vqspeech.sharding.work import encode_shard

    model = open_model(args)
    check_codes(model, model_name(args))
    with Progress(_seconds(plan, numbers), "s of speech", "encoding") as bar:
        speed = _Speed(bar)
        for at in numbers:
            encode_shard(model, plan, at, speed.tell)


def _on_cluster(args: argparse.Namespace, plan: "Plan", numbers: list[int], file: Path) -> None:
    from vqspeech.jobs.progress import Progress
    from vqspeech.models.checkpoint import load_model
    from vqspeech.sharding import cluster
    from vqspeech.sharding.headstart import HeadStart

    model = load_model(file)
    check_codes(model, model_name(args))
    device = str(find_device(args)) if args.device or args.cluster == "local" else "cpu"
    with Progress(_seconds(plan, numbers), "s of speech", "encoding") as bar:
        speed = _Speed(bar)
        with (
            HeadStart(model.to(device), plan, numbers, speed.tell) as here,
            cluster.connected(args.cluster, args.workers) as cpus,
        ):
            for made in cluster.encode_shards(
                plan, numbers, file, workers=args.workers or cpus, device=device
            ):
                here.stop()
                if made.number not in here.taken:
                    speed.tell(made.planned_s, made.seconds)


def _seconds(plan: "Plan", numbers: list[int]) -> int:
    return round(sum(plan.shards[n].seconds for n in numbers))


def _finish(plan: "Plan") -> None:
    from vqspeech.sharding.finish import finish
    from vqspeech.sharding.plan import SHARDS

    total = finish(plan)
    print(
        f"{total.hours:.2f} h, {total.utterances} utterances, {total.codes} codes in {total.shards} shards:"
        f" {plan.folder / SHARDS}",
        flush=True,
    )
    _report(total.failures, plan.folder)


def _report(failures: int, folder: Path) -> None:
    """Raise an error that counts what could not be encoded, if anything."""
    from vqspeech.sharding.plan import FAILURES

    if failures:
        where = folder / FAILURES
        listed = f"{where} says why" if where.is_file() else f"--merge lists them in {where}"
        raise VqspeechError(f"recordings not encoded: {failures}; {listed}")
