"""One phone set for every corpus: the 39 ARPAbet phones of CMUdict without stress, and silence.

Label files spell phones in their own ways; `to_arpabet` folds them all into this set. Choices:

- Reduced vowels go to the full vowel CMUdict writes for them: schwa to ``ah``, barred i to ``ih``.
- A vowel that ends in an r or a schwa but is one label, as espeak-ng writes NEAR, SQUARE, NORTH, START, CURE and FIRE,
  goes to the phone of its nucleus, where most of its frames are. NURSE and the ending of LETTER are ``er``.
- Syllabic consonants go to the consonant; flap and glottal stop go to ``t``; the ends of LOCH and LLAN, foreign to the
  set, go to ``k`` and ``l``.
- Accents: a vowel goes to the phone of the word class espeak-ng's English voices use it for, so Scottish ``oː`` (GOAT)
  is ``ow`` and Caribbean dental ``t̪`` (THIN) is ``th``.
- The Montreal Forced Aligner's English phones (english_mfa 3.1, of US, British, Indian and Nigerian dictionaries) agree
  with these. Its own are ``ɒː`` (THOUGHT: ``ao``), palatal and retroflex stops and nasals, which go to the English
  ones, and the nasal flap of WINTER, ``n``. Its ``spn``, noise or a word without pronunciation, is silence.
- TIMIT's closures go to their stops, since other label files have no boundary between the two; its epenthetic silence
  is silence, its nasal flap ``n``.
- SAMPA, in which case carries the phone, is distinguished from ARPAbet by its type (`Sampa`).
"""

# ruff: noqa: RUF001
# The ambiguous letters are IPA.

import functools
import re
import unicodedata

SILENCE = "sil"
PHONES: tuple[str, ...] = (
    *("iy", "ih", "ey", "eh", "ae", "aa", "ao", "ow", "uh", "uw", "ah", "er", "ay", "aw", "oy"),
    *("p", "b", "t", "d", "k", "g", "ch", "jh", "f", "v", "th", "dh", "s", "z", "sh", "zh", "hh"),
    *("m", "n", "ng", "l", "r", "w", "y"),
    SILENCE,
)
PHONE_INDEX: dict[str, int] = {phone: index for index, phone in enumerate(PHONES)}

_SILENCES = {"", "#", "h#", "_", "_:", "_|", "epi", "pau", "sil", "sp", "spn", "ssil"}
_SILENCES |= {"<p:>", "<p>", "<usb>", "<nib>"}  # WebMAUS: pause, noise

# The reduced and syllabic phones of older ARPAbet lists, as HTS and TIMIT label files have them.
_ARPABET_VARIANTS = {
    **{"ax": "ah", "axr": "er", "ix": "ih", "ux": "uw", "hv": "hh", "dx": "t"},
    **{"el": "l", "em": "m", "en": "n", "eng": "ng", "nx": "n", "ax-h": "ah"},
    **{f"{stop}cl": stop for stop in "bdgptk"},
}

# X-SAMPA (Wells 1995) of the English languages of WebMAUS; what is not here is the same letter in IPA.
_SAMPA = {
    **{"A": "ɑ", "{": "æ", "Q": "ɒ", "V": "ʌ", "O": "ɔ", "E": "ɛ", "I": "ɪ", "U": "ʊ", "@": "ə"},
    **{"3": "ɜ", "6": "ɐ", "}": "ʉ", "1": "ɨ", "2": "ø", "9": "œ", "Y": "ʏ", "M": "ɯ"},
    **{"S": "ʃ", "Z": "ʒ", "T": "θ", "D": "ð", "N": "ŋ", "J": "ɲ", "4": "ɾ", "?": "ʔ", "C": "ç"},
    **{"x": "x", "X": "χ", "W": "ʍ", "r\\": "ɹ", "r`": "ɻ", "l`": "ɭ", "t`": "ʈ", "d`": "ɖ"},
    **{"@`": "ɚ", "3`": "ɝ", "h\\": "ɦ", "5": "ɫ", "l_G": "ɫ", "g": "ɡ", ":": "ː", "=": "\u0329"},
    **{'"': "ˈ", "%": "ˌ", "~": "\u0303", "_h": "ʰ", "_j": "ʲ", "_w": "ʷ", "-": ""},
}
_SAMPA_SIGN = re.compile("|".join(map(re.escape, sorted(_SAMPA, key=len, reverse=True))))

