"""Entropy coding of codes with a predictor of the next code.

A `Predictor` gives a probability for every possible next code and is then updated with the actual one. Encoder and
decoder take the same steps in the same order, one code at a time, so both must get the same probabilities: they are
rounded (`weights`) before a range coder (constriction) uses them, and `AdaptiveUnigram` counts in whole numbers. A code
costs -log2 of its rounded probability, in bits.
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
"""Significant binary digits of a probability."""

LARGEST_CODEBOOK = 1 << 16
"""Largest codebook: a code has two bytes, and each keeps a weight of 1."""

Tick = Callable[[int, int], object]
"""Progress callback: takes codes done and codes in all, after each code."""

_WORD = np.dtype(">u4")
_STATE = 1 << 64
_SLACK_BITS = 1.0


class Predictor(Protocol):
    """The state before one code of a sequence, conditioned on the codes before it."""

    def probabilities(self) -> np.ndarray:
        """Return the probability of each code to be the next: float, (codebook_size,), none negative."""

    def push(self, code: int) -> None:
        """Advance past `code`."""


class CodePrior(Protocol):
    """The interface of a learned prior for entropy coding.

    Attributes
    ----------
    codebook_size : int
        Number of different codes.
    codebook_id : str
        16 hexadecimal digits: the codebook of its codes (`Autoencoder.codebook_id`).
    speakers : tuple of str
        Speakers that it can be conditioned on.
    """

    codebook_size: int
    codebook_id: str
    speakers: tuple[str, ...]

    @property
    def prior_id(self) -> str:
        """16 hexadecimal digits that identify this prior."""

    def predictor(self, speaker: str | None = None) -> Predictor:
        """Return a predictor before the first code, conditioned on `speaker` or unconditional."""


class AdaptiveUnigram:
    """Probabilities from the counts of the codes so far: p(k) = (n_k + 1) / (n + K), Laplace's rule of succession.

    All K codes start equally likely. No side information, and whole numbers, so the same on every machine.
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
    disagree on fewer than one value in 10^12. The mean cost is about 1e-4 bits per code.

    Parameters
    ----------
    probabilities : ndarray, shape (codebook_size,)
        Not negative; their sum is 1 to within a thousandth.

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
    """Encode a sequence; at most two bytes longer than the predictor's information content.

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
    """Decode the codes that `encode` was given.

    Parameters
    ----------
    content : bytes
        From `encode`.
    length : int
        Number of codes.
    predictor : Predictor
        Before the first code, with the same probabilities as that of `encode`; it is used up.
    progress : callable, optional
        Called with codes done and codes in all, after each.

    Returns
    -------
    ndarray, shape (length,)
        uint16.

    Raises
    ------
    CodesError
        When `content` ends before the last code, or does not belong to the predictor. Wrong codes may also pass
        unnoticed: keep a checksum of them.
    """
    import constriction

    # zeros past the end, which the coder would read too
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

    # It gives each code one more than its share of 2^24 - K: here the shares are the weights themselves.
    shares = (found - 1).astype(np.float64)
    return constriction.stream.model.Categorical(shares, perfect=False, lazy=True)


def _shortest(encoder: Any) -> bytes:
    """Return the shortest prefix that decodes alike whatever bytes follow it."""
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
