"""Words that the dictionary lacks."""

# ruff: noqa: RUF001
# The letters that look like others are IPA.

import pytest

from vqspeech.alignment import pronounce as module
from vqspeech.alignment.pronounce import from_espeak, pronounce
from vqspeech.errors import CorpusError

WORDS = {"cat": ("k", "ae", "t"), "dog": ("d", "ao", "g"), "church": ("ch", "er", "ch")}


@pytest.mark.parametrize(
    ("word", "phones"),
    [("cat's", "k ae t s"), ("dog's", "d ao g z"), ("church's", "ch er ch ih z")],
)
def test_a_possessive_follows_the_last_sound(word: str, phones: str) -> None:
    """After a hiss, a voiceless and a voiced sound 's is three different things."""
    assert pronounce(word, WORDS.get) == tuple(phones.split())


@pytest.mark.parametrize(
    ("piece", "phones"),
    [
        ("ˈɪɹ", "ih r"),
        ("ˌɔːɹ", "ao r"),
        ("ˈaɪɚ", "ay er"),
        ("ɜːɹ", "er"),
        ("ɚ", "er"),
        ("əl", "ah l"),
        ("n̩", "ah n"),
        ("ˈoʊ", "ow"),
        ("tʃ", "ch"),
        ("ə", "ah"),
    ],
)
def test_one_sound_of_espeak_may_be_two_phones(piece: str, phones: str) -> None:
    """Vowels before r and syllabic consonants are divided as the dictionary divides them."""
    assert from_espeak(piece) == tuple(phones.split())


def test_what_is_no_phone_of_english_is_none() -> None:
    """A click, a pause and a language switch have no phones."""
    assert from_espeak("ǃ") is None
    assert from_espeak("_:") is None
    assert from_espeak("(ru)") is None


def test_espeak_guesses_a_word() -> None:
    """An invented word gets the phones its spelling suggests."""
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader (the extra `mini`)")
    assert pronounce("zorblax") == ("z", "ao", "r", "b", "l", "ae", "k", "s")


def test_without_espeak_the_word_and_the_extra_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says which word and what to install."""
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(CorpusError, match=r"'zorblax' is not in the dictionary.*vqspeech\[mini\]"):
        pronounce("zorblax")
