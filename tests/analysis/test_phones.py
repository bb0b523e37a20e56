# ruff: noqa: RUF001
# The letters that look like others are IPA.

import doctest
from pathlib import Path

import pytest

from vqspeech.analysis import phones
from vqspeech.analysis.labels import read_labels
from vqspeech.analysis.phones import PHONE_INDEX, PHONES, SILENCE, to_arpabet


def test_the_set_is_39_phones_and_silence() -> None:
    """Names are unique, silence is last."""
    assert len(set(PHONES)) == len(PHONES) == 40
    assert PHONES[-1] == SILENCE
    assert [PHONES[PHONE_INDEX[phone]] for phone in PHONES] == list(PHONES)


@pytest.mark.parametrize("phone", PHONES)
def test_arpabet_maps_to_itself(phone: str) -> None:
    """Case and stress digits do not matter."""
    assert {to_arpabet(phone), to_arpabet(phone.upper())} == {phone}
    if phone != SILENCE:
        assert to_arpabet(f"{phone.upper()}1") == phone


@pytest.mark.parametrize("label", ["", "pau", "SIL", "sp", "spn", "#", "_:", "  ", "h#"])
def test_silence_has_many_names(label: str) -> None:
    """Each of them is silence."""
    assert to_arpabet(label) == SILENCE


@pytest.mark.parametrize(
    ("words", "arpabet"),
    [
        ("θ ɹ i tʃ ɪ ɹ z", "th r iy ch ih r z"),  # three cheers
        ("ˈæ p əl", "ae p l"),  # apple
        ("b ˈʌ ʔ n̩", "b ah t n"),  # button
        ("w ˈɔː ɾ ɚ", "w ao t er"),  # water
        ("ˈoʊ v ɚ ð ə", "ow v er dh ah"),  # over the
        ("h ˈɑːɹ t", "hh aa t"),  # heart
        ("f ˈɔːɹ k", "f ao k"),  # fork
        ("n ˈɪɹ", "n ih"),  # near
        ("s k w ˈɛɹ", "s k w eh"),  # square
        ("f ˈaɪɚ", "f ay"),  # fire
        ("n ˈɜː s", "n er s"),  # nurse
        ("t͡ʃ ˈɔɪ s", "ch oy s"),  # choice
        ("d͜ʒ ˈʌ d͡ʒ", "jh ah jh"),  # judge
        ("v ˈɪ ʒ ə n", "v ih zh ah n"),  # vision
        ("ɹ ˈoʊ z ᵻ z", "r ow z ih z"),  # roses
        ("j ˈuː", "y uw"),  # you
        ("ʍ ˈɪ tʃ", "w ih ch"),  # which
        ("l ˈɒ x", "l aa k"),  # loch
        ("t r ˈa p", "t r ae p"),  # trap, Scottish
        ("b ˈa: θ", "b aa th"),  # bath, Scottish
        ("f ˈeː s", "f ey s"),  # face, Scottish
        ("ɡ ˈəʊ t", "g ow t"),  # goat, British
        ("t̪ ˈɔː t", "th ao t"),  # thought, Caribbean
        ("ɑ̃", "aa"),  # ensemble
        ("tʰ pʲ", "t p"),
    ],
)
def test_espeak_words_in_ipa(words: str, arpabet: str) -> None:
    """Words as espeak-ng's English voices say them map phone by phone."""
    assert [to_arpabet(label) for label in words.split()] == arpabet.split()


@pytest.mark.parametrize("label", ["q", "click", "ø", "yː", "ʘ", "12", "aɪoʊ"])
def test_unknown_labels_are_none(label: str) -> None:
    """What is no phone of English is not guessed at."""
    assert to_arpabet(label) is None


def test_every_label_of_the_miniature_corpus_maps(mini_corpus: Path) -> None:
    """No label of the speech made on the spot falls outside the set, and all common phones occur."""
    paths = sorted(mini_corpus.rglob("*.lab"))
    labels = {interval.label for path in paths for interval in read_labels(path)}
    assert [label for label in labels if to_arpabet(label) is None] == []
    assert {to_arpabet(label) for label in labels} >= set(PHONES) - {"oy", "zh"}


def test_every_label_of_the_real_recordings_maps(real_speech: Path) -> None:
    """ARPAbet in lower case with pau, and the public VCTK labels."""
    paths = sorted(real_speech.rglob("*.lab"))
    labels = {interval.label for path in paths for interval in read_labels(path)}
    assert [label for label in labels if to_arpabet(label) is None] == []


def test_examples_in_docstrings_run() -> None:
    """What the documentation shows is what happens."""
    results = doctest.testmod(phones)
    assert results.attempted > 0
    assert results.failed == 0
