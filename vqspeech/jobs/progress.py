"""Progress for people: a bar on a terminal, a plain line now and then anywhere else."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm


class Progress:
    """Count work done and show rate and time left.

    Parameters
    ----------
    total : int
        Units of work in all.
    unit : str
        What is counted, for example ``"files"``.
    desc : str
        What is being done.
    initial : int
        Units done before, which count for what is left and not for the rate.
    every_s : float
        Seconds between two plain lines where the stream is not a terminal.
    stream : TextIO, optional
        Where to write; standard error by default.
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
                # what stays is the bar of the whole work, not those of its parts
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
        left_s = (self.total - self.done) / max(rate, 1e-9)
        text = (
            f"{self.desc}: {self.done}/{self.total} {self.unit}, {rate:.4g}/s, {left_s:.0f} s left"
        )
        print(f"{text}, {note}" if note else text, file=self._stream, flush=True)

    def close(self) -> None:
        """Finish the bar; plain output gets no last line, the caller says what was done."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bar whatever happened."""
        self.close()
