import math

import numpy as np
import pytest
from bigram_prior import BigramPrior
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.codes import entropy
from vqspeech.codes.entropy import AdaptiveUnigram, Predictor
from vqspeech.errors import CodesError


class Steady:
    """A predictor that says the same before every code."""

    def __init__(self, *probabilities: float) -> None:
        self.p = np.array(probabilities)

    def probabilities(self) -> np.ndarray:
        return self.p

    def push(self, code: int) -> None:
        pass


@st.composite
def sequences(draw: st.DrawFn) -> tuple[int, list[int]]:
    size = draw(st.one_of(st.integers(1, 20), st.sampled_from([512, 4096, 65536])))
    return size, draw(st.lists(st.integers(0, size - 1), max_size=60))


def ideal_bits(codes: list[int], predictor: Predictor) -> float:
    """Bits of the codes by the probabilities themselves."""
    total = 0.0
    for code in codes:
        total -= math.log2(predictor.probabilities()[code])
        predictor.push(code)
    return total


@given(sequences())
def test_any_codes_come_back(case: tuple[int, list[int]]) -> None:
    """Whatever the codes and the size of their codebook, decoding undoes encoding."""
    size, codes = case
    content = entropy.encode(codes, AdaptiveUnigram(size))
    assert entropy.decode(content, len(codes), AdaptiveUnigram(size)).tolist() == codes


@given(st.lists(st.integers(0, 2), max_size=300), st.binary(max_size=12))
def test_what_follows_the_bytes_does_not_matter(codes: list[int], more: bytes) -> None:
    """The bytes are complete by themselves: their codes come out whatever stands behind them."""
    content = entropy.encode(codes, Steady(0.25, 0.5, 0.25))
    assert entropy.decode(content + more, len(codes), Steady(0.25, 0.5, 0.25)).tolist() == codes
    assert len(content) <= sum(2 - (code == 1) for code in codes) / 8 + 2


@pytest.mark.parametrize("last", [0, 1, 2])
def test_a_carry_that_stays_open_for_long(last: int) -> None:
    """An interval that lies across the middle leaves every written digit undecided until the last code."""
    codes = [1] * 800 + [last]
    content = entropy.encode(codes, Steady(0.25, 0.5, 0.25))
    assert 100 <= len(content) <= 102
    assert entropy.decode(content, len(codes), Steady(0.25, 0.5, 0.25)).tolist() == codes


@pytest.mark.parametrize("seed", range(5))
def test_a_learned_prior_costs_its_cross_entropy(seed: int) -> None:
    """Two bytes more at most than the bits of the codes under the prior, rounded probabilities and all."""
    prior = BigramPrior(64)
    codes = prior.draw(2000, seed)
    content = entropy.encode(codes, prior.predictor())
    bits = ideal_bits(codes, prior.predictor())
    assert bits * (1 - 1e-4) <= 8 * len(content) <= bits * (1 + 1e-4) + 16
    assert entropy.decode(content, len(codes), prior.predictor()).tolist() == codes


def test_the_adaptive_unigram_counts_by_the_rule_of_succession() -> None:
    """By hand: after codes 0 0 1 of three, they have come 2, 1 and 0 times, which makes 3/6, 2/6 and 1/6."""
    unigram = AdaptiveUnigram(3)
    assert unigram.probabilities().tolist() == [1 / 3] * 3
    for code in (0, 0, 1):
        unigram.push(code)
    assert unigram.probabilities().tolist() == [3 / 6, 2 / 6, 1 / 6]


@pytest.mark.parametrize(("size", "spread"), [(2, 1.0), (128, 0.05), (512, 0.05), (512, 1.0)])
def test_rounding_costs_next_to_nothing(size: int, spread: float) -> None:
    """Weights are whole numbers that sum to 2^24, and the divergence of their distribution is below 1e-4 bits."""
    draw = np.random.default_rng(0)
    lost = []
    for _ in range(100):
        p = np.maximum(draw.dirichlet(np.full(size, spread)), 1e-30)
        found = entropy.weights(p)
        assert (found.dtype, found.sum(), found.min() >= 1) == (np.int64, 1 << 24, True)
        lost.append(float((p * np.log2(p * (1 << 24) / found)).sum()))
    assert np.mean(lost) < 1e-4


def test_arithmetic_that_differs_in_its_last_bits_gives_the_same_weights() -> None:
    """A relative 1e-14, more than orders of summation make in double precision, changes none of 256,000 values."""
    draw = np.random.default_rng(0)
    for _ in range(500):
        p = draw.dirichlet(np.full(512, 0.1)) + 1e-12
        p /= p.sum()
        other = p * (1 + 1e-14 * draw.normal(size=512))
        assert (entropy.weights(p) == entropy.weights(other)).all()


@pytest.mark.parametrize(
    "values", [[math.nan, 1], [math.inf, 0], [-0.5, 1.5], [0.5, 0.4], [2, 2], [0, 0]]
)
def test_what_are_no_probabilities_is_refused(values: list[float]) -> None:
    """Damaged weights of a prior end in an error, not in codes."""
    with pytest.raises(CodesError, match="no probabilities"):
        entropy.weights(np.array(values))


def test_a_length_beyond_the_bytes_ends_at_once() -> None:
    """Whoever asks for 10^12 codes of a few bytes is told so after no more than the bytes can hold."""
    content = entropy.encode([0, 1, 2, 0], Steady(0.25, 0.5, 0.25))
    with pytest.raises(CodesError, match="hold fewer"):
        entropy.decode(content, 10**12, Steady(0.25, 0.5, 0.25))


@given(st.binary(max_size=40))
def test_any_bytes_are_codes_or_an_error(content: bytes) -> None:
    """Garbage decodes to codes of the codebook or raises CodesError."""
    try:
        codes = entropy.decode(content, 30, AdaptiveUnigram(7))
    except CodesError:
        return
    assert codes.max() < 7


def test_progress_counts_every_code() -> None:
    """Both sides tell each code done, out of how many."""
    codes = [0, 1, 1]
    told: list[tuple[int, int]] = []
    content = entropy.encode(codes, AdaptiveUnigram(2), lambda *at: told.append(at))
    entropy.decode(content, 3, AdaptiveUnigram(2), lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)] * 2
