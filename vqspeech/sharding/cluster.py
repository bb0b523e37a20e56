"""The shards of a plan on a Ray cluster, through Ray Data: each actor holds the model and makes whole shards.

Actors write into the folder of codes themselves, so every machine must see it, and the source, under the same path. Of
a worker or machine that is lost, Ray starts the actors and repeats the shards elsewhere. A shard that is done already
is not made again: its marker is looked at first.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from vqspeech.errors import ConfigurationError
from vqspeech.jobs.atomic import write_atomically
from vqspeech.jobs.workers import usable_threads
from vqspeech.sharding.plan import MODEL, Plan

MOST_TASKS = 4096
"""Tasks that the shards are given out in; more would burden the driver."""


class Made(NamedTuple):
    """A shard that is done: its number, and its seconds of speech as planned and as they were."""

    number: int
    planned_s: float
    seconds: float


class _Encoder:
    """Makes shards; one in each actor."""

    def __init__(self, folder: str, device: str) -> None:
        import torch

        from vqspeech.models.checkpoint import load_model

        # One thread for each actor: a core does more with two processes than with two threads.
        torch.set_num_threads(1)
        logging.getLogger("vqspeech").setLevel(logging.ERROR)
        self._plan = Plan(Path(folder))
        self._model = load_model(self._plan.folder / MODEL).to(device)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        from vqspeech.sharding.work import encode_shard

        number = int(row["item"])
        if self._plan.done(number) is None:
            encode_shard(self._model, self._plan, number)
        found = self._plan.done(number)
        return {"number": number, "seconds": found["seconds"] if found else 0.0}


@contextmanager
def connected(address: str, workers: int | None) -> Iterator[int]:
    """Connect to a cluster, or start one on this machine, for as long as the context lasts: gives its number of CPUs.

    Parameters
    ----------
    address : str
        ``local``, ``auto`` (the cluster that this machine belongs to), or what Ray takes as an address.
    workers : int or None
        CPUs of a local cluster; by default those that this process may use.

    Raises
    ------
    ConfigurationError
        When Ray is not installed or there is no such cluster.
    """
    # Ray reads these when it is imported or started; nothing is reported to anybody.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.data
    except ImportError:
        raise ConfigurationError("--cluster needs Ray: pip install 'vqspeech[cluster]'") from None
    before = ray.is_initialized()
    if not before:
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address == "local":
            # Else workers would give way to every other program of the machine.
            os.environ.setdefault("RAY_worker_niceness", "0")
            # The actors are the only workers: others would import Ray for nothing.
            os.environ.setdefault("RAY_enable_worker_prestart", "0")
            cpus = workers or usable_threads()
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        else:
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, ValueError, RuntimeError) as error:
                reason = str(error).strip().splitlines()[0]
                raise ConfigurationError(
                    f"--cluster {address}: no Ray cluster ({reason});"
                    " one that asks for a token needs RAY_AUTH_MODE=token"
                ) from None
    try:
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        if not before:
            ray.shutdown()


def encode_shards(
    plan: Plan, numbers: Sequence[int], model_file: Path, *, workers: int, device: str = "cpu"
) -> Iterator[Made]:
    """Make shards on the cluster that is `connected`.

    Parameters
    ----------
    plan : Plan
        Of the run.
    numbers : sequence of int
        The shards that are missing; at least one.
    model_file : Path
        Copied into the folder of codes, where every machine finds it.
    workers : int
        Most actors at a time, each of one CPU, and on ``cuda`` one GPU.
    device : str
        ``cpu`` or ``cuda``.

    Yields
    ------
    Made
        As they are done.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Not an argument: Ray could not start an actor again if the machine that holds it were lost.
    write_atomically(plan.folder / MODEL, partial(shutil.copyfile, model_file))
    context = DataContext.get_current()
    context.enable_progress_bars = False
    # The longest first, so that none begins when all others are done.
    order = sorted(numbers, key=lambda number: -plan.shards[number].seconds)
    blocks = min(len(order), MOST_TASKS)
    most = max(1, min(workers, len(order)))
    made = ray.data.from_items(order, override_num_blocks=blocks).map(
        _Encoder,  # type: ignore[arg-type]
        fn_constructor_args=(str(plan.folder.absolute()), device),
        # All are asked for at once, and the first that is there begins.
        compute=ActorPoolStrategy(
            min_size=1, initial_size=most, max_size=most, max_tasks_in_flight_per_actor=2
        ),
        num_cpus=1,
        num_gpus=1 if device.startswith("cuda") else 0,
    )
    for row in made.iter_rows():
        number = int(row["number"])
        yield Made(number, plan.shards[number].seconds, float(row["seconds"]))
