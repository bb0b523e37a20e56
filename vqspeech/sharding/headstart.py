"""Shards that this process makes while a cluster starts, which takes ten seconds and more."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from vqspeech.errors import VqspeechError
from vqspeech.sharding.plan import Plan
from vqspeech.sharding.work import Tell, encode_shard

if TYPE_CHECKING:
    from vqspeech.models.autoencoder import Autoencoder


class _LeftError(Exception):
    """Ends a shard that is no longer wanted."""


class HeadStart:
    """Makes shards in a thread, the shortest first, until it is stopped.

    As a context manager it starts at once; leaving it ends the shard that it is at, which is then not made. A shard
    that cannot be written ends it too, and is left to the cluster, whose error will say why.

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode.
    plan : Plan
        Of the run.
    numbers : sequence of int
        The shards that are missing.
    tell : callable
        See `vqspeech.sharding.work.encode_shard`; called in the thread.

    Attributes
    ----------
    taken : set of int
        The shards that it has made or is at.
    """

    def __init__(
        self, model: "Autoencoder", plan: Plan, numbers: Sequence[int], tell: Tell
    ) -> None:
        self._model, self._plan, self._tell = model, plan, tell
        self._order = sorted(numbers, key=lambda number: plan.shards[number].seconds)
        self.taken: set[int] = set()
        self._stopped = self._left = False
        self._thread = threading.Thread(target=self._run, name="head start")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped = self._left = True
        self._thread.join()

    def stop(self) -> None:
        """Let it begin no other shard."""
        self._stopped = True

    def _run(self) -> None:
        import torch

        # The other cores are for what starts.
        torch.set_num_threads(1)
        for number in self._order:
            if self._stopped:
                break
            if self._plan.done(number) is not None:
                continue
            self.taken.add(number)
            try:
                encode_shard(self._model, self._plan, number, self._told)
            except (_LeftError, OSError, VqspeechError):
                self.taken.remove(number)
                break

    def _told(self, planned_s: float, found_s: float) -> None:
        if self._left:
            raise _LeftError
        self._tell(planned_s, found_s)
