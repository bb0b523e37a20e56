import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from vqspeech import audio
from vqspeech.corpus.manifest import read_manifest
from vqspeech.labels.files import read_labels
from vqspeech.labels.frames import Interval, frame_centres_s, labels_at
from vqspeech.labels.phones import PHONE_INDEX, to_arpabet
from vqspeech.metrics.abx import AbxScore, Item, abx, phone_items
from vqspeech.metrics.dtw import warped_distances


def corpus(tokens: list[tuple[str, str, list]], contexts=None) -> tuple[list[Item], list]:
    """Make one utterance of each (speaker, phone, frames)."""
    items, features = [], []
    for index, (speaker, phone, frames) in enumerate(tokens):
        left, right = contexts[index] if contexts else ("l", "r")
        items.append(Item(index, 0, len(frames), phone, left, right, speaker))
        features.append(np.array(frames))
    return items, features


def score(tokens, contexts=None, **settings) -> AbxScore:
    items, features = corpus(tokens, contexts)
    settings = {"in_context": False, "across_speakers": False, **settings}
    return abx(items, features, **settings)


def test_triples_counted_by_hand() -> None:
    """One phone of three tokens against one of a single token: 4 of 6 triples err, one of them by half."""
    tokens = [("s", "p", [1, 1]), ("s", "p", [1, 2]), ("s", "p", [2, 2]), ("s", "q", [1, 1])]
    # Distances from x to the tokens of p and to b = [1, 1], path lengths divided out.
    # x = [1, 1]: b at 0; a = [1, 2] at 1/2: error; a = [2, 2] at 1: error.
    # x = [1, 2]: b at 1/2; a = [1, 1] at 1/2: half; a = [2, 2] at 1/2: half.
    # x = [2, 2]: b at 1; a = [1, 1] at 1: half; a = [1, 2] at 1/2: right.
    found = score(tokens)
    assert found.error == pytest.approx(3.5 / 6)
    assert (found.pairs, found.triples) == (1, 6)


def test_codes_that_are_the_phones_never_err() -> None:
    """Perfect codes score 0 within and across, whatever the lengths of the tokens."""
    rng = np.random.default_rng(0)
    tokens = [
        (speaker, phone, [number] * int(rng.integers(1, 6)))
        for speaker, (number, phone), _ in product("st", enumerate("pqr"), range(3))
    ]
    for across in (False, True):
        found = score(tokens, across_speakers=across)
        assert (found.error, *found.interval) == (0, 0, 0)
        assert found.pairs == 6


@pytest.mark.parametrize("frames", [[3, 1, 3], [[0.1, 0.7], [0.3, -0.2]], [[0.0, 0.0]]])
def test_classes_that_sound_the_same_score_chance(frames) -> None:
    """Where every token is the same sequence all triples tie."""
    tokens = [(speaker, phone, frames) for speaker, phone, _ in product("st", "pq", range(3))]
    assert score(tokens).error == 0.5
    assert score(tokens, across_speakers=True).error == 0.5


def test_codes_without_meaning_score_chance_within_their_interval() -> None:
    """Codes drawn blindly have 0.5 inside the interval, and the interval is narrow."""
    rng = np.random.default_rng(0)
    items, features = [], []
    for utterance in range(60):
        features.append(rng.integers(8, size=60))
        items += [
            Item(utterance, start, start + 3, str(rng.integers(4)), "", "", str(utterance % 2))
            for start in range(0, 60, 3)
        ]
    for across in (False, True):
        found = abx(items, features, in_context=False, across_speakers=across)
        assert found.interval.low < 0.5 < found.interval.high
        assert found.interval.high - found.interval.low < 0.05


@pytest.mark.parametrize(
    ("tokens", "across"),
    [
        ([], False),
        ([("s", "p", [1]), ("s", "p", [1])], False),  # no b
        ([("s", "p", [1]), ("s", "q", [2])], False),  # no second token of a phone
        ([("s", "p", [1]), ("t", "q", [2])], True),  # no speaker with both phones
        ([("s", "p", [1]), ("s", "p", [1]), ("s", "q", [2])], True),  # one speaker
    ],
)
def test_no_triple_no_score(tokens, across: bool) -> None:
    """Without a triple the error and its interval are nan."""
    found = score(tokens, across_speakers=across)
    assert math.isnan(found.error)
    assert all(math.isnan(bound) for bound in found.interval)
    assert (found.pairs, found.triples) == (0, 0)


def test_context_is_looked_at_only_in_context() -> None:
    """Tokens with other neighbours are no triples in context."""
    tokens = [("s", "p", [1]), ("s", "p", [1]), ("s", "q", [1])]
    assert score(tokens, [("x", "y")] * 3, in_context=True).error == 0.5
    for other in (("x", "z"), ("z", "y")):
        contexts = [("x", "y"), ("x", "y"), other]
        assert math.isnan(score(tokens, contexts, in_context=True).error)
        assert score(tokens, contexts).error == 0.5


