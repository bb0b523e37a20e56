"""Sounds that are heard while they are made, and the visitors they belong to; all of it in memory, and bounded.

A `wav` is float32 in [-1, 1], (samples,). Sounds are kept as 16 bits a sample. Threads may share everything here.
"""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import to_int16, wav_header

if TYPE_CHECKING:
    from vqspeech.demo.studio import Recording

KEPT_SOUNDS = 8
"""Sounds that a visitor can hear, the source among them; a new one takes the place of the oldest that was made."""

KEPT_VISITORS = 64
"""Visitors whose sounds are kept; a new one takes the place of who was seen longest ago."""

KEPT_BYTES = 2**28
"""Memory that all sounds may take; who was seen longest ago makes room."""


class Sound:
    """A recording that grows until it has all its samples or nothing more comes.

    Parameters
    ----------
    title : str
        What it is, for people.
    samples : int
        Its length when it is whole, at least 1.
    sample_rate : int
        Hz.

    Attributes
    ----------
    token : str
        Names it in addresses; cannot be guessed.
    """

    def __init__(self, title: str, samples: int, sample_rate: int) -> None:
        self.title, self.samples, self.sample_rate = title, samples, sample_rate
        self.token = secrets.token_urlsafe(16)
        self._content = bytearray(wav_header(samples, sample_rate))
        self._head = len(self._content)
        self._closed = False

    @classmethod
    def of(cls, title: str, wav: NDArray[np.float32], sample_rate: int) -> "Sound":
        """Make a whole one."""
        sound = cls(title, len(wav), sample_rate)
        sound.add(wav)
        return sound

    @property
    def made(self) -> int:
        """Samples that are there."""
        return (len(self._content) - self._head) // 2

    @property
    def finished(self) -> bool:
        """Whether nothing more comes."""
        return self._closed or self.made >= self.samples

    @property
    def wav(self) -> NDArray[np.float32]:
        """What is there."""
        pcm = np.frombuffer(bytes(self._content[self._head :]), "<i2")
        return pcm.astype(np.float32) / np.float32(32768)

    def add(self, wav: NDArray[np.float32]) -> None:
        """Append samples; what goes beyond the length is left out, as is all after `close`."""
        if not self._closed:
            pcm = to_int16(wav[: self.samples - self.made])
            self._content += pcm.astype("<i2").tobytes()

    def close(self) -> None:
        """Say that nothing more comes."""
        self._closed = True

    def since(self, start: int) -> bytes:
        """Return the bytes of the wav file from `start` on, as far as they are there."""
        return bytes(self._content[start:])


@dataclass
class Visitor:
    """What is kept of someone who has the page open.

    Attributes
    ----------
    source : Recording or None
        What was recorded or dropped last.
    sounds : list of Sound
        What there is to hear, the oldest first, at most `KEPT_SOUNDS`.
    """

    source: "Recording | None" = None
    sounds: list[Sound] = field(default_factory=list)

    def add(self, sound: Sound) -> None:
        """Keep a sound, in place of one of the same title; close and forget the oldest where there are too many."""
        for old in [old for old in self.sounds if old.title == sound.title]:
            self._forget(old)
        self.sounds.append(sound)
        while len(self.sounds) > KEPT_SOUNDS:
            # The first one is the source, where there is one.
            self._forget(self.sounds[0 if self.source is None else 1])

    def _forget(self, sound: Sound) -> None:
        sound.close()
        self.sounds.remove(sound)

    @property
    def size(self) -> int:
        """Bytes that it takes, once all sounds are whole."""
        source = 0 if self.source is None else self.source.wav.nbytes
        return source + sum(2 * sound.samples for sound in self.sounds)

    def clear(self) -> None:
        """Forget everything; what is still being made ends."""
        for sound in self.sounds:
            sound.close()
        self.source, self.sounds = None, []


class Visitors:
    """Visitors by the name of their session, at most `limit`, with at most `kept_bytes` of sounds together."""

    def __init__(self, limit: int = KEPT_VISITORS, kept_bytes: int = KEPT_BYTES) -> None:
        self._limit, self._bytes = limit, kept_bytes
        self._visitors: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._visitors)

    def find(self, session: str) -> Visitor:
        """Return the visitor of a session, a new one where there is none."""
        with self._lock:
            visitor = self._visitors.setdefault(session, Visitor())
            self._visitors.move_to_end(session)
            while len(self._visitors) > self._limit or (
                len(self._visitors) > 1 and self.size > self._bytes
            ):
                self._visitors.popitem(last=False)[1].clear()
            return visitor

    @property
    def size(self) -> int:
        """Bytes that all of them take."""
        return sum(visitor.size for visitor in self._visitors.values())

    def drop(self, session: str) -> None:
        """Forget a visitor and all sounds; what is still being made for them ends."""
        with self._lock:
            visitor = self._visitors.pop(session, None)
        if visitor is not None:
            visitor.clear()

    def sound(self, token: str) -> Sound | None:
        """Find a sound by its token."""
        with self._lock:
            for visitor in self._visitors.values():
                for sound in visitor.sounds:
                    if secrets.compare_digest(sound.token, token):
                        return sound
        return None
