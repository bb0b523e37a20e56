"""Reading, writing and resampling sound files; with `reader`, the only module that opens or writes sound.

A `wav` is float32 in [-1, 1], mono, shape (samples,). Files are read and written through soundfile, rates are
converted with soxr HQ. Both are imported on first use: training runs on machines that have neither.
"""

import io
import logging
import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vqspeech.audio.header import reason
from vqspeech.audio.reader import AudioInfo, SoundReader
from vqspeech.errors import AudioError
from vqspeech.jobs.atomic import write_file

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")

_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
_CODEC_RATES = {
    ".opus": (8000, 12000, 16000, 24000, 48000),
    ".mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
_logger = logging.getLogger("vqspeech")
_said: set[tuple[Any, ...]] = set()
_kept: list[str] | None = None


def info(path: str | os.PathLike[str]) -> AudioInfo:
    """Read the headers of a sound file and refuse what they alone show to be broken.

    Parameters
    ----------
    path : path-like
        A wav, flac, ogg, opus or mp3 file.

    Returns
    -------
    AudioInfo

    Raises
    ------
    AudioError
        If the file is missing, a folder, unreadable, empty, of no known format, without samples, or
        states clearly more sound than it holds.
    """
    with SoundReader(Path(path), lambda _: None) as reader:
        return reader.info()


def read(path: str | os.PathLike[str], sample_rate: int = 16000) -> np.ndarray:
    """Read a sound file as mono float32 at `sample_rate`.

    Channels are averaged, other rates converted with soxr HQ; each is reported once per kind of file. Values beyond ±1
    are kept, with a warning once per file.

    Parameters
    ----------
    path : path-like
        A wav, flac, ogg, opus or mp3 file.
    sample_rate : int, default=16000
        Rate of the result, Hz.

    Returns
    -------
    ndarray of float32, shape (samples,)
        At least one sample.

    Raises
    ------
    AudioError
        As for `info`, and if the data are truncated, damaged, or contain NaN or infinite values.
    """
    blocks = list(read_blocks(path, sample_rate))
    return np.concatenate(blocks)


def read_blocks(
    path: str | os.PathLike[str],
    sample_rate: int = 16000,
    block_s: float = 10.0,
    opened: Callable[[AudioInfo], object] = lambda _: None,
    content: bytes | None = None,
) -> Iterator[np.ndarray]:
    """Read a sound file block by block, in constant memory; joined, the blocks are what `read` returns.

    Parameters
    ----------
    path : path-like
        A wav, flac, ogg, opus or mp3 file.
    sample_rate : int, default=16000
        Rate of the blocks, Hz.
    block_s : float, default=10.0
        Seconds of the file read at a time; does not change the result.
    opened : callable, optional
        Called with what the headers say, before the first block.
    content : bytes, optional
        Of the file, where it is in memory already; `path` then names it in messages alone.

    Yields
    ------
    ndarray of float32, shape (n,)
        Mono; `n` varies and is at least 1.

    Raises
    ------
    AudioError
        As for `read`, when the block concerned is reached.
    """
    path = Path(path)
    with SoundReader(path, lambda text: _say(path, text), content) as reader:
        header = reader.info()
        _say_conversion(path, header, sample_rate)
        opened(header)
        yield from reader.blocks(sample_rate, block_s)


@contextmanager
def warnings_kept() -> Iterator[list[str]]:
    """Collect the warnings about single files, without their names, instead of logging them."""
    global _kept
    _kept, before = [], _kept
    try:
        yield _kept
    finally:
        _kept = before


def write(
    path: str | os.PathLike[str], wav: np.ndarray, sample_rate: int, force: bool = False
) -> None:
    """Write a mono recording in the format of its suffix.

    wav and flac hold 16-bit PCM, ogg Vorbis, opus Opus, mp3 MPEG layer III. The file is written beside its place and
    renamed. Opus and mp3 support few rates: others are converted to the next one up.

    Parameters
    ----------
    path : path-like
        Its suffix is one of `SUFFIXES`.
    wav : ndarray, shape (samples,)
        Values in [-1, 1]; others are clipped, with a warning.
    sample_rate : int
        Hz.
    force : bool, default=False
        Replace an existing file.

    Raises
    ------
    AudioError
        If the suffix is unknown, the file exists and `force` is false, the folder is missing or cannot be written, the
        disk is full, or `wav` is empty, not one-dimensional, or contains NaN or infinite values.
    """
    import soundfile

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        known = ", ".join(SUFFIXES)
        raise AudioError(
            f"{path}: cannot write {suffix or 'a file without suffix'}; choose {known}"
        )
    if path.exists() and not force:
        raise AudioError(f"{path}: exists already; give another name, or --force to replace it")
    wav = np.asarray(wav, dtype=np.float32)
    if wav.ndim != 1 or len(wav) == 0:
        raise AudioError(f"{path}: expected mono samples of shape (samples,), found {wav.shape}")
    rates = _CODEC_RATES.get(suffix)
    if rates is not None and sample_rate not in rates:
        rate = min((r for r in rates if r >= sample_rate), default=max(rates))
        wav, sample_rate = resample(wav, sample_rate, rate), rate
    # Scaled here because libsndfile multiplies by 32767 but divides by 32768.
    pcm = _checked_int16(str(path), wav)
    container, subtype = _FORMATS[suffix]
    if not path.parent.is_dir():
        raise AudioError(f"{path}: the folder {path.parent} does not exist")
    # Made in memory first: libsndfile reports a full disk only as a system error.
    content = io.BytesIO()
    try:
        with soundfile.SoundFile(
            content, "w", samplerate=sample_rate, channels=1, format=container, subtype=subtype
        ) as file:
            # libsndfile's Vorbis encoder overflows its stack when a long signal comes in one piece.
            for start in range(0, len(pcm), 65536):
                file.write(pcm[start : start + 65536])
        # a copy: a view of the buffer that an error's traceback keeps crashes the collector of Python 3.12
        write_file(path, content.getvalue())
    except (OSError, soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(f"{path}: cannot be written ({reason(error)})") from None


def write_stream(
    file: BinaryIO, blocks: Iterable[np.ndarray], samples: int, sample_rate: int
) -> None:
    """Write a mono recording to a pipe while it is made: a wav header, then 16-bit PCM, block by block.

    The bytes are those that `write` gives for all blocks joined. Each block is flushed before the next one is
    requested.

    Parameters
    ----------
    file : binary file
        Open for writing; need not be seekable, and stays open.
    blocks : iterable of ndarray, shape (n,)
        Values in [-1, 1]; others are clipped, with a warning per block.
    samples : int
        Total over all blocks, for the header.
    sample_rate : int
        Hz.

    Raises
    ------
    AudioError
        If there are more samples than a wav header can state, another number than `samples`, or NaN or infinite values.
    """
    file.write(wav_header(samples, sample_rate))
    file.flush()
    done = 0
    for block in blocks:
        done += len(block)
        if done > samples:
            break
        file.write(_checked_int16("wav stream", block).astype("<i2").tobytes())
        file.flush()
    if done != samples:
        raise AudioError(f"wav stream: {done} samples came where the header says {samples}")


def wav_header(samples: int, sample_rate: int) -> bytes:
    """Return what a wav file of so many samples, mono, 16-bit PCM, begins with.

    Raises
    ------
    AudioError
        If there are more samples than a wav header can state.
    """
    size = 2 * samples
    if size + 36 >= 1 << 32:
        raise AudioError(f"wav stream: {samples} samples are more than a wav header can state")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", size + 36, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", size)


def _checked_int16(where: str, wav: np.ndarray) -> np.ndarray:
    """Round to 16 bits; NaN and infinity are refused, clipping is warned about."""
    peak = float(np.abs(wav).max(initial=0))
    if not math.isfinite(peak):
        raise AudioError(f"{where}: refused to write NaN or infinite samples")
    if peak > 1:
        _logger.warning("%s: peak of %.3g clipped to 1", where, peak)
    return to_int16(wav)


def to_int16(wav: np.ndarray) -> np.ndarray:
    """Round a wav to 16 bits: ``clip(round(x * 32768), -32768, 32767)``.

    Parameters
    ----------
    wav : ndarray of float32, shape (samples,)
        Values in [-1, 1]; what lies outside is clipped.

    Returns
    -------
    ndarray of int16, shape (samples,)
        Divided by 32768 it is `wav` again, to half a step.
    """
    return np.clip(np.rint(wav * np.float32(32768)), -32768, 32767).astype(np.int16)


def resample(wav: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Convert the sample rate with soxr HQ (flat to 0.91 of the lower Nyquist frequency, aliases below -120 dB).

    Parameters
    ----------
    wav : ndarray, shape (samples,)
        Mono samples.
    from_rate, to_rate : int
        Hz.

    Returns
    -------
    ndarray of float32, shape (about samples * to_rate / from_rate,)
    """
    import soxr

    wav = np.ascontiguousarray(wav, dtype=np.float32)
    return wav if from_rate == to_rate else soxr.resample(wav, from_rate, to_rate, quality="HQ")


def _say(path: Path, text: str) -> None:
    """Log a warning about a file, once."""
    if _kept is not None:
        _kept.append(text)
    else:
        _say_once((path, text), "%s: %s", path, text)


def _say_conversion(path: Path, header: AudioInfo, sample_rate: int) -> None:
    """Report averaging and resampling once for each kind of file."""
    if header.channels > 1:
        key = ("channels", header.channels)
        text = "%s: %d channels averaged to one (reported once for all such files)"
        _say_once(key, text, path, header.channels)
    if header.sample_rate != sample_rate:
        key = ("rate", header.sample_rate)
        text = "%s: %d Hz converted to %d Hz (reported once for all such files)"
        _say_once(key, text, path, header.sample_rate, sample_rate)


def _say_once(key: tuple[Any, ...], text: str, *values: object) -> None:
    if key not in _said:
        _said.add(key)
        _logger.warning(text, *values)