# Spellings have no stress, tie or syllabic marks, and a length mark only where it changes the vowel.
_IPA_SPELLINGS = {
    "iy": "i iə iɹ",
    "ih": "ɪ ɪə ɪɹ ᵻ ɨ",
    "ey": "eɪ ei eː ej",
    "eh": "ɛ ɛə ɛɹ e eə",
    "ae": "æ a",
    "aa": "ɑ ɑə ɑɹ ɒ aː aa",
    "ao": "ɔ ɔə ɔɹ oə oɹ ɒː",
    "ow": "o oʊ əʊ ʌʊ əw",
    "uh": "ʊ ʊə ʊɹ",
    "uw": "u ʉ ʉɹ əu",
    "ah": "ʌ ə ɐ",
    "er": "ɜ ɜɹ ɚ ɝ ʌɹ əɹ əɪ",
    "ay": "aɪ aɪə aɪɚ aj",
    "aw": "aʊ aʊə aʊɚ æʊ ʌʉ",
    "oy": "ɔɪ oɪ ɔj",
    "p": "p kp",
    "b": "b ɡb",
    "t": "t ɾ ʔ ʈ",
    "d": "d ɖ",
    "k": "k x c",
    "g": "ɡ g ɟ",
    "ch": "tʃ",
    "jh": "dʒ",
    "f": "f",
    "v": "v ʋ",
    "th": "θ t̪",
    "dh": "ð d̪",
    "s": "s",
    "z": "z",
    "sh": "ʃ",
    "zh": "ʒ",
    "hh": "h ɦ ç",
    "m": "m əm ɱ",
    "n": "n ən ɲ ɾ̃",
    "ng": "ŋ",
    "l": "l ɫ ɬ əl ʎ",
    "r": "ɹ r ɻ",
    "w": "w ʍ",
    "y": "j ʲ",
}
_IPA = {
    unicodedata.normalize("NFC", ipa): phone
    for phone, spellings in _IPA_SPELLINGS.items()
    for ipa in spellings.split()
}

# Stress, ties, syllabic and non-syllabic marks, nasalisation, aspiration, palatalisation, rounding:
# none changes the phone.
_MARKS = re.compile(
    "[\u02c8\u02cc'\u0361\u035c\u0329\u032f\u0303\u02b0\u200d]|(?<=.)[\u02b2\u02b7]"
)

# Where in its word a phone is, as Kaldi writes it: beginning, inside, end, single.
_KALDI_POSITION = re.compile("(?<=.)_[bies]$")


class Sampa(str):
    """A label in SAMPA or X-SAMPA, as WebMAUS writes it: elsewhere ``S`` is ``s``, here it is ``ʃ``."""

    __slots__ = ()


def sampa_to_ipa(label: str) -> str:
    """Convert one English phone of SAMPA or X-SAMPA to IPA; labels of pauses (``"<p:>"``) stay as they are.

    >>> sampa_to_ipa("tS"), sampa_to_ipa("{"), sampa_to_ipa("3:")
    ('tʃ', 'æ', 'ɜː')
    """
    if label.startswith("<") or label.lower() in _SILENCES:
        return str(label)
    return _SAMPA_SIGN.sub(lambda sign: _SAMPA[sign[0]], label)


@functools.lru_cache(maxsize=1024, typed=True)
def to_arpabet(label: str) -> str | None:
    """Fold a label into the phone set.

    Parameters
    ----------
    label : str
        ARPAbet in any case with or without a stress digit (``"AH0"``), one of the usual names of silence (``"pau"``,
        ``""``), or one phone of espeak-ng's or the Montreal Forced Aligner's English IPA with or without stress and
        length marks (``"ˈɑːɹ"``, ``"tʷ"``). Kaldi's marks of the place in the word are ignored (``"AH0_B"``). A `Sampa`
        is read as SAMPA.

    Returns
    -------
    str or None
        One of ``PHONES``; None for any other label, which the caller reports.

    Examples
    --------
    >>> to_arpabet("AH0"), to_arpabet("ˈoʊ"), to_arpabet("pau"), to_arpabet("click")
    ('ah', 'ow', 'sil', None)
    """
    if isinstance(label, Sampa):
        label = sampa_to_ipa(label)
    name = _KALDI_POSITION.sub("", label.strip().lower())
    if name in _SILENCES:
        return SILENCE
    arpabet = re.sub(r"(?<=[a-z])[0-2]$", "", name)
    arpabet = _ARPABET_VARIANTS.get(arpabet, arpabet)
    if arpabet in PHONE_INDEX:
        return arpabet
    ipa = unicodedata.normalize("NFC", name.replace(":", "ː"))
    bare = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", ipa)))
    return _IPA.get(ipa) or _IPA.get(bare) or _IPA.get(bare.replace("ː", ""))
