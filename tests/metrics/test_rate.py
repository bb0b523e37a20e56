import math

import numpy as np
import pytest

from vqspeech.metrics.ngrams import fit_ngrams
from vqspeech.metrics.rate import LEFT_OUT, bound_bits, code_cost, ngram_bits

TRAIN = [np.array([0, 0, 1]), np.array([0])]
TEST = [np.array([0, 1, 1]), np.array([1])]


def test_the_bound_by_hand() -> None:
    """Codes of 9 bits every 64 samples add 9/64 bit to each; 250 of them a second are 2250 bits."""
    assert bound_bits(2.5, 9.0, 64) == 2.5 + 9 / 64
    cost = code_cost(TRAIN, TEST, 512, hop=64, sample_rate=16000)
    assert (cost.codes, cost.uniform) == (4, 9)
    assert cost.figures(2.5)["uniform"] == {
        "bits_per_code": 9,
        "bits_per_second": 2250,
        "bits_per_sample": 9 / 64,
        "bound_bits_per_sample": 2.5 + 9 / 64,
    }


def test_a_prior_is_read_in_nats() -> None:
    """Nats of each code become mean bits of a code; without a prior they are not known."""
    nats = [np.log([2, 4, 8]), np.log([2])]
    cost = code_cost(TRAIN, TEST, 2, hop=1, sample_rate=1, prior_nats=nats)
    assert cost.prior == pytest.approx((1 + 2 + 3 + 1) / 4)
    assert math.isnan(code_cost(TRAIN, TEST, 2, hop=1, sample_rate=1).prior)
    with pytest.raises(ValueError, match="one value a code"):
        code_cost(TRAIN, TEST, 2, hop=1, sample_rate=1, prior_nats=nats[:1])


def test_what_follows_what_is_worth_bits() -> None:
    """Codes that go round in a circle cost log2 K by their counts and next to nothing by their pairs."""
    circle = [np.arange(400) % 8] * 20
    unigram, bigram = ngram_bits(circle, circle, 8)
    assert unigram == pytest.approx(3)
    assert bigram < 0.05


def test_smoothing_is_chosen_on_what_is_not_counted_then() -> None:
    """It is that of models which did not count every tenth utterance; the counts are those of all."""
    draw = np.random.default_rng(0)
    train = [draw.integers(0, 30, 50) for _ in range(4 * LEFT_OUT)]
    others = [codes for i, codes in enumerate(train) if i % LEFT_OUT]
    fitted = fit_ngrams(others, train[::LEFT_OUT], 30, 1)
    (strength,) = fitted.strengths
    share = (np.bincount(np.concatenate(train), minlength=30) + strength) / (
        50 * len(train) + 30 * strength
    )
    test = draw.integers(0, 30, 100)
    assert ngram_bits(train, [test], 30)[0] == pytest.approx(-np.log2(share[test]).mean())


def test_without_codes_there_is_no_figure() -> None:
    """Nothing to score is nan; nothing to count leaves equal chances; one utterance to count is enough."""
    assert np.isnan(ngram_bits(TRAIN, [], 2)).all()
    assert ngram_bits([], TEST, 2) == (1, 1)
    assert np.isfinite(ngram_bits(TRAIN[:1], TEST, 2)).all()
