"""Speech with phone times from libespeak-ng, in process through ctypes.

The library and its data come in the wheel espeakng-loader (GPL-3), an optional extra. The library keeps state between
utterances that no call resets, so output is reproducible only in a process that starts with the same first utterance.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqspeech.errors import CorpusError

PAUSE = "pau"

# Constants and structures of espeak-ng's speak_lib.h.
_SYNCHRONOUS = 2
_PHONEME_EVENTS_IN_IPA = 1 | 2
_NO_EVENT, _PHONEME = 0, 7
_UTF8 = 1
_IPA, _SEPARATOR = 2, "_"
_RATE, _PITCH, _RANGE = 1, 3, 4
_SILENT = 328
_STRESS_AND_LENGTH = str.maketrans("", "", "ˈˌː")


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_void_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Voice:
    """A speaker: one of espeak-ng's voice variants and its settings.

    Attributes
    ----------
    name : str
        The speaker's name in the corpus.
    variant : str
        espeak-ng's voice, for example ``"en-us+f2"``.
    pitch, pitch_range : int
        espeak-ng's settings, 0 to 100; 50 is the unchanged variant.
    words_per_minute : int
        Speaking rate; espeak-ng's default is 175.
    """

    name: str
    variant: str
    pitch: int = 50
    pitch_range: int = 50
    words_per_minute: int = 175


@dataclass(frozen=True)
class Spoken:
    """One utterance.

    Attributes
    ----------
    pcm : ndarray of int16, shape (samples,)
        Mono samples.
    phones : list of (int, int, str)
        Start, end (samples) and label of each phone in IPA without stress and length marks; pauses are `PAUSE`. Without
        gaps from 0 to samples.
    """

    pcm: np.ndarray
    phones: list[tuple[int, int, str]]


class Synthesizer:
    """libespeak-ng, loaded and ready, with output at `sample_rate` Hz; one per process.

    Raises `CorpusError` if espeakng-loader is not installed or its library does not start.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise CorpusError(
                "the miniature corpus needs espeakng-loader: pip install 'vqspeech[mini]'"
            ) from None
        try:
            self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise CorpusError(f"libespeak-ng cannot be loaded: {error}") from None
        data = str(espeakng_loader.get_data_path()).encode()
        self.sample_rate: int = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, data, _PHONEME_EVENTS_IN_IPA
        )
        if self.sample_rate <= 0:
            raise CorpusError(f"libespeak-ng does not start with its data in {data.decode()}")
        self._library.espeak_ng_SetRandSeed.argtypes = (ctypes.c_long,)
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._pieces: list[np.ndarray] = []
        self._marks: list[tuple[int, str]] = []
        # The library keeps only the address, so the callback must live as long as it does.
        self._callback: Callable[..., int] = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def choose(self, voice: Voice) -> None:
        """Select the voice for the calls that follow.

        `CorpusError` if the library lacks the language; it does not report unknown variants.
        """
        if self._library.espeak_SetVoiceByName(voice.variant.encode()) != 0:
            raise CorpusError(f"libespeak-ng has no voice {voice.variant}")
        self._library.espeak_SetParameter(_RATE, voice.words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        self._library.espeak_SetParameter(_RANGE, voice.pitch_range, 0)

    def speak(self, text: str, seed: int) -> Spoken:
        """Synthesise a sentence with the chosen voice; `seed` is for the library's noise source."""
        self._pieces, self._marks = [], []
        self._library.espeak_ng_SetRandSeed(seed)
        data = text.encode()
        status = self._library.espeak_Synth(
            data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, _UTF8, None, None
        )
        if status != 0 or not self._pieces:
            raise CorpusError(f"libespeak-ng cannot speak {text!r} (status {status})")
        pcm = np.concatenate(self._pieces)
        return Spoken(pcm, spans(pcm, self._marks))

    def transcribe(self, text: str) -> list[str]:
        """Return the pronunciation of `text` by the chosen voice: IPA phones with stress and length marks."""
        data = ctypes.create_string_buffer(text.encode())
        position = ctypes.c_void_p(ctypes.addressof(data))
        phones: list[str] = []
        # Each call ends at the end of a clause; the last one leaves a null pointer.
        while position.value is not None:
            found = self._library.espeak_TextToPhonemes(
                ctypes.byref(position), _UTF8, _IPA | ord(_SEPARATOR) << 8
            )
            phones += (found or b"").decode().replace(" ", _SEPARATOR).split(_SEPARATOR)
        return [phone for phone in phones if phone]

    def _receive(self, wav: Any, count: int, events: Any) -> int:
        """Store samples and phone starts from the library's callback."""
        if count > 0:
            self._pieces.append(np.ctypeslib.as_array(wav, (count,)).copy())
        index = 0
        while events[index].type != _NO_EVENT:
            event = events[index]
            if event.type == _PHONEME:
                # Eight bytes, zero-terminated only when shorter; bytes after the zero are stale.
                label = event.id.string.decode().translate(_STRESS_AND_LENGTH)
                self._marks.append((event.sample, label or PAUSE))
            index += 1
        return 0


def spans(pcm: np.ndarray, marks: list[tuple[int, str]]) -> list[tuple[int, int, str]]:
    """Turn starts of phones, (sample, label) in order, into spans (start, end, label) that cover the recording.

    espeak-ng marks a stop at its burst. The silence it puts before a phone inside an utterance (a stop's closure) is
    digital zero, and is given to that phone here, not to the phone before. A phone of only such silence is dropped:
    espeak-ng speaks the l of "old" as the end of the vowel, and marks it where the closure of d starts. A mark without
    a name is a pause only where there is silence: between the vowels of "the old" it is a glide, which stays with the
    first. Of several marks at one place the last counts; consecutive pauses are joined.
    """
    starts: list[tuple[int, str]] = [(0, PAUSE)]
    until = [start for start, _ in marks[1:]] + [len(pcm)]
    for (start, label), next_start in zip(marks, until, strict=True):
        start = min(start, len(pcm))
        if label == PAUSE and np.abs(pcm[start:next_start].astype(int)).max(initial=0) > _SILENT:
            continue
        while starts and starts[-1][0] >= start:
            starts.pop()
        if starts and PAUSE not in (label, starts[-1][1]):
            sounding = np.flatnonzero(pcm[starts[-1][0] : start])
            silent_from = starts[-1][0] + (int(sounding[-1]) + 1 if len(sounding) else 0)
            if silent_from <= starts[-1][0] + 1:
                starts.pop()
            start = silent_from
        if not starts or starts[-1][1] != PAUSE or label != PAUSE:
            starts.append((start, label))
    ends = [start for start, _ in starts[1:]] + [len(pcm)]
    return [
        (start, end, label) for (start, label), end in zip(starts, ends, strict=True) if end > start
    ]
