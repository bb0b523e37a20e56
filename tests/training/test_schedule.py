"""Schedules: values at their corners."""

import pytest

from vqspeech.training.schedule import average_decay, learning_rate


def test_rate_rises_to_the_highest_then_falls_to_0() -> None:
    """Linear from the first step on, the highest at the end of the rise, half way the mean of both ends."""
    rates = [learning_rate(step, 110, 2.0, 10) for step in range(111)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[9] == rates[10] == max(rates) == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[110] == pytest.approx(0.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_rate_stays_at_the_end_past_the_last_step() -> None:
    """A run that goes on does not learn faster again."""
    assert learning_rate(500, 110, 2.0, 10) == learning_rate(110, 110, 2.0, 10)


def test_rate_without_warmup_starts_at_the_highest() -> None:
    """No rise, no division by zero; nor when the rise is longer than the stretch."""
    assert learning_rate(0, 10, 2.0, 0) == 2.0
    assert learning_rate(4, 5, 2.0, 10) == pytest.approx(1.0)


def test_average_forgets_early_weights_quickly() -> None:
    """The decay rises from a small value to the one asked for and never passes it."""
    decays = [average_decay(step, 0.99) for step in range(2000)]
    assert decays[0] == 0.1
    assert decays == sorted(decays)
    assert decays[-1] == max(decays) == 0.99
