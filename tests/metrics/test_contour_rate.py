"""Contours as symbols, and what these cost."""

from math import log2

import numpy as np
import pytest

from vqspeech.metrics.contour_rate import SYMBOLS, SYMBOLS_PER_S, contour_cost, quantise


def test_symbols_by_hand() -> None:
    """0 is unvoiced, 1 the lowest F0, 24 more an octave; four frames make a symbol, half of them voiced suffice."""
    contour = np.array([0, 0, 0, 60, 60, 0, 60, 0, 120, 120, 120, 120, 400, 400, 400, 400, 240])
    assert quantise(contour.astype(np.float32)).tolist() == [0, 1, 25, SYMBOLS - 1, 0]


def test_a_symbol_is_within_a_quarter_of_a_semitone() -> None:
    """Over the whole range of the tracker."""
    f0 = np.repeat(np.exp2(np.linspace(log2(60), log2(400), 500)), 4).astype(np.float32)
    back = 60 * 2 ** ((quantise(f0) - 1) / 24)
    assert np.abs(12 * np.log2(back / f0[::4])).max() <= 0.25 + 1e-4


def test_what_follows_itself_costs_little_and_chance_costs_all() -> None:
    """A level contour is nearly free under a bigram, one of random symbols costs what uniform ones do."""
    level = [np.full(4000, 60 * 2 ** (i % 5 / 12), np.float32) for i in range(40)]
    cost = contour_cost(level[:30], level[30:])
    assert cost.uniform == pytest.approx(log2(SYMBOLS))
    assert cost.bigram < 0.1 < cost.unigram
    assert cost.symbols == 10_000
    rng = np.random.default_rng(0)
    steps = rng.integers(0, SYMBOLS - 1, (40, 1000))
    drawn = [np.repeat(60 * 2 ** (row / 24), 4).astype(np.float32) for row in steps]
    cost = contour_cost(drawn[:30], drawn[30:])
    assert cost.unigram == pytest.approx(log2(SYMBOLS - 1), abs=0.05)
    assert cost.bits_per_second("unigram") == pytest.approx(SYMBOLS_PER_S * cost.unigram)
