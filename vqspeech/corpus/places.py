"""Files and folders by their paths on this machine, or by URLs of file systems that fsspec knows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from vqspeech.errors import ConfigurationError, CorpusError


def is_url(path: str) -> bool:
    """Whether a path is a URL, which fsspec opens."""
    return "://" in path


def file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path inside it.

    Raises
    ------
    ConfigurationError
        fsspec knows none such, or lacks a package for it.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"{url}: no such file system ({error})") from None


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """Open a file by its path or URL; raise `CorpusError` where that fails, now or while it is read."""
    try:
        if is_url(path):
            files, inside = file_system(path)
            with files.open(inside, "rb") as file:
                yield file
        else:
            with Path(path).open("rb") as file:
                yield file
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from None


def files_in(place: str) -> list[str] | None:
    """Return the files of a folder in order of name, not those of folders in it; None of what is no folder."""
    if not is_url(place):
        if not Path(place).is_dir():
            return None
        with os.scandir(place) as entries:
            return sorted(e.path for e in entries if not e.name.startswith(".") and e.is_file())
    files, inside = file_system(place)
    try:
        if not files.isdir(inside):
            return None
        listed = files.ls(inside, detail=True)
    except OSError as error:
        raise CorpusError(f"{place}: cannot be listed ({error.strerror or error})") from None
    return sorted(files.unstrip_protocol(of["name"]) for of in listed if of["type"] == "file")


def size_of(path: str) -> int:
    """Bytes of a file, 0 where that cannot be found out."""
    try:
        if is_url(path):
            files, inside = file_system(path)
            return int(files.size(inside) or 0)
        return Path(path).stat().st_size
    except OSError:
        return 0


def joined(folder: str, path: str) -> str:
    """Return a path as a table in `folder` means it."""
    return path if is_url(path) or path.startswith("/") else f"{folder}/{path}"
