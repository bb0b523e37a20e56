import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from vqspeech.metrics.contingency import (
    bit_rate,
    cluster_purity,
    collapse_runs,
    contingency,
    entropy,
    majority_share,
    map_codes,
    mutual_information,
    perplexity,
    phone_purity,
    pnmi,
    shuffle_within,
    v_measure,
)

# Two phones, three codes, six frames: two codes know their phone, the third one nothing.
WORKED = np.array([[2, 0, 1], [0, 2, 1]])
ONE_CODE = np.array([[0, 3, 0], [0, 1, 0]])
IDENTICAL = np.diag([4, 1, 7])

SUMMARIES = [phone_purity, cluster_purity, pnmi, v_measure, entropy, mutual_information]


@pytest.mark.parametrize(
    ("score", "counts", "expected"),
    [
        (phone_purity, WORKED, 5 / 6),
        (cluster_purity, WORKED, 4 / 6),
        (mutual_information, WORKED, 2 / 3),
        (pnmi, WORKED, 2 / 3),
        (v_measure, WORKED, (4 / 3) / (1 + math.log2(3))),
        (entropy, WORKED.sum(axis=0), math.log2(3)),
        (perplexity, WORKED.sum(axis=0), 3.0),
        (phone_purity, ONE_CODE, 3 / 4),
        (cluster_purity, ONE_CODE, 1.0),
        (mutual_information, ONE_CODE, 0.0),
        (pnmi, ONE_CODE, 0.0),
        (v_measure, ONE_CODE, 0.0),
        (perplexity, ONE_CODE.sum(axis=0), 1.0),
        (phone_purity, IDENTICAL, 1.0),
        (cluster_purity, IDENTICAL, 1.0),
        (pnmi, IDENTICAL, 1.0),
        (v_measure, IDENTICAL, 1.0),
        (v_measure, [[5]], 1.0),
        (majority_share, [3, 1, 3, 3], 0.75),
        # six symbols in two seconds; a code that is always the same needs no bits
        (partial(bit_rate, duration_s=2.0), [2, 2, 2], 3 * math.log2(3)),
        (partial(bit_rate, duration_s=2.0), [0, 9, 0], 0.0),
    ],
)
def test_scores_worked_by_hand(score, counts, expected) -> None:
    """Counts small enough for paper give the values found there."""
    assert score(counts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("phones", "codes", "expected"),
    [([0, 0, 0, 1, 1, 1], [0, 2, 0, 1, 1, 2], WORKED.tolist()), ([], [], [[0] * 3] * 2)],
)
def test_contingency_counts_frames(phones, codes, expected) -> None:
    """Cell (i, j) is how often phone i met code j."""
    counts = contingency(phones, codes, 2, 3)
    assert counts.dtype == np.int64
    assert counts.tolist() == expected


@pytest.mark.parametrize(
    ("phones", "codes", "complaint"),
    [
        ([0, 1], [0], "one each a frame"),
        ([0, 2], [0, 1], "phones run from 0 to 2"),
        ([0, 1], [-1, 1], "codes run from -1 to 1"),
        ([0, 1], [0.0, 1.0], "integers"),
        ([[0, 1]], [[0, 1]], "shape"),
    ],
)
def test_contingency_refuses_what_does_not_fit(phones, codes, complaint: str) -> None:
    """Frames that do not pair or lie outside the sets are an error, not a silent count."""
    with pytest.raises(ValueError, match=complaint):
        contingency(phones, codes, 2, 3)


def test_scores_of_no_frames_are_nan() -> None:
    """Without frames there is no score, and no warning either; of a single phone there is no entropy to explain."""
    empty = np.zeros((2, 3), dtype=np.int64)
    assert all(math.isnan(score(empty)) for score in SUMMARIES)
    assert math.isnan(perplexity(empty[0]))
    assert math.isnan(bit_rate(empty[0], 1.0))
    assert math.isnan(majority_share([]))
    assert math.isnan(pnmi([[3, 4]]))


