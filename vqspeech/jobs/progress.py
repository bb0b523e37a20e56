"""Progress reports: a bar on a terminal, else a plain line every few seconds."""

import sys
import time
from typing import Self, TextIO

from tqdm import tqdm


class Progress:
    """Count work done; show rate and time left.

    Parameters
    ----------
    total : int
        Units of work in all; what is done beyond them leaves none.
    unit, desc : str
        What is counted, for example ``"files"``, and what is being done.
    initial : int
        Units done before; they do not count for the rate.
    every_s : float
        Seconds between two plain lines where the stream is not a terminal.
    stream : TextIO, optional
        Standard error by default.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        desc: str,
        initial: int = 0,
        every_s: float = 10.0,
        stream: TextIO | None = None,
    ) -> None:
        self.total, self.unit, self.desc, self.every_s = total, unit, desc, every_s
        self.done = self._initial = initial
        self._stream = stream or sys.stderr
        self._started = self._last = time.monotonic()
        self._bar = (
            tqdm(
                total=total,
                unit=f" {unit}",
                desc=desc,
                initial=initial,
                unit_scale=True,
                # only the outermost bar stays on screen
                leave=None,
                file=self._stream,
            )
            if self._stream.isatty()
            else None
        )

    def update(self, n: int = 1, note: str = "") -> None:
        """Count `n` more units as done; `note` is appended to what is shown."""
        self.done += n
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(n)
            return
        now = time.monotonic()
        if now - self._last >= self.every_s:
            self._last = now
            self._line(now, note)

    def _line(self, now: float, note: str) -> None:
        rate = (self.done - self._initial) / max(now - self._started, 1e-9)
        left_s = max(0, self.total - self.done) / max(rate, 1e-9)
        text = (
            f"{self.desc}: {self.done}/{self.total} {self.unit}, {rate:.4g}/s, {left_s:.0f} s left"
        )
        print(f"{text}, {note}" if note else text, file=self._stream, flush=True)

    def close(self) -> None:
        """Close the bar; plain output gets no last line, the caller reports the result."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        self.close()
