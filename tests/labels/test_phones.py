# ruff: noqa: RUF001
# The letters that look like others are IPA.

import doctest
import unicodedata
from pathlib import Path

import pytest

from vqspeech.labels import phones
from vqspeech.labels.files import read_labels
from vqspeech.labels.phones import PHONE_INDEX, PHONES, SILENCE, to_arpabet


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


# What english_mfa 3.1 and its US, UK, Indian and Nigerian dictionaries list as their phones.
MFA_SPELLINGS = {
    "ae": "a æ",
    "aa": "aː ɑ ɑː ɒ",
    "ao": "ɒː ɔ",
    "ah": "ɐ ə",
    "er": "ɚ ɜ ɜː ɝ",
    "eh": "e ɛ ɛː",
    "ey": "ej eː",
    "iy": "i iː",
    "ow": "o ow oː əw",
    "uw": "u uː ʉ ʉː",
    "ay": "aj",
    "aw": "aw",
    "oy": "ɔj",
    "ih": "ɪ",
    "uh": "ʊ",
    "p": "p pʰ pʲ pʷ kp",
    "b": "b bʲ ɡb",
    "t": "t tʰ tʲ tʷ ʈ ʈʲ ʈʷ ɾ ɾʲ ʔ",
    "d": "d dʲ ɖ",
    "k": "k kʰ kʷ c cʰ cʷ",
    "g": "ɡ ɡʷ ɟ ɟʷ",
    "f": "f fʲ",
    "v": "v vʲ vʷ ʋ",
    "hh": "h ç",
    "m": "m mʲ m̩ ɱ",
    "n": "n n̩ ɲ ɾ̃",
    "l": "l ɫ ɫ̩ ʎ",
    "ch": "tʃ",
    "jh": "dʒ",
    "th": "t̪ θ",
    "dh": "d̪ ð",
    "s": "s",
    "z": "z",
    "sh": "ʃ",
    "zh": "ʒ",
    "ng": "ŋ",
    "r": "ɹ",
    "w": "w",
    "y": "j",
    "sil": "spn sil",
}
MFA_PHONES = {label: phone for phone, labels in MFA_SPELLINGS.items() for label in labels.split()}


def test_every_phone_of_english_mfa_maps() -> None:
    """Each of the aligner's English phones goes to its phone, and together they reach the whole set."""
    assert {label: to_arpabet(label) for label in MFA_PHONES} == MFA_PHONES
    assert set(MFA_PHONES.values()) == set(PHONES)


def test_every_phone_of_english_us_arpa_maps() -> None:
    """ARPAbet with stress on its vowels, spn and sil."""
    vowels = {phone for phone in PHONES[:-1] if phone[0] in "aeiou"}
    assert len(vowels) == 15
    for phone in PHONES[:-1]:
        spellings = (
            [phone.upper() + stress for stress in "012"] if phone in vowels else [phone.upper()]
        )
        assert {to_arpabet(spelling) for spelling in spellings} == {phone}
    assert to_arpabet("spn") == to_arpabet("sil") == SILENCE


def test_composed_and_decomposed_letters_are_the_same() -> None:
    """A file may write c with cedilla, or a tilde, as one character or as two."""
    for label in ("ç", "ɑ̃", "ɾ̃"):
        forms = {unicodedata.normalize(form, label) for form in ("NFC", "NFD")}
        assert len({to_arpabet(form) for form in forms}) == 1


@pytest.mark.parametrize(
    ("label", "phone"),
    [("AH0_B", "ah"), ("s_S", "s"), ("SIL_E", "sil"), ("tʰ_I", "t"), ("_", "sil")],
)
def test_kaldi_s_position_in_the_word_does_not_matter(label: str, phone: str) -> None:
    """Beginning, inside, end and single are the same phone."""
    assert to_arpabet(label) == phone


@pytest.mark.parametrize(
    "label", ["AH3", "AH0_X", "ʷ", "B_", "q", "click", "ø", "yː", "ʘ", "12", "aɪoʊ"]
)
def test_what_is_no_phone_of_english_is_none(label: str) -> None:
    """Nothing is guessed at, and a stress, position or mark that does not exist is reported, not dropped."""
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
