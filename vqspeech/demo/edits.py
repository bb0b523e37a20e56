"""Codes as text that a person edits: whole numbers with spaces between them."""

import re

import numpy as np
from numpy.typing import NDArray

from vqspeech.errors import CodesError


def write_codes(codes: NDArray[np.int64]) -> str:
    """Write codes (frames,) as numbers with spaces between them."""
    return " ".join(str(int(code)) for code in codes)


def read_codes(text: str, codebook_size: int, most: int) -> NDArray[np.int64]:
    """Read codes that a person wrote.

    Parameters
    ----------
    text : str
        Numbers with spaces, commas or line breaks between them.
    codebook_size : int
        Codes are below it.
    most : int
        Codes at most.

    Returns
    -------
    ndarray of int64, shape (frames,)
        At least one code.

    Raises
    ------
    CodesError
        There is no code, one that is none, or too many; it says which and where.

    Examples
    --------
    >>> read_codes("3, 3 5", 8, 10).tolist()
    [3, 3, 5]
    """
    words = text.replace(",", " ").split()
    if not words:
        raise CodesError("there are no codes: drop a recording, or write some numbers")
    if len(words) > most:
        raise CodesError(f"{len(words)} codes: at most {most} are decoded here")
    codes = []
    for place, word in enumerate(words, 1):
        # int() alone would read digits of any script, signs and underscores, and fail on thousands of digits.
        code = int(word) if re.fullmatch("[0-9]{1,18}", word) else codebook_size
        if code >= codebook_size:
            raise CodesError(
                f"number {place}, {word[:20]!r}, is no code: codes are whole numbers from 0 to {codebook_size - 1}"
            )
        codes.append(code)
    return np.array(codes, np.int64)


def shuffle_codes(codes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Put codes (frames,) into another order: what remains is how often each comes, as in the shuffled controls."""
    return np.random.default_rng(seed).permutation(codes)
