"""Schedules as pure functions of the step."""

import math


def learning_rate(step: int, steps: int, highest: float, warmup: int) -> float:
    """Linear rise over `warmup` steps, then a cosine from `highest` to a hundredth of it.

    Parameters
    ----------
    step : int
        Step within the stretch, from 0.
    steps : int
        Steps of the stretch.
    highest : float
        Rate at the end of the rise.
    warmup : int
        Steps of the rise.
    """
    if step < warmup:
        return highest * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return highest * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def average_decay(step: int, decay: float) -> float:
    """Decay of an average of weights: rises towards `decay`, so that early averages forget the start.

    Parameters
    ----------
    step : int
        Steps averaged so far.
    decay : float
        Final decay.
    """
    return min(decay, (1 + step) / (10 + step))
