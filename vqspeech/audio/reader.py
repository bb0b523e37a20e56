"""One sound file, open for reading: its parts one after another, channels averaged, rate converted.

The rule is alike for all formats: a file that states clearly more sound than it holds is refused; any other
disagreement with the header is read to the end, with a warning.
"""

import contextlib
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from vqspeech.audio.formats import Content, Part, Window, find_parts
from vqspeech.audio.header import is_stream, kind_of, open_content, open_file, reason
from vqspeech.errors import AudioError

CANCELLED = 0.01
"""Channels cancel one another where their mean has less than this share of their power."""

FAR_BEYOND = 8.0
"""Values above this are integers stored as floats."""

_UNRECOGNISED = 1  # SF_ERR_UNRECOGNISED_FORMAT of libsndfile


@dataclass(frozen=True)
class AudioInfo:
    """Header of a sound file.

    Attributes
    ----------
    sample_rate : int
        Hz; of joined files, that of the first.
    channels : int
        Channels in the file.
    samples : int
        Samples per channel, at `sample_rate`.
    """

    sample_rate: int
    channels: int
    samples: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


class SoundReader:
    """A sound file, open for reading; a context manager. A pipe is copied to a temporary file first.

    `say` takes a warning about the file, without its name. With `content`, the bytes of the file, `path` names it in
    messages alone. Raises `AudioError` if the file is missing, a folder,
    unreadable, empty, or truncated.
    """

    def __init__(
        self, path: Path, say: Callable[[str], None], content: bytes | None = None
    ) -> None:
        self.path, self._say = path, say
        self._copy: IO[bytes] | None = None
        self._info: AudioInfo | None = None
        stream = content is None and is_stream(path)
        self._descriptor = open_file(path) if content is None else open_content(content)
        try:
            if stream:
                self._keep_stream()
            self._content = Content(self._descriptor)
            if len(self._content) == 0:
                raise AudioError(f"{path}: the file is empty (0 bytes)")
            self._parts = self._found_parts()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
        if self._copy is not None:
            self._copy.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def info(self) -> AudioInfo:
        """Read the headers; raise `AudioError` if one is of no known format, impossible, or without samples."""
        if self._info is not None:
            return self._info
        found = []
        for part in self._parts:
            with self._opened(part) as file:
                found.append((file.samplerate, file.channels, file.frames))
        rate, channels, _ = found[0]
        samples = sum(frames * rate / own for own, _, frames in found)
        if samples == 0:
            raise AudioError(f"{self.path}: the file has a header and no samples")
        self._info = AudioInfo(rate, channels, round(samples))
        return self._info

    def blocks(self, sample_rate: int, block_s: float) -> Iterator[np.ndarray]:
        """Read the file block by block; see `vqspeech.audio.read_blocks`."""
        header = self.info()
        done = given = 0
        levels = _Levels()
        for part in self._parts:
            if part.warning:
                self._say(part.warning)
            with self._opened(part) as file:
                resampler = _Resampler(file.samplerate, sample_rate)
                for block in self._read(part, file, block_s):
                    start_s = done / header.sample_rate
                    wav = levels.mean(block)
                    done += len(wav)
                    self._check_values(levels, start_s)
                    if len(wav := resampler(wav)):
                        given += len(wav)
                        yield wav
            if len(rest := resampler.rest()):
                given += len(rest)
                yield rest
        if levels.cancelled():
            raise AudioError(
                f"{self.path}: its channels cancel one another; give one of them, for example with"
                " sox IN OUT remix 1"
            )
        if given == 0:
            raise AudioError(
                f"{self.path}: {done} samples at {header.sample_rate} Hz are none at {sample_rate} Hz"
            )

    def _keep_stream(self) -> None:
        """Copy a pipe to a temporary file, which can be read more than once."""
        try:
            self._copy = tempfile.TemporaryFile()  # noqa: SIM115
            with os.fdopen(os.dup(self._descriptor), "rb") as source:
                shutil.copyfileobj(source, self._copy, 1 << 20)
            self._copy.flush()
        except OSError as error:
            raise AudioError(
                f"{self.path}: cannot be copied to {tempfile.gettempdir()} ({reason(error)})"
            ) from None
        os.close(self._descriptor)
        self._descriptor = os.dup(self._copy.fileno())

    def _found_parts(self) -> list[Part]:
        try:
            return find_parts(self._content)
        except AudioError as error:
            raise AudioError(f"{self.path}: {error}") from None
        except OSError as error:
            raise AudioError(f"{self.path}: cannot be read ({reason(error)})") from None

    @contextlib.contextmanager
    def _opened(self, part: Part) -> Iterator[Any]:
        import soundfile

        window = Window(self._content, part)
        try:
            with _quiet(part.mpeg):
                file = soundfile.SoundFile(window)
        except (soundfile.SoundFileError, RuntimeError) as error:
            what = reason(window.error or error)
            if getattr(error, "code", None) == _UNRECOGNISED:
                what = kind_of(self._content[0:512])
            raise AudioError(f"{self.path}: not a sound file that can be read ({what})") from None
        try:
            if file.samplerate <= 0 or file.channels <= 0:
                raise AudioError(
                    f"{self.path}: the header names {file.samplerate} Hz, {file.channels} channels"
                )
            yield file
            if window.error is not None:
                raise AudioError(f"{self.path}: cannot be read ({reason(window.error)})")
        finally:
            with _quiet(part.mpeg):
                file.close()

    def _read(self, part: Part, file: Any, block_s: float) -> Iterator[np.ndarray]:
        """Yield blocks of shape (samples, channels) of a part, and check that it ends where the header states."""
        import soundfile

        frames = max(1, round(block_s * file.samplerate))
        done, states = 0, file.frames
        try:
            while True:
                with _quiet(part.mpeg):
                    block = file.read(frames, dtype="float32", always_2d=True)
                if not len(block):
                    break
                done += len(block)
                yield block
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise AudioError(
                f"{self.path}: damaged after {done} of {states} samples ({reason(error)})"
            ) from None
        # The delay of an MPEG decoder is less than two of its frames.
        if done < states - (2 * 1152 if part.mpeg else 0):
            raise AudioError(f"{self.path}: truncated, it ends after {done} of {states} samples")

    def _check_values(self, levels: "_Levels", start_s: float) -> None:
        """Refuse NaN and infinity, warn once about values beyond full scale."""
        if not math.isfinite(levels.peak):
            raise AudioError(
                f"{self.path}: NaN or infinite samples after {start_s:.1f} s; repair the file"
            )
        if levels.peak > 1 and not levels.warned:
            levels.warned = True
            hint = " (integers stored as floats? divide them by 32768)"
            self._say(
                f"values up to {levels.peak:.3g}, beyond 1; they are clipped"
                f"{hint if levels.peak > FAR_BEYOND else ''}"
            )


