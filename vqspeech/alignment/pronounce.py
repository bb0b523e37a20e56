"""Pronunciation, in ARPAbet, of a word that the dictionary lacks: by rule for possessives, else by espeak-ng.

Phones are those of `vqspeech.labels.phones`, lower case and without stress.
"""

import functools
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from vqspeech.corpus.espeak import Synthesizer, Voice
from vqspeech.errors import CorpusError
from vqspeech.labels.phones import SILENCE, to_arpabet

_HISSING = {"s", "z", "sh", "zh", "ch", "jh"}
_VOICELESS = {"p", "t", "k", "f", "th"}

# Sounds that are one phone in espeak-ng and two in a dictionary: a vowel with an r or a schwa after it,
# and syllabic consonants. Its NURSE and LETTER vowels are one phone in both.
_SECOND = {"ɹ": ("r",), "ɚ": ("er",), "ə": ("ah",)}
_SYLLABIC = {"əl": ("ah", "l"), "ən": ("ah", "n"), "əm": ("ah", "m")}
_SYLLABIC_MARK = "\u0329"
_STRESS_AND_LENGTH = str.maketrans("", "", "\u02c8\u02cc\u02d0")


def pronounce(
    word: str, look_up: Callable[[str], Sequence[str] | None] = lambda word: None
) -> tuple[str, ...]:
    """Return the phones of a word outside the dictionary, at least one, without silence.

    `word` is in lower case, possibly with an apostrophe; `look_up` returns the phones of a word in the dictionary, else
    None. `CorpusError` if espeakng-loader is not installed, or espeak-ng uses a phone that English lacks.
    """
    if word.endswith("'s") and (stem := look_up(word.removesuffix("'s"))):
        return (*stem, *_possessive(stem[-1]))
    if find_spec("espeakng_loader") is None:
        raise CorpusError(
            f"the word {word!r} is not in the dictionary; to guess how it is said: "
            "pip install 'vqspeech[mini]'"
        )
    phones: list[str] = []
    for piece in _american().transcribe(word):
        found = from_espeak(piece)
        if found is None:
            raise CorpusError(
                f"the word {word!r} is not in the dictionary, and no English word: "
                f"espeak-ng says {piece!r} in it"
            )
        phones += found
    if not phones:
        raise CorpusError(f"the word {word!r} is not in the dictionary, and espeak-ng is silent")
    return tuple(phones)


def from_espeak(piece: str) -> tuple[str, ...] | None:
    """Turn one phone of espeak-ng's English IPA into one or two dictionary phones; None for no phone of English.

    >>> from_espeak("ˈɪɹ"), from_espeak("aɪɚ"), from_espeak("ɜːɹ"), from_espeak("əl")
    (('ih', 'r'), ('ay', 'er'), ('er',), ('ah', 'l'))
    """
    bare = piece.translate(_STRESS_AND_LENGTH)
    if bare in _SYLLABIC:
        return _SYLLABIC[bare]
    whole = to_arpabet(piece)
    if whole is None or whole == SILENCE:
        return None
    if bare.endswith(_SYLLABIC_MARK):
        return ("ah", whole)
    if len(bare) > 1 and whole != "er":
        return (whole, *_SECOND.get(bare[-1], ()))
    return (whole,)


def _possessive(last: str) -> tuple[str, ...]:
    """Return the pronunciation of ``'s`` after a phone."""
    if last in _HISSING:
        return ("ih", "z")
    return ("s",) if last in _VOICELESS else ("z",)


@functools.lru_cache(maxsize=1)
def _american() -> Synthesizer:
    synthesizer = Synthesizer()
    synthesizer.choose(Voice("dictionary", "en-us"))
    return synthesizer
