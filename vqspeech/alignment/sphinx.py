"""Forced alignment of one utterance with pocketsphinx and the en-us model it carries.

pocketsphinx works at 16 kHz in steps of 10 ms. It aligns in two passes, words and then phones, and when its search is
too narrow it may silently return fewer words than it was given: `Aligner` compares them, and widens the search until
all are found.
"""

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from vqspeech import audio
from vqspeech.alignment.pronounce import pronounce
from vqspeech.alignment.spell import spell
from vqspeech.errors import ConfigurationError, CorpusError
from vqspeech.labels import textgrid
from vqspeech.labels.frames import UNITS_PER_S, Interval
from vqspeech.labels.phones import SILENCE, to_arpabet

SAMPLE_RATE = 16000
STEP_S = 0.01

HIGH_PASS_HZ = 70.0
_HIGH_PASS_ORDER = 4


@dataclass(frozen=True)
class Search:
    """Settings of pocketsphinx's search, and the largest amplitude of noise that is added first, in 16-bit steps."""

    settings: dict[str, Any]
    noise: int = 0


# From the fastest to the widest. Synthetic or gated sound has silences of zeros, which the
# model was not trained on; the last search puts noise of -60 dB there.
SEARCHES = (
    Search({}),
    Search({"bestpath": False}),
    Search({"bestpath": False, "beam": 1e-80, "pbeam": 1e-80, "wbeam": 1e-60}),
    Search({"bestpath": False, "beam": 1e-150, "pbeam": 1e-150, "wbeam": 1e-120}, noise=32),
)

