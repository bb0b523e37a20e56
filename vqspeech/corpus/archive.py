"""Downloading and unpacking a corpus archive; nothing from the network is trusted.

Pooch compares the checksum and zipfile reads the archive. Added here: resuming a broken download, and checking every
entry of an archive before the first byte is written.
"""

import contextlib
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from vqspeech.errors import CorpusError
from vqspeech.jobs.progress import Progress

# Sound hardly compresses: even VCTK's texts are far below this.
MAX_RATIO = 100
_SMALL = 1 << 20
_BLOCK = 1 << 20
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416


def fetch(url: str, folder: Path, sha256: str) -> Path:
    """Download the file at `url` into `folder`, unless it is there, and compare its SHA-256.

    A broken download is kept as ``NAME.part``; the next call resumes it where the server supports that, else starts
    again. `CorpusError` if the server fails, the checksum differs, or the folder cannot be written.
    """
    import pooch
    import requests

    name = url.rpartition("/")[2]
    part = folder / f"{name}.part"

    def resume(address: str, output: str, _: Any) -> None:
        """Complete the part for pooch, which checks it before renaming it."""
        _download(address, part)
        part.replace(output)

    try:
        pooch.get_logger().setLevel("WARNING")
        found = pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", fname=name, path=folder, downloader=resume
        )
    except requests.RequestException as error:
        kept = f"; {part} keeps the part received, run again to resume" if part.is_file() else ""
        raise CorpusError(f"{url}: cannot be fetched ({type(error).__name__}){kept}") from None
    except ValueError as error:
        if "hash" not in str(error):
            raise
        raise CorpusError(
            f"{url}: what came has not the SHA-256 {sha256}; it was deleted, fetch it again"
        ) from None
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return Path(found)


def extract(archive: Path, dest: Path) -> Path:
    """Unpack a zip archive into the new folder `dest`, which appears when it is complete.

    A suspicious entry refuses the whole archive before anything is written: paths outside `dest` (absolute names,
    ``..``, drive letters, backslashes), links and special files, duplicate names, encryption, more than `MAX_RATIO`
    times the compressed size, or more than fits on the disk. So is one that is missing, damaged or no zip archive, with
    `CorpusError`.
    """
    if dest.exists():
        raise CorpusError(f"{dest}: exists already; remove it to unpack {archive.name} again")
    partial = dest.with_name(f".{dest.name}.partial")
    try:
        with _opened(archive) as source:
            entries = source.infolist()
            for entry in entries:
                if reason := _refusal(entry):
                    raise CorpusError(f"{archive}: refused, {entry.filename!r} {reason}")
            _check_together(archive, entries, dest)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            with Progress(len(entries), "files", f"unpack {archive.name}") as bar:
                for entry in entries:
                    source.extract(entry, partial)
                    bar.update()
        partial.rename(dest)
    except (zipfile.BadZipFile, EOFError) as error:
        raise CorpusError(f"{archive}: the archive is damaged ({error}); fetch it again") from None
    except OSError as error:
        raise CorpusError(f"{dest}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return dest


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; raise `CorpusError` where it is none."""
    if not archive.is_file():
        raise CorpusError(f"{archive}: no such file")
    if not zipfile.is_zipfile(archive):
        raise CorpusError(f"{archive}: not a zip archive")
    with zipfile.ZipFile(archive) as source:
        yield source


def _refusal(entry: zipfile.ZipInfo) -> str:
    """Return the reason to refuse an entry, or an empty string."""
    # As stored: zipfile changes names, and cuts them at a zero byte.
    name = entry.orig_filename
    mode = entry.external_attr >> 16
    if not name or "\0" in name or "\\" in name or name[1:2] == ":" or name.startswith("/"):
        return "is not a relative name"
    if ".." in PurePosixPath(name).parts:
        return "leaves the folder"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.file_size > _SMALL and entry.file_size > MAX_RATIO * entry.compress_size:
        return f"grows from {entry.compress_size} to {entry.file_size} bytes, a bomb"
    return ""


def _check_together(archive: Path, entries: list[zipfile.ZipInfo], dest: Path) -> None:
    """Refuse duplicate names and a total size beyond the disk."""
    names = [str(PurePosixPath(entry.filename)) for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CorpusError(f"{archive}: refused, {twice!r} is in it twice")
    if sum(entry.compress_size for entry in entries) > archive.stat().st_size:
        raise CorpusError(f"{archive}: refused, its entries overlap, a bomb")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_RATIO * archive.stat().st_size + _SMALL:
        raise CorpusError(f"{archive}: refused, it grows to {total} bytes, a bomb")
    place = next(folder for folder in (dest, *dest.absolute().parents) if folder.is_dir())
    if total > (free := shutil.disk_usage(place).free):
        raise CorpusError(f"{archive}: needs {total} bytes, {free} are free at {place}")


def _download(url: str, part: Path) -> None:
    """Append the missing bytes of the file at `url` to `part`."""
    import requests

    have = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=60) as response:
        if response.status_code == _RANGE_NOT_SATISFIABLE and have:
            return
        response.raise_for_status()
        resumed = response.status_code == _PARTIAL_CONTENT
        have = have if resumed else 0
        left = int(response.headers.get("Content-Length", 0))
        with (
            part.open("ab" if resumed else "wb") as file,
            Progress(have + left, "bytes", f"fetch {part.stem}") as bar,
        ):
            bar.update(have)
            for block in response.iter_content(_BLOCK):
                file.write(block)
                bar.update(len(block))
