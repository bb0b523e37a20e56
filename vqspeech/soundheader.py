"""What the first bytes of a sound file tell that libsndfile does not: why it cannot be opened, whether it is whole."""

import os
import struct
from pathlib import Path

from vqspeech.errors import AudioError

# Programs that write wav to a pipe cannot go back to fill in the size and leave one above this.
_UNSTATED_WAV_SIZE = 0x7FFFF000


def check_openable(path: Path) -> None:
    """Say why a file cannot be opened, where libsndfile would only speak of a system error.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    AudioError
        If it is missing, a folder, empty, out of reach, or has an impossible name.
    """
    try:
        if path.is_dir():
            raise AudioError(f"{path}: a folder, not a sound file")
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({reason(error)})") from None
    except ValueError:
        raise AudioError(f"{str(path)!r}: not a possible file name") from None
    if empty:
        raise AudioError(f"{path}: the file is empty (0 bytes)")


def check_wav_size(path: Path) -> None:
    """Compare the size that a wav header states with the file: libsndfile reads a truncated wav without a word.

    Parameters
    ----------
    path : Path
        Any sound file; one that is not RIFF or RF64 passes.

    Raises
    ------
    AudioError
        If the file is shorter than the header says. Sizes left open by a program that wrote to a
        pipe pass.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            return
        size = path.stat().st_size
        long_size = None
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"ds64":
                long_size = struct.unpack("<QQ", file.read(16))[1]
                file.seek(length - 16, os.SEEK_CUR)
                continue
            if name == b"data":
                stated = long_size if head[:4] == b"RF64" and long_size is not None else length
                found = size - file.tell()
                if found < stated < _UNSTATED_WAV_SIZE or (
                    long_size is not None and found < stated
                ):
                    raise AudioError(
                        f"{path}: truncated, {found} of the {stated} bytes its header announces"
                    )
                return
            file.seek(length + length % 2, os.SEEK_CUR)


def reason(error: BaseException) -> str:
    """Return what a library or the system says went wrong, without the path, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rpartition(": ")[2].rstrip(".") or type(error).__name__
