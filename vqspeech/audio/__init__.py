"""Sound: reading and writing files of any format, µ-law, pitch. Nothing else opens a sound file."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqspeech.audio.files import (
        SUFFIXES,
        AudioInfo,
        info,
        read,
        read_blocks,
        resample,
        to_int16,
        warnings_kept,
        wav_header,
        write,
        write_stream,
    )

__all__ = [
    "SUFFIXES",
    "AudioInfo",
    "info",
    "read",
    "read_blocks",
    "resample",
    "to_int16",
    "warnings_kept",
    "wav_header",
    "write",
    "write_stream",
]


def __getattr__(name: str) -> Any:
    """Import numpy only when a sound is read or written: the command line checks file names before that."""
    if name not in __all__:
        raise AttributeError(f"module 'vqspeech.audio' has no attribute {name!r}")
    from vqspeech.audio import files

    return getattr(files, name)
