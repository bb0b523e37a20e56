"""The standard streams as a command finds them: closed, or of an encoding that lacks letters."""

import codecs
import io
import logging
import os
import sys

from vqspeech.errors import ConfigurationError

_closed: set[int] = set()


def prepare_streams() -> None:
    """Make all three streams usable, whatever they are.

    One that the caller closed is led to nowhere: the next file to be opened would otherwise take its place and get
    what is printed. What an encoding lacks is written as an escape, a byte of a file name as the byte it was.
    """
    _closed.clear()
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            _closed.add(number)
            # The lowest free number is this one: those below it are open by now.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    codecs.register_error("vqspeech", _substitute)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="vqspeech")
    logging.basicConfig(format="vqspeech: %(message)s")


def require_standard_output() -> None:
    """Refuse to print results where the caller closed standard output.

    Raises
    ------
    ConfigurationError
        When that is so.
    """
    if 1 in _closed:
        raise ConfigurationError("standard output is closed: name a file or folder with --out")


def _substitute(error: UnicodeError) -> tuple[bytes, int]:
    """Return what stands for letters that an encoding lacks, as `codecs.register_error` wants it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    pieces = []
    for letter in error.object[error.start : error.end]:
        code = ord(letter)
        if 0xDC80 <= code <= 0xDCFF:
            pieces.append(bytes([code - 0xDC00]))
        else:
            pieces.append(letter.encode("ascii", "backslashreplace"))
    return b"".join(pieces), error.end