def test_across_speakers_x_alone_is_another_s() -> None:
    """Codes that tell the speaker and not the phone score 0.5 across, a and b being equally wrong."""
    tokens = [(s, p, [code]) for s, code in (("s", 1), ("t", 2)) for p in "pq"]
    found = score(tokens, across_speakers=True)
    assert (found.error, found.pairs, found.triples) == (0.5, 2, 4)


def slow_distance(u: np.ndarray, v: np.ndarray) -> float:
    """Find the best path by trying them all."""

    def cost(i: int, j: int) -> float:
        if u.ndim == 1:
            return float(u[i] != v[j])
        cosine = u[i] @ v[j] / np.linalg.norm(u[i]) / np.linalg.norm(v[j])
        return math.acos(min(1.0, max(-1.0, cosine))) / math.pi

    def best(i: int, j: int) -> tuple[float, int]:
        if i < 0 or j < 0:
            return (math.inf, 0)
        if i == j == 0:
            return (cost(0, 0), 1)
        total, cells = min(best(i - 1, j - 1), best(i - 1, j), best(i, j - 1))
        return (total + cost(i, j), cells + 1)

    total, cells = best(len(u) - 1, len(v) - 1)
    return total / cells


def slow_abx(items, features, in_context: bool, across: bool) -> float:
    """Follow the definition triple by triple."""
    parts = [features[item.utterance][item.start : item.end] for item in items]
    cells: dict = {}
    for (i, a), (j, b), (k, x) in product(enumerate(items), repeat=3):
        if i == k or a.phone != x.phone or b.phone == a.phone or a.speaker != b.speaker:
            continue
        if (x.speaker != a.speaker) != across:
            continue
        contexts = {(item.left, item.right) if in_context else None for item in (a, b, x)}
        if len(contexts) > 1:
            continue
        to_a, to_b = slow_distance(parts[i], parts[k]), slow_distance(parts[j], parts[k])
        tie = abs(to_a - to_b) < 1e-9
        pair = cells.setdefault((a.phone, b.phone), {})
        speakers = pair.setdefault((a.speaker, x.speaker), {})
        speakers.setdefault(contexts.pop(), []).append(0.5 if tie else float(to_a > to_b))
    return float(
        np.mean(
            [
                np.mean([np.mean([np.mean(cell) for cell in s.values()]) for s in pair.values()])
                for pair in cells.values()
            ]
        )
    )


@pytest.mark.parametrize("dim", [0, 3])
@pytest.mark.parametrize("in_context", [False, True])
@pytest.mark.parametrize("across", [False, True])
def test_score_is_the_definition_s(dim: int, in_context: bool, across: bool) -> None:
    """Uneven cells, several contexts and speakers, codes and vectors: equal to triple by triple."""
    rng = np.random.default_rng(7)
    items, features = [], []
    for utterance in range(6):
        features.append(rng.normal(size=(20, dim)) if dim else rng.integers(3, size=20))
        for _ in range(8):
            start = int(rng.integers(15))
            end = start + int(rng.integers(1, 5))
            phone, left = rng.choice(["p", "q", "r"]), rng.choice(["k", "m"])
            speaker = "stu"[utterance % 3]
            items.append(Item(utterance, start, end, str(phone), str(left), "e", speaker))
    found = abx(items, features, in_context=in_context, across_speakers=across)
    assert found.error == pytest.approx(slow_abx(items, features, in_context, across), abs=1e-12)
    assert 0 <= found.interval.low < found.error < found.interval.high <= 1


def test_warping_takes_the_cheapest_then_the_shortest_path() -> None:
    """Distances equal those of all paths tried, and rows and columns may be exchanged."""
    rng = np.random.default_rng(3)
    sequences = [rng.integers(3, size=n) for n in (1, 2, 5, 4, 6, 3)]
    joined, bounds = np.concatenate(sequences), np.cumsum([0, *map(len, sequences)])
    cost = (joined[:, None] != joined).astype(float)
    found = warped_distances(cost, bounds, bounds)
    expected = [[slow_distance(u, v) for v in sequences] for u in sequences]
    assert found == pytest.approx(np.array(expected), abs=1e-12)
    assert found.tolist() == found.T.tolist()


def test_large_groups_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many distances are in memory at once changes nothing."""
    rng = np.random.default_rng(0)
    tokens = [("s", phone, rng.integers(4, size=4)) for phone, _ in product("pqr", range(6))]
    whole = score(tokens)
    monkeypatch.setattr("vqspeech.metrics.abx._COST_CELLS", 150)
    assert score(tokens) == whole


def test_draws_depend_on_the_seed_alone() -> None:
    """Groups are cut to `max_tokens`, by the seed."""
    rng = np.random.default_rng(0)
    tokens = [("s", phone, rng.integers(4, size=4)) for phone, _ in product("pq", range(20))]
    one, same, other = (score(tokens, max_tokens=5, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.error != other.error
    assert one.triples == 2 * 5 * 4 * 5


def test_across_speakers_x_comes_from_so_many_others() -> None:
    """Of many speakers only some are x for each speaker of a and b."""
    tokens = [(speaker, phone, [1]) for speaker, phone in product("stuvw", "pq")]
    assert score(tokens, across_speakers=True, max_x_speakers=4).triples == 5 * 4 * 2
    assert score(tokens, across_speakers=True, max_x_speakers=2).triples == 5 * 2 * 2


@pytest.mark.slow
def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Over worlds whose utterances differ in noise the interval covers the mean of many worlds."""

    def world(seed: int, resamples: int) -> AbxScore:
        rng = np.random.default_rng(seed)
        items, features = [], []
        for utterance in range(16):
            phones, lefts = rng.integers(6, size=15), rng.integers(6, size=15)
            noisy = rng.random((15, 3)) < rng.beta(4, 6)
            features.append(np.where(noisy, rng.integers(6, size=(15, 3)), phones[:, None]).ravel())
            items += [
                Item(utterance, 3 * i, 3 * i + 3, str(phones[i]), str(lefts[i]), "", "s")
                for i in range(15)
            ]
        return abx(items, features, in_context=True, across_speakers=False, resamples=resamples)

    truth = np.mean([world(1000 + seed, 1).error for seed in range(200)])
    intervals = [world(seed, 100).interval for seed in range(100)]
    assert 85 <= sum(low <= truth <= high for low, high in intervals) <= 100


