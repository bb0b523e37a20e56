"""Bytes of a file, and a part of them with a replaced header, as libsndfile gets it."""

import io
import os
from dataclasses import dataclass
from typing import Any

TOLERANCE_S = 0.1
"""Most that a header may overstate the sound, as players and editors round sizes up."""

_BLOCK = 1 << 18


class Content:
    """The bytes of an open regular file, sliced like bytes, one block in memory at a time; `descriptor` stays open."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._at, self._block = 0, b""

    def __len__(self) -> int:
        """Return the number of bytes."""
        return self._size

    def __getitem__(self, place: slice) -> bytes:
        """Return bytes ``[start:stop]``; what lies before or behind the file is left out."""
        start, stop = max(0, place.start), min(place.stop, self._size)
        if start < self._at or stop > self._at + len(self._block):
            self._at = start
            self._block = self.read(start, max(_BLOCK, stop - start))
        return self._block[start - self._at : max(start, stop) - self._at]

    def read(self, start: int, count: int) -> bytes:
        """Return up to `count` bytes, fewer at the end of the file alone."""
        pieces = []
        while count > 0 and (piece := os.pread(self.descriptor, count, start)):
            pieces.append(piece)
            start, count = start + len(piece), count - len(piece)
        return b"".join(pieces)

    def find(self, wanted: bytes, start: int) -> int:
        """Return the next position of `wanted`, or -1."""
        while start < self._size:
            block = self.read(start, _BLOCK)
            if (place := block.find(wanted)) >= 0:
                return start + place
            if len(block) < _BLOCK:
                break
            start += len(block) - len(wanted) + 1
        return -1


@dataclass(frozen=True)
class Part:
    """A stretch of a file that libsndfile can read by itself.

    Attributes
    ----------
    head : bytes
        Replaces the file's own bytes before `start`.
    start, end : int
        Range of bytes that follow it.
    warning : str
        Warning for the user, or empty.
    mpeg : bool
        Whether libmpg123 decodes it, which writes to standard error.
    """

    head: bytes
    start: int
    end: int
    warning: str = ""
    mpeg: bool = False


class Window(io.RawIOBase):
    """A part as a file object for `soundfile.SoundFile`; `error` keeps what libsndfile takes for the end."""

    def __init__(self, content: Content, part: Part) -> None:
        self._content, self._part, self._position = content, part, 0
        self._size = len(part.head) + part.end - part.start
        self.error: OSError | None = None

    def seekable(self) -> bool:
        """Return true."""
        return True

    def readable(self) -> bool:
        """Return true."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from the position on and return how many bytes came."""
        view = memoryview(buffer).cast("B")
        head, part = self._part.head, self._part
        wanted = max(0, min(len(view), self._size - self._position))
        data = head[self._position : self._position + wanted]
        if len(data) < wanted:
            start = part.start + max(0, self._position - len(head))
            try:
                data += self._content.read(start, wanted - len(data))
            except OSError as error:
                self.error = error
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
