import math
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.labels.frames import Interval
from vqspeech.metrics.boundaries import (
    BoundaryCounts,
    boundary_scores,
    code_boundaries_s,
    count_hits,
    even_boundaries_s,
    phone_boundaries_s,
)


def test_codes_change_at_the_start_of_a_frame() -> None:
    """Frame 2 begins at 20 ms when frames last 10 ms; runs have no boundary inside."""
    assert code_boundaries_s([5, 5, 7, 5, 5], 160, 16000).tolist() == pytest.approx([0.02, 0.03])
    assert code_boundaries_s([5, 5], 160, 16000).size == 0
    assert code_boundaries_s([], 160, 16000).size == 0


def test_codes_of_a_crop_change_in_the_time_of_the_recording() -> None:
    """Half a second cut off the front is added."""
    assert code_boundaries_s([1, 2], 160, 16000, start_s=0.5).tolist() == pytest.approx([0.51])


def test_labels_have_a_boundary_wherever_one_begins_or_ends() -> None:
    """Shared ends count once, a gap twice, the ends of the stretch and what is outside not at all."""
    intervals = [
        Interval(0.0, 0.1, "a"),
        Interval(0.1, 0.25, "b"),
        Interval(0.3, 0.4, "c"),
        Interval(0.4, 0.5, "d"),
    ]
    assert phone_boundaries_s(intervals, 0.0, 0.5).tolist() == [0.1, 0.25, 0.3, 0.4]
    assert phone_boundaries_s(intervals, 0.1, 0.35).tolist() == [0.25, 0.3]
    assert phone_boundaries_s(intervals, 0.0, 1.0).tolist() == [0.1, 0.25, 0.3, 0.4, 0.5]
    assert phone_boundaries_s([], 0.0, 1.0).size == 0


def test_baseline_is_evenly_spaced() -> None:
    """Three boundaries quarter the stretch."""
    assert even_boundaries_s(3, 1.0, 2.0).tolist() == [1.25, 1.5, 1.75]
    assert even_boundaries_s(0, 1.0, 2.0).size == 0


@pytest.mark.parametrize(
    ("found", "true", "hits"),
    [
        ([0.1, 0.2], [0.1, 0.2], 2),
        ([0.12, 0.18], [0.1, 0.2], 2),  # exactly 20 ms away
        ([0.1200002], [0.1], 0),
        ([0.09, 0.1, 0.11], [0.1], 1),  # one to one
        ([0.1], [0.09, 0.11], 1),
        ([0.1, 0.13], [0.085, 0.115], 2),  # the nearest first would leave one alone
        ([0.2, 0.1], [0.1, 0.2], 2),  # in any order
        ([], [0.1], 0),
        ([0.1], [], 0),
        ([], [], 0),
    ],
)
def test_hits(found: list[float], true: list[float], hits: int) -> None:
    """Boundaries pair one to one within 20 ms."""
    assert count_hits(found, true) == BoundaryCounts(hits, len(found), len(true))


@given(
    st.lists(st.integers(0, 30), max_size=5),
    st.lists(st.integers(0, 30), max_size=5),
    st.integers(0, 6),
)
def test_as_many_pairs_as_can_be(found: list[int], true: list[int], tolerance: int) -> None:
    """No other way of pairing has more hits."""
    few, many = sorted((found, true), key=len)
    most = max(
        (
            len(chosen)
            for size in range(len(few) + 1)
            for chosen in combinations(few, size)
            for partners in permutations(many, size)
            if all(abs(a - b) <= tolerance for a, b in zip(chosen, partners, strict=True))
        ),
        default=0,
    )
    seconds = [np.array(times) / 1000 for times in (found, true)]
    assert count_hits(*seconds, tolerance_s=tolerance / 1000).hits == most


@pytest.mark.parametrize(
    ("counts", "precision", "recall", "f1", "excess", "r_value"),
    [
        ((10, 10, 10), 1, 1, 1, 0, 1),
        # r1 = hypot(0.2, 0) and r2 = -0.2 / sqrt 2.
        ((8, 10, 10), 0.8, 0.8, 0.8, 0, 1 - (0.2 + 0.2 / math.sqrt(2)) / 2),
        # Twice as many: r1 = 1, r2 = -1 / sqrt 2.
        ((10, 20, 10), 0.5, 1, 2 / 3, 1, 1 - (1 + 1 / math.sqrt(2)) / 2),
        # Half of them and no other: r1 = hypot(0.5, 0.5), r2 = 0.
        ((5, 5, 10), 1, 0.5, 2 / 3, -0.5, 1 - math.sqrt(0.5) / 2),
        # None found: r1 = sqrt 2, r2 = 0.
        ((0, 0, 10), math.nan, 0, 0, -1, 1 - math.sqrt(2) / 2),
        ((0, 10, 0), 0, math.nan, 0, math.nan, math.nan),
        ((0, 0, 0), math.nan, math.nan, math.nan, math.nan, math.nan),
    ],
)
def test_scores_worked_by_hand(counts, precision, recall, f1, excess, r_value) -> None:
    """The formulas on counts small enough for paper, and nan where nothing can be divided."""
    found = boundary_scores(BoundaryCounts(*counts))
    expected = [precision, recall, f1, excess, r_value]
    assert list(vars(found).values()) == pytest.approx(expected, nan_ok=True)


def test_changing_at_every_frame_is_no_way_to_a_high_r_value() -> None:
    """It hits every boundary, and the R-value sees through it."""
    true = np.arange(1, 20) * 0.08
    every = code_boundaries_s(np.arange(160), 160, 16000)
    found = boundary_scores(count_hits(every, true))
    assert found.recall == 1
    assert found.r_value < 0


def test_counts_of_utterances_add_up() -> None:
    """Scores are of all boundaries, not means of utterances."""
    total = sum([BoundaryCounts(1, 2, 3), BoundaryCounts(4, 5, 6)], BoundaryCounts())
    assert total == BoundaryCounts(5, 7, 9)
