"""Schedules: learning rate and averaging as pure functions, and the clock of a run that must end in time."""

import math
import os
import time
from pathlib import Path

RESERVED_SHARE, RESERVED_LEAST_S, RESERVED_MOST_S = 0.08, 6.0, 120.0
"""Of the time until a deadline, what is kept for scoring and files."""

LAST_FILES_S = 2.0
"""Of the time kept, what is for the files alone."""


def learning_rate(done: float, total: float, highest: float, warmup: float) -> float:
    """Linear rise over `warmup`, then a cosine from `highest` to 0.

    Parameters
    ----------
    done : float
        Steps or seconds since the stretch began.
    total : float
        Length of the stretch, in the same unit.
    highest : float
        Rate at the end of the rise.
    warmup : float
        Length of the rise.
    """
    if done < warmup:
        return highest * min(1.0, (done + 1) / warmup)
    share = min(1.0, (done - warmup) / max(1e-9, total - warmup))
    return highest * 0.5 * (1 + math.cos(math.pi * share))


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


def process_age_s() -> float:
    """Seconds since this process was started, imports included; where the system does not say, 0."""
    try:
        # field 22 of the line, which is the 20th after the name in brackets
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text().split()[0])
        return max(0.0, up - began / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0


class Clock:
    """Time used since the process started, and what is left until a deadline.

    Parameters
    ----------
    deadline_s : float
        Seconds after the start of the process at which all must be done; 0 for no deadline.
    """

    def __init__(self, deadline_s: float = 0.0) -> None:
        self.deadline_s = deadline_s
        self._origin = time.monotonic() - process_age_s()

    @property
    def now_s(self) -> float:
        """Seconds since the process started."""
        return time.monotonic() - self._origin

    @property
    def training_ends_s(self) -> float:
        """When training must end, so that scoring and files are done by the deadline; infinite without one."""
        if not self.deadline_s:
            return math.inf
        reserved = RESERVED_SHARE * self.deadline_s
        return self.deadline_s - min(max(reserved, RESERVED_LEAST_S), RESERVED_MOST_S)

    @property
    def scoring_left_s(self) -> float:
        """Seconds left for scoring; infinite without a deadline."""
        return self.deadline_s - LAST_FILES_S - self.now_s if self.deadline_s else math.inf