def test_negative_counts_are_refused() -> None:
    """Counts below zero come from a mistake."""
    with pytest.raises(ValueError, match="negative"):
        pnmi([[1, -1]])


def test_mapping_takes_the_commonest_phone_and_the_majority_for_unseen_codes() -> None:
    """Each code gets its argmax; a code the fitting split never saw gets its most frequent phone."""
    counts = np.array([[1, 0, 0, 0], [0, 5, 0, 2], [4, 0, 0, 1]])
    assert map_codes(counts).tolist() == [2, 1, 1, 1]


def test_independent_codes_say_nothing() -> None:
    """Codes drawn without looking at the phones have information near its small-sample bias."""
    rng = np.random.default_rng(1)
    n, n_phones, n_codes = 20_000, 10, 16
    counts = contingency(
        rng.integers(n_phones, size=n), rng.integers(n_codes, size=n), n_phones, n_codes
    )
    # Miller 1955: the plug-in estimate exceeds 0 by (phones - 1)(codes - 1) / (2 n ln 2) bits.
    bias = (n_phones - 1) * (n_codes - 1) / (2 * n * math.log(2))
    assert mutual_information(counts) == pytest.approx(bias, rel=0.3)
    assert pnmi(counts) < 0.01
    assert v_measure(counts) < 0.01


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=200))
def test_scores_agree_with_scikit_learn(frames: list[tuple[int, int]]) -> None:
    """Information and V-measure equal its own, purities the share of frames right under its table of counts."""
    phones, codes = (np.array(column) for column in zip(*frames, strict=True))
    counts = contingency(phones, codes, 5, 7)
    nats = metrics.mutual_info_score(phones, codes)
    assert mutual_information(counts) * math.log(2) == pytest.approx(nats, abs=1e-12)
    assert v_measure(counts) == pytest.approx(metrics.v_measure_score(phones, codes), abs=1e-12)
    if len(set(phones)) > 1:
        homogeneity = metrics.homogeneity_score(phones, codes)
        assert pnmi(counts) == pytest.approx(homogeneity, abs=1e-12)
    table = metrics.cluster.contingency_matrix(phones, codes)
    # The best constant guess for each code, scored as a classifier.
    seen_phones, seen_codes = np.unique(phones), np.unique(codes)
    guess = dict(zip(seen_codes, seen_phones[table.argmax(axis=0)], strict=True))
    accuracy = metrics.accuracy_score(phones, [guess[code] for code in codes])
    assert phone_purity(counts) == pytest.approx(accuracy, abs=1e-12)
    guess = dict(zip(seen_phones, seen_codes[table.argmax(axis=1)], strict=True))
    accuracy = metrics.accuracy_score(codes, [guess[phone] for phone in phones])
    assert cluster_purity(counts) == pytest.approx(accuracy, abs=1e-12)
    of_codes = counts.sum(axis=0)
    assert 1 - 1e-9 <= perplexity(of_codes) <= np.count_nonzero(of_codes) + 1e-9


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([], []), ([3], [3]), ([3, 3, 3], [3]), ([1, 1, 2, 1, 1], [1, 2, 1])],
)
def test_collapsed_runs(codes: list[int], expected: list[int]) -> None:
    """Equal neighbours become one, equal codes apart stay."""
    assert collapse_runs(np.array(codes, dtype=np.int64)).tolist() == expected


def test_shuffling_keeps_each_utterance_s_codes() -> None:
    """The control moves codes in time, within an utterance, and leaves its input alone."""
    codes = [np.arange(50), np.arange(50, 80)]
    shuffled = shuffle_within(codes, np.random.default_rng(0))
    for before, after in zip(codes, shuffled, strict=True):
        assert sorted(after) == before.tolist()
        assert after.tolist() != before.tolist()
    assert codes[0].tolist() == list(range(50))
