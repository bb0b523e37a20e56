"""English text normalisation: spoken words in lower case, numbers and abbreviations spelled out.

A word is letters and apostrophes, or a letter with its full stop (``"b."``), which is how dictionaries write its name.
Among several spellings the dictionary decides.
"""

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal

# "st" is in neither table: the dictionary has saint and street, and the sound decides.
_SHORT = {
    **{"mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor"},
    **{"messrs": "messers", "vs": "versus"},
}
# Words of their own without the full stop.
_SHORT_WITH_STOP = {
    **{"rev": "reverend", "hon": "honorable", "gov": "governor", "gen": "general"},
    **{"col": "colonel", "capt": "captain", "lt": "lieutenant", "sgt": "sergeant"},
    **{"cpl": "corporal", "maj": "major", "sen": "senator", "rep": "representative"},
    **{"jr": "junior", "sr": "senior", "ave": "avenue", "blvd": "boulevard", "rd": "road"},
    **{"mt": "mount", "ft": "feet", "lb": "pounds", "lbs": "pounds", "oz": "ounces"},
    **{"hr": "hour", "hrs": "hours", "approx": "approximately", "dept": "department"},
    **{"jan": "january", "feb": "february", "aug": "august", "sept": "september"},
    **{"oct": "october", "nov": "november", "dec": "december", "vol": "volume"},
    **{"inc": "incorporated", "ltd": "limited", "corp": "corporation"},
}
_LETTERS_WITH_STOPS = {"e.g.": "for example", "i.e.": "that is"}
_SYMBOLS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "°": "degrees"}
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
}
_SCALES = "hundred|thousand|million|billion|trillion"

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_MONEY = re.compile(rf"([$£€])({_NUMBER})(?:\s+({_SCALES})\b)?", re.IGNORECASE)
_NUMERO = re.compile(r"\bno\.\s*(?=\d)", re.IGNORECASE)
_ORDINAL = re.compile(r"(\d+(?:,\d{3})*)(?:st|nd|rd|th)\b", re.IGNORECASE)
_DECADE = re.compile(r"\b(1[1-9]\d0|20\d0)'?s\b")
_CLOCK = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)\b")
_PLAIN = re.compile(rf"(?<![\w.])(-)?({_NUMBER})|\d+")
_YEAR = re.compile(r"1[1-9]\d\d|20[1-9]\d")
_INITIALS = re.compile(r"(?:[a-z]\.)+[a-z]\.?|[a-z]\.")
_TOKEN = re.compile(r"[^\W\d_](?:[^\W\d_]|['.\-])*|'[^\W\d_](?:[^\W\d_]|['.\-])*")


def spell(text: str, known: Callable[[str], bool] = lambda word: False) -> list[str]:
    """Return the words, in lower case, that are spoken when the English `text` is read aloud.

    Years are read as years ("nineteen ninety"), sums of money with their currency, decimals digit by digit, by
    num2words (`ImportError` where there are digits and it is missing). A hyphenated word is split where the dictionary
    (`known`) has every part, or lacks the whole; initials stay whole where it has them. Punctuation and accents are
    dropped.

    >>> spell("Dr. Smith doesn't owe £3 – he's 21!")
    ['doctor', 'smith', "doesn't", 'owe', 'three', 'pounds', "he's", 'twenty', 'one']
    """
    text = re.sub("[\u2018\u2019\u02bc\u0060\u00b4]", "'", text)
    text = re.sub("[\u2010\u2011]", "-", text)
    decomposed = unicodedata.normalize("NFKD", text)
    text = "".join(c for c in decomposed if not unicodedata.combining(c))
    text = _digits_to_words(text)
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, f" {word} ")
    words: list[str] = []
    for token in _TOKEN.findall(text.lower()):
        words += _spell_token(token, known)
    return words


def _spell_token(token: str, known: Callable[[str], bool]) -> list[str]:
    """Return the words of one run of letters, apostrophes, hyphens and full stops."""
    if token in _LETTERS_WITH_STOPS:
        return _LETTERS_WITH_STOPS[token].split()
    if _INITIALS.fullmatch(token):
        whole = token if token.endswith(".") else f"{token}."
        return [whole] if known(whole) else [f"{letter}." for letter in token if letter.isalpha()]
    bare = token.rstrip(".-")
    if bare in _SHORT:
        return [_SHORT[bare]]
    if token.startswith(f"{bare}.") and bare in _SHORT_WITH_STOP:
        return [_SHORT_WITH_STOP[bare]]
    # The dictionary is wrong about some compounds whose parts it has right: smooth-shaven with the th of three.
    compound = [part for part in bare.strip("'").split("-") if part]
    if len(compound) > 1 and all(map(known, compound)):
        return compound
    # A quotation mark looks like the apostrophe of 'tis and dogs'; the dictionary decides.
    for candidate in (bare, bare.rstrip("'"), bare.lstrip("'"), bare.strip("'")):
        if known(candidate):
            return [candidate]
    bare = bare.strip("'")
    parts = [part for part in re.split(r"[-.]+", bare) if part]
    if len(parts) > 1:
        return [word for part in parts for word in _spell_token(part, known)]
    return parts


def _digits_to_words(text: str) -> str:
    """Spell out everything with digits, special forms before plain ones."""
    if not any(character.isdigit() for character in text):
        return text
    from num2words import num2words

    def money(match: re.Match[str]) -> str:
        symbol, number, scale = match.groups()
        one, many, _, _ = _CURRENCIES[symbol]
        amount = Decimal(number.replace(",", ""))
        if scale:
            return f" {num2words(amount)} {scale} {many} "
        whole = int(amount)
        fraction = int((amount - whole) * 100)
        spoken = _counted(whole, one, many) if whole or not fraction else ""
        if fraction:
            spoken += " and " if spoken else ""
            spoken += _counted(fraction, *_CURRENCIES[symbol][2:])
        return f" {spoken} "

    def _counted(count: int, one: str, many: str) -> str:
        return f"{num2words(count)} {one if count == 1 else many}"

    def ordinal(match: re.Match[str]) -> str:
        return f" {num2words(int(match[1].replace(',', '')), to='ordinal')} "

    def decade(match: re.Match[str]) -> str:
        year = str(num2words(int(match[1]), to="year"))
        return f" {year[:-1]}ies " if year.endswith("y") else f" {year}s "

    def clock(match: re.Match[str]) -> str:
        hours, minutes = int(match[1]), int(match[2])
        if minutes == 0:
            return f" {num2words(hours)} o'clock "
        return f" {num2words(hours)} {'oh ' if minutes < 10 else ''}{num2words(minutes)} "

    def plain(match: re.Match[str]) -> str:
        minus, digits = match[1], match[2] or match[0]
        if digits.isdigit() and len(digits) > 1 and digits[0] == "0":
            return f" {' '.join(num2words(int(digit)) for digit in digits)} "
        if _YEAR.fullmatch(digits) and not minus:
            return f" {num2words(int(digits), to='year')} "
        return f" {'minus ' if minus else ''}{num2words(Decimal(digits.replace(',', '')))} "

    text = _NUMERO.sub("number ", text)
    for pattern, say in (
        (_MONEY, money),
        (_ORDINAL, ordinal),
        (_DECADE, decade),
        (_CLOCK, clock),
        (_PLAIN, plain),
    ):
        text = pattern.sub(say, text)
    return text
