"""Short descriptions of files that are no readable sound, and of errors while reading."""

import os
import stat
from pathlib import Path

from vqspeech.errors import AudioError

STANDARD_INPUT = Path("/dev/stdin")

UNREAD_SUFFIXES = frozenset(
    {
        *(".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".alac", ".amr", ".ape"),
        *(".au", ".caf", ".dsf", ".dss", ".g722", ".gsm", ".m4a", ".m4b", ".mka"),
        *(".mkv", ".mov", ".mp2", ".mp4", ".mpc", ".nist", ".oga", ".opx", ".pcm"),
        *(".ra", ".raw", ".shn", ".snd", ".sph", ".spx", ".tta", ".voc", ".vox"),
        *(".w64", ".wave", ".webm", ".wma", ".wv"),
    }
)
"""Suffixes of sound and video that this package does not look for, in lower case."""

_KINDS = (
    (4, b"ftyp", "MPEG-4, as .m4a and .mp4 have it"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"\x30\x26\xb2\x75", "Windows Media"),
    (0, b"#!AMR", "AMR"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (0, b"ajkg", "Shorten"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"RIFF", "RIFF of a kind that is not read"),
    (0, b"FORM", "AIFF of a kind that is not read"),
    (0, b"NIST_1A", "NIST SPHERE with a coding that is not read"),
    (0, b"OggS", "Ogg with neither Vorbis nor Opus that can be read"),
    (0, b"fLaC", "a damaged flac file"),
    (0, b"\x00\x05\x16\x07", "an AppleDouble file, what macOS keeps beside a file"),
    (
        0,
        b"version https://git-lfs",
        "a pointer of Git LFS: fetch the file itself with git lfs pull",
    ),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"%PDF", "PDF"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
)


def kind_of(head: bytes) -> str:
    """Describe in a few words what a file that is no readable sound looks like, from its first few hundred bytes."""
    for place, magic, kind in _KINDS:
        if head[place : place + len(magic)] == magic:
            return f"it looks like {kind}"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "it looks like a web page"
    if not head.strip(b"\0"):
        return "it holds nothing but zeros"
    text = head.decode("utf-8", "ignore")
    if len(text.encode()) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text):
        return "it looks like text"
    return "format not recognised"


def is_stream(path: Path) -> bool:
    """Whether `path` is a pipe or the like, which can be read once."""
    try:
        mode = os.fstat(0).st_mode if path == STANDARD_INPUT else path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def open_file(path: Path) -> int:
    """Open a file or a pipe for reading and return its descriptor.

    Raises `AudioError` if it is missing, a folder, a device, out of reach, or has an impossible name.
    """
    try:
        if path == STANDARD_INPUT:
            descriptor = os.dup(0)
        else:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise AudioError(f"{path}: a folder, not a sound file")
            descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({reason(error)})") from None
    except ValueError:
        raise AudioError(f"{str(path)!r}: not a possible file name") from None
    status = os.fstat(descriptor)
    null = os.makedev(1, 3)
    if stat.S_ISBLK(status.st_mode) or (stat.S_ISCHR(status.st_mode) and status.st_rdev != null):
        os.close(descriptor)
        raise AudioError(f"{path}: a terminal or another device, not a sound file")
    return descriptor


def open_content(content: bytes) -> int:
    """Return the descriptor of a file in memory that holds `content`."""
    descriptor = os.memfd_create("vqspeech")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    return descriptor


def reason(error: BaseException) -> str:
    """Return the message of a library or system error, without the path, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rpartition(": ")[2].rstrip(".") or type(error).__name__