_BLANK = bytes(2 * SAMPLE_RATE // 10)

_FILLERS = ("<", "[", "+")
_ALTERNATIVE = re.compile(r"\(\d+\)$")


@dataclass(frozen=True)
class Alignment:
    """Times of the words and phones of one recording.

    Attributes
    ----------
    words : list of Interval
        In order, in lower case, as spoken (numbers spelled out).
    phones : list of Interval
        Labels from `vqspeech.labels.phones.PHONES`.

    Both cover the recording from 0 to its end without gaps; silence is ``"sil"``, never twice in a row.
    """

    words: list[Interval]
    phones: list[Interval]

    @property
    def end_s(self) -> float:
        """Length of the recording, seconds."""
        return self.phones[-1].end_s

    def to_textgrid(self) -> str:
        """Return a TextGrid with the tiers ``words`` and ``phones``, where silence is an empty label."""
        tiers = {
            name: [(i.start_s, i.end_s, "" if i.label == SILENCE else i.label) for i in intervals]
            for name, intervals in (("words", self.words), ("phones", self.phones))
        }
        return textgrid.to_textgrid(tiers, self.end_s)

    def to_lab(self) -> str:
        """Return the phones as an HTK label file in units of 100 ns, where silence is ``pau``."""
        return "".join(
            f"{_units(i.start_s)} {_units(i.end_s)} {'pau' if i.label == SILENCE else i.label}\n"
            for i in self.phones
        )


def check_installed() -> None:
    """Raise `ConfigurationError` if pocketsphinx is not installed."""
    if find_spec("pocketsphinx") is None:
        raise ConfigurationError("alignment needs pocketsphinx: pip install 'vqspeech[align]'")


def align(wav: np.ndarray, text: str, sample_rate: int = SAMPLE_RATE) -> Alignment:
    """Find the times of the words and phones of `text` in `wav`.

    Parameters
    ----------
    wav : ndarray of float32, shape (samples,)
        One utterance, in [-1, 1].
    text : str
        The English transcript; may have numbers and usual abbreviations.
    sample_rate : int, default=16000
        Of `wav`, Hz; other rates are converted.

    Returns
    -------
    Alignment

    Raises
    ------
    ConfigurationError
        If pocketsphinx or num2words is not installed.
    CorpusError
        If there is nothing to align, a word cannot be pronounced, or the words are not found in the recording.
    """
    return _aligner().align(wav, text, sample_rate)


@functools.lru_cache(maxsize=1)
def _aligner() -> "Aligner":
    return Aligner()


class Aligner:
    """pocketsphinx with its model loaded; not thread-safe. `searches` are tried in turn until all words are found.

    Raises `ConfigurationError` if pocketsphinx is not installed.
    """

    def __init__(self, searches: Sequence[Search] = SEARCHES) -> None:
        self._searches = searches
        self._decoders: dict[int, Any] = {}
        self._added: dict[str, str] = {}
        self._dictionary = self._decoder(0)

    def align(self, wav: np.ndarray, text: str, sample_rate: int = SAMPLE_RATE) -> Alignment:
        """See the function `align`."""
        try:
            words = spell(text, self.knows)
        except ImportError:
            raise ConfigurationError(
                "numbers in a text need num2words: pip install 'vqspeech[align]'"
            ) from None
        if not words:
            raise CorpusError("no words in its text")
        if wav.ndim != 1 or not len(wav):
            raise CorpusError(f"a wav of shape {wav.shape} where (samples,) is expected")
        for word in words:
            if not self.knows(word) and word not in self._added:
                self._added[word] = " ".join(pronounce(word, self.look_up)).upper()
        pcm = prepare_sound(wav, sample_rate)
        reason = ""
        for number, search in enumerate(self._searches):
            try:
                entries = self._search(self._decoder(number), words, _noisy(pcm, search.noise))
            except RuntimeError as error:
                reason = f"the words were not found in the sound (pocketsphinx: {error})"
                continue
            found = [_word(entry.name) for entry in entries if not _is_filler(entry.name)]
            if found == words:
                return _alignment(entries, len(wav) / sample_rate)
            reason = _lost(words, found)
        raise CorpusError(f"{reason}; do text and recording belong together?")

    def knows(self, word: str) -> bool:
        """Whether pocketsphinx's dictionary has a word."""
        return word not in self._added and self._dictionary.lookup_word(word) is not None

    def look_up(self, word: str) -> tuple[str, ...] | None:
        """Return the first pronunciation of a word in the dictionary, None if it is not there."""
        if not self.knows(word):
            return None
        return tuple(self._dictionary.lookup_word(word).lower().split())

    def _decoder(self, number: int) -> Any:
        """Return the decoder of one search; loading it takes a quarter of a second."""
        if number not in self._decoders:
            check_installed()
            from pocketsphinx import Decoder

            self._decoders[number] = Decoder(
                lm=None, samprate=SAMPLE_RATE, loglevel="FATAL", **self._searches[number].settings
            )
        return self._decoders[number]

    def _search(self, decoder: Any, words: list[str], pcm: bytes) -> "list[Entry]":
        """Align words, then phones within the words and pronunciations that were found."""
        for word in words:
            if decoder.lookup_word(word) is None:
                decoder.add_word(word, self._added[word], False)
        _forget(decoder)
        decoder.set_align_text(" ".join(words))
        _decode(decoder, pcm)
        decoder.set_alignment()
        _decode(decoder, pcm)
        return [
            Entry(word.name, [(phone.name, phone.start, phone.duration) for phone in word])
            for word in decoder.get_alignment()
        ]


@dataclass(frozen=True)
class Entry:
    """A word or a silence found by pocketsphinx.

    `name` is as its dictionary spells it: ``"the(2)"`` is another pronunciation of "the", ``"<sil>"`` silence. `phones`
    have name, first step and number of steps.
    """

    name: str
    phones: list[tuple[str, int, int]]


def prepare_sound(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Convert a wav to what pocketsphinx takes: int16 (samples,) at 16 kHz, high-passed at `HIGH_PASS_HZ`.

    Rumble and mains hum are loud in some corpora (VCTK), and make silence hard to detect.
    """
    from scipy.signal import butter, sosfiltfilt

    wav = audio.resample(wav, sample_rate, SAMPLE_RATE).astype(np.float64)
    filters = butter(_HIGH_PASS_ORDER, HIGH_PASS_HZ, "highpass", fs=SAMPLE_RATE, output="sos")
    # Forwards and backwards, so that nothing moves in time.
    filtered = sosfiltfilt(filters, wav, padlen=min(3 * len(filters) * 2, len(wav) - 1))
    return audio.to_int16(filtered)


def _noisy(pcm: np.ndarray, amplitude: int) -> bytes:
    """Return little-endian samples, with the same noise for every recording of one length."""
    noise = np.random.default_rng(0).integers(-amplitude, amplitude + 1, len(pcm))
    return np.clip(pcm + noise, -32768, 32767).astype("<i2").tobytes()


def _forget(decoder: Any) -> None:
    """Reset a decoder's state: noise estimate, cepstral means, and likely Gaussians."""
    decoder.reinit_feat()
    # The likely Gaussians are those of the frame before: a few fixed frames of silence reset them.
    decoder.set_align_text("a")
    with contextlib.suppress(RuntimeError):
        _decode(decoder, _BLANK)
    decoder.reinit_feat()


def _decode(decoder: Any, pcm: bytes) -> None:
    decoder.start_utt()
    try:
        decoder.process_raw(pcm, full_utt=True)
    finally:
        decoder.end_utt()


def _is_filler(name: str) -> bool:
    return name.startswith(_FILLERS)


def _word(name: str) -> str:
    return _ALTERNATIVE.sub("", name)


def _lost(asked: list[str], found: list[str]) -> str:
    """Report which words are missing."""
    same = 0
    while same < min(len(asked), len(found)) and asked[same] == found[same]:
        same += 1
    if same == len(asked):
        return "words were found that are not in the text"
    return f"the words from {asked[same]!r} on (word {same + 1} of {len(asked)}) were not found"


def _alignment(entries: Sequence[Entry], end_s: float) -> Alignment:
    """Turn steps into seconds, fill the gaps, and extend the last interval to the end of the sound."""
    words: list[Interval] = []
    phones: list[Interval] = []
    for entry in entries:
        if not entry.phones:
            continue
        silent = _is_filler(entry.name)
        first, (_, last, length) = entry.phones[0][1], entry.phones[-1]
        words.append(_interval(first, last + length, SILENCE if silent else _word(entry.name)))
        for name, start, duration in entry.phones:
            label = SILENCE if silent else to_arpabet(name)
            if label is None:
                raise CorpusError(f"pocketsphinx names a phone {name!r}, which is none of ARPAbet")
            phones.append(_interval(start, start + duration, label))
    return Alignment(list(_covering(words, end_s)), list(_covering(phones, end_s)))


def _interval(first: int, end: int, label: str) -> Interval:
    return Interval(first * STEP_S, end * STEP_S, label)


def _covering(intervals: Sequence[Interval], end_s: float) -> Iterator[Interval]:
    """Yield intervals from 0 to `end_s`: gaps are silence, joined to silence beside them."""
    # The analysis window needs 26 ms of sound: the last steps, without a frame, go to the last interval.
    at_s = 0.0
    pending: Interval | None = None
    for interval in intervals:
        if interval.end_s <= interval.start_s:
            continue
        gap = [Interval(at_s, interval.start_s, SILENCE)] if interval.start_s > at_s else []
        for piece in (*gap, interval):
            if pending and pending.label == piece.label == SILENCE:
                pending = Interval(pending.start_s, piece.end_s, SILENCE)
                continue
            if pending:
                yield pending
            pending = piece
        at_s = interval.end_s
    if pending:
        yield Interval(pending.start_s, end_s, pending.label)


def _units(time_s: float) -> int:
    return round(time_s * UNITS_PER_S)
