"""This process makes shards until the cluster has begun, and leaves nothing half done."""

import threading
import time

import pytest

from vqspeech.errors import ConfigurationError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.sharding import headstart
from vqspeech.sharding.headstart import HeadStart
from vqspeech.sharding.plan import Plan
from vqspeech.sharding.work import encode_shard


def test_it_makes_the_shortest_until_it_is_stopped(
    plan: Plan, tiny_model: Autoencoder, monkeypatch
) -> None:
    """Stopped at its third, it makes that one and no other, and takes none that is done."""
    numbers = sorted(plan.missing(), key=lambda number: plan.shards[number].seconds)
    encode_shard(tiny_model, plan, numbers[1])
    third, may = threading.Event(), threading.Event()

    def paced(model, plan: Plan, number: int, tell) -> None:
        if number == numbers[3]:
            third.set()
            assert may.wait(30)
        encode_shard(model, plan, number, tell)

    monkeypatch.setattr(headstart, "encode_shard", paced)
    told: list[float] = []
    with HeadStart(tiny_model, plan, numbers, lambda planned, _: told.append(planned)) as here:
        assert third.wait(30)
        here.stop()
        may.set()
        here._thread.join()
    assert here.taken == {numbers[i] for i in (0, 2, 3)}
    assert plan.missing() == sorted(numbers[4:])
    assert sum(told) == pytest.approx(sum(plan.shards[number].seconds for number in here.taken))


def test_leaving_ends_the_shard_that_it_is_at(plan: Plan, monkeypatch) -> None:
    """A shard without end, and an interruption beside it: the thread stops."""

    def endless(model, plan: Plan, number: int, tell) -> None:
        while True:
            tell(0.0, 0.0)
            time.sleep(0.001)

    monkeypatch.setattr(headstart, "encode_shard", endless)
    start = HeadStart(None, plan, plan.missing(), lambda planned, found: None)
    with pytest.raises(KeyboardInterrupt), start as here:
        raise KeyboardInterrupt
    assert here.taken == set()
    assert not here._thread.is_alive()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ConfigurationError("needs lhotse")]
)
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_cannot_be_written_is_left_to_the_cluster(
    plan: Plan, error: Exception, monkeypatch
) -> None:
    """A full disk, or what is not installed, ends the thread at its first shard, without a traceback."""
    tried = []

    def full(model, plan: Plan, number: int, tell) -> None:
        tried.append(number)
        raise error

    monkeypatch.setattr(headstart, "encode_shard", full)
    with HeadStart(None, plan, plan.missing(), lambda planned, found: None) as here:
        here._thread.join()
    assert len(tried) == 1
    assert here.taken == set()