CODES, VECTORS = np.zeros(3, int), np.ones((3, 2))


@pytest.mark.parametrize(
    ("token", "features", "complaint"),
    [
        ((0, 0, 4), [CODES], "not inside 3 frames"),
        ((0, 2, 2), [CODES], "not inside"),
        ((1, 0, 1), [CODES], "none of the 1 utterances"),
        ((0, 0, 1), [np.zeros(3)], "float64 of shape"),
        ((0, 0, 1), [np.zeros((3, 2), int)], "expected integer codes"),
        (None, [CODES, VECTORS], "not all codes"),
        (None, [VECTORS, np.ones((3, 4))], "not all vectors of one size"),
        (None, [np.full((3, 2), np.nan)], "features 0 hold values that are not finite"),
    ],
)
def test_what_does_not_fit_is_refused(token, features, complaint: str) -> None:
    """Tokens outside their utterance and arrays of another kind, or of several, are a mistake of the caller."""
    items = [] if token is None else [Item(*token, "p", "", "", "s")]
    with pytest.raises(ValueError, match=complaint):
        abx(items, features, in_context=False, across_speakers=False)


SENTENCE = [
    Interval(0.0, 0.1, "pau"),
    Interval(0.1, 0.2, "HH"),
    Interval(0.2, 0.3, "AY1"),
    Interval(0.3, 0.4, "click"),
    Interval(0.4, 0.401, "s"),
    Interval(0.5, 0.6, "t"),
]


def test_tokens_hold_the_frames_whose_centre_is_theirs() -> None:
    """Silence, unknown labels and phones without a frame are no tokens, but they are neighbours."""
    # 25 frames a second with centres at 0.02, 0.06, ...
    items = phone_items(SENTENCE, frame_centres_s(15, 640, 16000), 3, "me")
    assert items == [
        Item(3, 2, 5, "hh", "sil", "ay", "me"),
        Item(3, 5, 7, "ay", "hh", "click", "me"),
        Item(3, 12, 15, "t", "sil", "sil", "me"),
    ]


def test_a_crop_with_an_offset_shifts_tokens() -> None:
    """Times of a recording trimmed by 0.1 s find their frames, and what was cut off has none."""
    items = phone_items(SENTENCE, frame_centres_s(6, 640, 16000, start_s=0.12), 0, "me")
    assert [(i.phone, i.start, i.end) for i in items] == [("hh", 0, 2), ("ay", 2, 4)]


def test_triphones_span_their_neighbours() -> None:
    """A triphone runs from the start of its left to the end of its right neighbour, never silence."""
    items = phone_items(SENTENCE, frame_centres_s(15, 640, 16000), 0, "me", triphones=True)
    assert items == [
        Item(0, 2, 10, "ay", "hh", "click", "me"),
        # Too short for a frame of its own, but not with its neighbours; t is not joined to it.
    ]


@pytest.mark.slow
def test_real_labels_as_codes_score_zero_in_time(real_speech: Path) -> None:
    """The test split of two speakers at 100 frames/s takes seconds for every kind of ABX."""
    listing = read_manifest(real_speech / "manifest.tsv")
    rows = [u for u in listing.utterances if (u.corpus, u.split) == ("arctic", "test")]
    assert len({row.speaker for row in rows}) == 2
    items, codes, vectors = [], [], []
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(len(PHONE_INDEX), 32))
    for index, row in enumerate(rows):
        intervals = read_labels(row.labels)
        times_s = frame_centres_s(audio.info(row.path).samples // 160, 160, 16000)
        items += phone_items(intervals, times_s, index, row.speaker)
        phones = [
            PHONE_INDEX[to_arpabet(label) or "sil"] for label in labels_at(intervals, times_s)
        ]
        codes.append(np.array(phones))
        vectors.append(directions[phones] + rng.normal(size=(len(phones), 32)))
    for in_context, across in product((False, True), repeat=2):
        settings = {"in_context": in_context, "across_speakers": across}
        assert abx(items, codes, **settings).error == 0
        assert abx(items, vectors, **settings).error < 0.2
