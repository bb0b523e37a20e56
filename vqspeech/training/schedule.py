"""Schedules: learning rate and weight averaging as pure functions, and the clock of a run with a deadline."""

import math
import os
import time
from pathlib import Path

RESERVED_SHARE, RESERVED_LEAST_S, RESERVED_MOST_S = 0.08, 6.0, 120.0
"""Share of the time until a deadline reserved for scoring and files."""

LAST_FILES_S = 2.0
"""Share of the reserved time for files alone."""


def learning_rate(done: float, total: float, highest: float, warmup: float) -> float:
    """Linear rise to `highest` over `warmup`, then a cosine to 0; `done`, `total` and `warmup` in steps or seconds."""
    if done < warmup:
        return highest * min(1.0, (done + 1) / warmup)
    share = min(1.0, (done - warmup) / max(1e-9, total - warmup))
    return highest * 0.5 * (1 + math.cos(math.pi * share))


def average_decay(step: int, decay: float) -> float:
    """Decay of an average of weights after `step` updates; rises to `decay`, so that the start is forgotten."""
    return min(decay, (1 + step) / (10 + step))


def process_age_s() -> float:
    """Seconds since the start of this process, imports included; 0 where the system does not provide it."""
    try:
        # field 22 of the line, which is the 20th after the name in brackets
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text().split()[0])
        return max(0.0, up - began / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0


class Clock:
    """Time since the process started, and until its deadline, `deadline_s` seconds after the start; 0 for none."""

    def __init__(self, deadline_s: float = 0.0) -> None:
        self.deadline_s = deadline_s
        self._origin = time.monotonic() - process_age_s()

    @property
    def now_s(self) -> float:
        """Seconds since the process started."""
        return time.monotonic() - self._origin

    @property
    def training_ends_s(self) -> float:
        """End of training, so that scoring and files are done by the deadline; infinite without one."""
        if not self.deadline_s:
            return math.inf
        reserved = RESERVED_SHARE * self.deadline_s
        return self.deadline_s - min(max(reserved, RESERVED_LEAST_S), RESERVED_MOST_S)

    @property
    def scoring_left_s(self) -> float:
        """Seconds left for scoring; infinite without a deadline."""
        return self.deadline_s - LAST_FILES_S - self.now_s if self.deadline_s else math.inf
