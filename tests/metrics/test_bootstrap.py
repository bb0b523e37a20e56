import math

import numpy as np

from vqspeech.metrics.bootstrap import interval_95, resampled_ratios


def test_bootstrap_holds_the_truth_about_as_often_as_it_says() -> None:
    """Intervals over utterances that differ cover the true accuracy in about 95 of 100 worlds."""
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        lengths = rng.integers(20, 200, size=60)
        right = rng.binomial(lengths, rng.beta(6, 4, size=60))
        low, high = interval_95(resampled_ratios(right, lengths, rng, resamples=200))
        covered += low <= 0.6 <= high
    assert 88 <= covered <= 100


def test_bootstrap_of_equal_utterances_has_no_width() -> None:
    """Where every utterance scores the same the interval is that score."""
    assert interval_95(resampled_ratios([5, 10], [10, 20], np.random.default_rng(0))) == (0.5, 0.5)


def test_bootstrap_needs_two_utterances() -> None:
    """One utterance tells nothing of how utterances differ; empty ones do not count."""
    ratios = resampled_ratios([5, 0], [10, 0], np.random.default_rng(0))
    assert ratios.size == 0
    assert all(math.isnan(bound) for bound in interval_95(ratios))
