"""Entropy coding of codes: to few bytes and back, as well as a predictor can tell which code comes next.

A `Predictor` gives a probability to every code that may come and is then told which one came. Both sides take the same
steps in the same order, one code at a time, so what it says must be the same on both: what it says is rounded
(`weights`) before a range coder (constriction) uses it, and `AdaptiveUnigram` counts in whole numbers. A code costs
-log2 of its rounded probability, in bits.
"""

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from vqspeech.errors import CodesError

PRECISION = 24
"""Bits of a weight: those of one step sum to 2^24."""

SIGNIFICANT = 6
"""Binary digits of a probability that count."""

LARGEST_CODEBOOK = 1 << 16
"""Different codes at most: two bytes hold one, and each keeps a weight of 1."""

Tick = Callable[[int, int], object]
"""Told codes done and codes in all, after each code."""

_WORD = np.dtype(">u4")
_STATE = 1 << 64
_SLACK_BITS = 1.0


class Predictor(Protocol):
    """What stands before one code of a sequence and knows those before it."""

    def probabilities(self) -> np.ndarray:
        """Return the probability of each code to be the next: float, (codebook_size,), none negative."""

    def push(self, code: int) -> None:
        """Go on to the code after `code`."""


class CodePrior(Protocol):
    """What a model learned over codes offers to be coded with.

    Attributes
    ----------
    codebook_size : int
        Number of different codes.
    codebook_id : str
        16 hexadecimal digits: the codebook whose codes it knows (`Autoencoder.codebook_id`).
    speakers : tuple of str
        Who it knows.
    """

    codebook_size: int
    codebook_id: str
    speakers: tuple[str, ...]

    @property
    def prior_id(self) -> str:
        """16 hexadecimal digits that tell this prior from any other."""

    def predictor(self, speaker: str | None = None) -> Predictor:
        """Return a predictor that stands before the first code; `speaker` says it."""


class AdaptiveUnigram:
    """Probabilities by how often each code came so far; every code begins as likely as any other.

    p(k) = (n_k + 1) / (n + K) for a code that came n_k times among n (Laplace's rule of succession): no side
    information, and whole numbers, so the same on every machine.

    Parameters
    ----------
    codebook_size : int
        K.
    """

    def __init__(self, codebook_size: int) -> None:
        self._counts = np.ones(codebook_size, dtype=np.int64)
        self._total = codebook_size

    def probabilities(self) -> np.ndarray:
        """Return the probability of each code to be the next, float64, (codebook_size,)."""
        return self._counts / self._total

    def push(self, code: int) -> None:
        """Count `code`."""
        self._counts[code] += 1
        self._total += 1


def weights(probabilities: np.ndarray) -> np.ndarray:
    """Round probabilities to whole numbers that sum to 2^24, so that the last bits of arithmetic do not matter.

    Each is first rounded to `SIGNIFICANT` binary digits: two machines whose results differ by a relative 1e-15 then
    disagree on fewer than one value in 10^12. The mean cost is about 1e-4 bits a code.

    Parameters
    ----------
    probabilities : ndarray, shape (codebook_size,)
        None negative; their sum is 1 to within a thousandth.

    Returns
    -------
    ndarray, shape (codebook_size,)
        int64, at least 1 each.

    Raises
    ------
    CodesError
        When they are no probabilities.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    total = p.sum()
    if not (abs(total - 1) < 1e-3 and p.min() >= 0):
        raise CodesError("the prior predicts what are no probabilities: its weights are damaged")
    # From here on every operation is exact or a rounding that IEEE 754 prescribes.
    mantissa, exponent = np.frexp(p)
    digits = np.rint(np.ldexp(mantissa, SIGNIFICANT))
    shares = np.rint(np.ldexp(digits, exponent - SIGNIFICANT + 32)).astype(np.int64)
    spare = (1 << PRECISION) - len(p)
    found = 1 + shares * spare // shares.sum()
    found[np.argmax(found)] += (1 << PRECISION) - found.sum()
    return found


def encode(codes: Sequence[int], predictor: Predictor, progress: Tick | None = None) -> bytes:
    """Code a sequence in as few bytes as the predictor allows, two more at most.

    Parameters
    ----------
    codes : sequence of int
        In [0, codebook_size).
    predictor : Predictor
        Before the first code; it is used up.
    progress : callable, optional
        Called with codes done and codes in all, after each.

    Returns
    -------
    bytes
        At least ``sum(-log2 p) / 8`` long, p the rounded probabilities.
    """
    import constriction

    encoder = constriction.stream.queue.RangeEncoder()
    for i, code in enumerate(codes):
        if len(found := weights(predictor.probabilities())) > 1:
            encoder.encode(int(code), _model(found))
        predictor.push(int(code))
        if progress is not None:
            progress(i + 1, len(codes))
    return _shortest(encoder)


def decode(
    content: bytes,
    length: int,
    predictor: Predictor,
    progress: Tick | None = None,
) -> np.ndarray:
    """Give back the codes that `encode` was given.

    Parameters
    ----------
    content : bytes
        What `encode` returned.
    length : int
        Number of codes.
    predictor : Predictor
        Before the first code, one that says what the predictor of `encode` said; it is used up.
    progress : callable, optional
        Called with codes done and codes in all, after each.

    Returns
    -------
    ndarray, shape (length,)
        uint16.

    Raises
    ------
    CodesError
        When `content` is used up before the last code, or does not belong to the predictor. Other codes than those
        that were encoded may come out as well: keep a checksum of them.
    """
    import constriction

    # zeros beyond the end, which the coder would read as well
    padded = content + bytes(-len(content) % _WORD.itemsize)
    words = np.frombuffer(padded, dtype=_WORD).astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)
    codes = array("H")
    left_bits = 8.0 * len(content) + _SLACK_BITS
    for _ in range(length):
        found = weights(predictor.probabilities())
        code = 0
        if len(found) > 1:
            try:
                code = int(decoder.decode(_model(found)))
            except AssertionError:
                raise CodesError("no code follows from these bytes") from None
            left_bits -= PRECISION - math.log2(found[code])
            if left_bits < 0:
                raise CodesError(f"{len(content)} bytes hold fewer than {length} codes")
        predictor.push(code)
        codes.append(code)
        if progress is not None:
            progress(len(codes), length)
    return np.frombuffer(codes, dtype=np.uint16)


def _model(found: np.ndarray) -> Any:
    """Return constriction's distribution with exactly these weights."""
    import constriction

    # It gives each code one more than its share of 2^24 - K: here the shares are the numbers themselves.
    shares = (found - 1).astype(np.float64)
    return constriction.stream.model.Categorical(shares, perfect=False, lazy=True)


def _shortest(encoder: Any) -> bytes:
    """Return the fewest bytes that mean what the encoder wrote, whatever follows them."""
    position, (lower, width) = encoder.pos()
    if position == 0 and width == _STATE - 1:
        return b""
    written = encoder.get_compressed().astype(_WORD).tobytes()
    # The numbers that decode to these codes are [low, low + width), counted in units of the last byte of the state.
    size = (position + 2) * _WORD.itemsize
    some = int.from_bytes(written.ljust(size, b"\0"), "big")
    low = some - (some - lower) % _STATE
    kept = size
    for dropped in range(1, size + 1):
        unit = 1 << 8 * dropped
        if -(-low // unit) * unit + unit > low + width:
            break
        kept = size - dropped
    unit = 1 << 8 * (size - kept)
    return (-(-low // unit)).to_bytes(kept, "big")