class _Levels:
    """Averages channels; keeps the peak and the power before and after."""

    def __init__(self) -> None:
        self.peak, self.warned = 0.0, False
        self._of_channels = self._of_mean = 0.0

    def mean(self, block: np.ndarray) -> np.ndarray:
        """Return the mean of the channels of a block of shape (samples, channels)."""
        mono = block.shape[1] == 1
        wav = block[:, 0] if mono else block.mean(axis=1, dtype=np.float32)
        self.peak = float(np.maximum(np.abs(wav).max(), self.peak))
        if not mono:
            self._of_channels += float(np.square(block, dtype=np.float64).sum()) / block.shape[1]
            self._of_mean += float(np.square(wav, dtype=np.float64).sum())
        return np.ascontiguousarray(wav)

    def cancelled(self) -> bool:
        """Whether the mean has less than `CANCELLED` of the channels' power."""
        return self._of_mean < CANCELLED * self._of_channels


class _Resampler:
    """Converts the rate block by block, where it differs."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        import soxr

        self._stream = (
            soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")
            if from_rate != to_rate
            else None
        )

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        return wav if self._stream is None else self._stream.resample_chunk(wav)

    def rest(self) -> np.ndarray:
        """Return the samples still buffered."""
        empty = np.zeros(0, np.float32)
        return empty if self._stream is None else self._stream.resample_chunk(empty, last=True)


@contextlib.contextmanager
def _quiet(mpeg: bool) -> Iterator[None]:
    """Silence libmpg123, which writes its own messages to standard error."""
    if not mpeg:
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
