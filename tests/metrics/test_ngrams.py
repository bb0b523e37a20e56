"""Statistics of sequences, on examples worked out by hand."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from vqspeech.metrics.ngrams import (
    STRENGTHS,
    NGrams,
    coarse,
    count_ngrams,
    fit_ngrams,
    jensen_shannon,
    spaced,
    windows_of,
)


def _row(*codes: int) -> NDArray[np.int64]:
    return np.array(codes, np.int64)


def test_windows_begin_with_the_start_symbol() -> None:
    """Every code has as many before it as the order asks, none of another sequence."""
    found = windows_of([_row(0, 1), _row(), _row(2)], 3, 3)
    assert found.tolist() == [[3, 3, 0], [3, 0, 1], [3, 3, 2]]
    assert windows_of([], 3, 2).shape == (0, 2)


@pytest.mark.parametrize("codes", [(0, 3), (-1,)])
def test_codes_out_of_range(codes: tuple[int, ...]) -> None:
    """A code that there is not is no code."""
    with pytest.raises(ValueError, match=r"not in \[0, 3\)"):
        windows_of([_row(*codes)], 3, 1)


def test_counts() -> None:
    """Of 0 1 0 1 the pair (0, 1) comes twice, (1, 0) once, and 0 begins; keys are of base 3."""
    keys, counts = count_ngrams([_row(0, 1, 0, 1)], 2, 2)
    assert dict(zip(keys.tolist(), counts.tolist(), strict=True)) == {1: 2, 3: 1, 6: 1}
    with pytest.raises(ValueError, match="63 bits"):
        count_ngrams([_row(0)], 2**16, 4)


def _model(strengths: tuple[float, ...]) -> NGrams:
    sequences = [_row(0, 1, 0, 1)]
    tables = tuple(count_ngrams(sequences, 2, order + 1) for order in range(len(strengths)))
    return NGrams(2, strengths, tables)


def test_smoothed_probabilities() -> None:
    """The formula, by hand: p(1 | 0) = (2 + a p(1)) / (2 + a), p(1) = (2 + b) / (4 + 2 b)."""
    model = _model((1.0, 3.0))
    p1 = (2 + 1) / (4 + 2)
    assert model.shorter(1).following(())[1] == pytest.approx(p1)
    assert model.following((0,))[1] == pytest.approx((2 + 3 * p1) / (2 + 3))
    assert model.following((1,))[1] == pytest.approx((0 + 3 * p1) / (1 + 3))
    # the start symbol is a context, and no code
    assert model.following((2,))[0] == pytest.approx((1 + 3 * (1 - p1)) / (1 + 3))


def test_distributions_sum_to_one() -> None:
    """Whatever the context, seen or not."""
    rng = np.random.default_rng(0)
    model = fit_ngrams([rng.integers(5, size=300)], [rng.integers(5, size=100)], 5, 3)
    for context in [(0, 0), (4, 1), (5, 5), (5, 2)]:
        assert model.following(context).sum() == pytest.approx(1)
        assert (model.following(context) > 0).all()


def test_bits() -> None:
    """-log2 of the probabilities on average; nothing has none."""
    model = _model((1.0, 3.0))
    expected = -np.log2([model.following((2,))[1], model.following((1,))[1]]).mean()
    assert model.bits([_row(1, 1)]) == pytest.approx(expected)
    assert math.isnan(model.bits([]))


def _cycle(length: int, seed: int) -> NDArray[np.int64]:
    """0 1 2 0 1 2 with one code in ten drawn at random."""
    rng = np.random.default_rng(seed)
    codes = np.arange(length) % 3
    return np.where(rng.random(length) < 0.1, rng.integers(3, size=length), codes)


def test_order_helps_where_there_is_order() -> None:
    """A cycle costs log2 3 bits without context and few with it; noise always costs log2 3."""
    counted, chosen, judged = ([_cycle(3000, seed)] for seed in range(3))
    model = fit_ngrams(counted, chosen, 3, 2)
    assert model.shorter(1).bits(judged) == pytest.approx(math.log2(3), abs=0.01)
    assert model.bits(judged) < 1.0
    assert all(strength in STRENGTHS for strength in model.strengths)
    noise = [np.random.default_rng(seed).integers(3, size=3000) for seed in range(3)]
    model = fit_ngrams(noise[:1], noise[1:2], 3, 2)
    assert model.bits(noise[2:]) == pytest.approx(math.log2(3), abs=0.01)


def test_strengths_are_chosen_on_other_sequences() -> None:
    """Few counts are trusted less than many."""
    rng = np.random.default_rng(0)
    few = rng.integers(20, size=60)
    chosen = [rng.integers(20, size=2000)]
    assert fit_ngrams([few], chosen, 20, 2).strengths[1] > 100
    alike = fit_ngrams([_cycle(20_000, 0)], [_cycle(2000, 1)], 3, 2)
    assert alike.strengths[1] < 100


def test_what_a_model_draws_is_like_what_it_counted() -> None:
    """Bigrams of a long draw are those of the model; the same generator gives the same codes."""
    counted = [_cycle(5000, 0)]
    model = fit_ngrams(counted, [_cycle(5000, 1)], 3, 2)
    drawn = model.sample(5000, np.random.default_rng(3))
    assert jensen_shannon([drawn], counted, 3, 2) < 0.002
    assert np.array_equal(drawn, model.sample(5000, np.random.default_rng(3)))
    assert model.sample(0, np.random.default_rng(3)).shape == (0,)


def test_jensen_shannon() -> None:
    """0 for the same shares, 1 for nothing in common, between by hand: H(1/4, 3/4) - 1/2 for a half and a whole."""
    one, other, mixed = [_row(0, 0)], [_row(1, 1)], [_row(0, 1)]
    assert jensen_shannon(one, one, 2, 1) == 0
    assert jensen_shannon(one, [_row(0)], 2, 1) == 0
    assert jensen_shannon(one, other, 2, 1) == pytest.approx(1)
    by_hand = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)) - 0.5
    assert jensen_shannon(one, mixed, 2, 1) == pytest.approx(by_hand)
    assert jensen_shannon(mixed, one, 2, 1) == pytest.approx(by_hand)
    assert math.isnan(jensen_shannon([], one, 2, 1))


def test_coarse() -> None:
    """Each code becomes its class."""
    assert [c.tolist() for c in coarse([_row(0, 2, 1), _row()], [5, 6, 5])] == [[5, 5, 6], []]


def test_spaced() -> None:
    """Every code is in one of the parts, beside those so many frames before and after it."""
    found = [c.tolist() for c in spaced([_row(0, 1, 2, 3, 4), _row(7)], 2)]
    assert found == [[0, 2, 4], [1, 3], [7], []]
