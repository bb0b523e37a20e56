import math

import numpy as np
import pytest
from sklearn.metrics import r2_score

from vqspeech.metrics.contingency import mutual_information
from vqspeech.metrics.probes import (
    histograms,
    mean_speaker_probe,
    phone_probe,
    pitch_probe,
    speaker_leakage,
    speaker_probe,
)


def utterances(rng: np.random.Generator, shift: int, each: int = 20, frames: int = 60):
    """Draw codes in [0, 8) plus a shift for each next of three speakers."""
    speakers = [f"p{number}" for number in range(3) for _ in range(each)]
    codes = [rng.integers(8, size=frames) + shift * int(name[1]) for name in speakers]
    return histograms(codes, 32), speakers


def test_histograms_count_each_utterance() -> None:
    """A row an utterance, a column a code, also for none."""
    assert histograms([[0, 2, 2], []], 3).tolist() == [[1, 0, 2], [0, 0, 0]]
    assert histograms([], 3).shape == (0, 3)


def test_a_speaker_with_codes_of_their_own_is_always_named() -> None:
    """Codes that tell the speaker score 1, far above chance and the control."""
    found = speaker_probe(*utterances(np.random.default_rng(0), shift=8))
    assert found.accuracy == 1
    assert found.interval == (1, 1)
    assert found.chance == 1 / 3
    assert found.shuffled < 0.6
    assert (found.speakers, found.utterances) == (3, 60)


def test_codes_without_the_speaker_score_chance() -> None:
    """Codes drawn alike for all have chance inside the interval."""
    found = speaker_probe(*utterances(np.random.default_rng(0), shift=0))
    assert found.interval.low < found.chance < found.interval.high
    assert abs(found.shuffled - found.chance) < 0.15


def test_utterances_are_named_by_classifiers_that_have_not_seen_them() -> None:
    """Each utterance with a code of its own would be named right by one that had."""
    counts = np.eye(40, dtype=np.int64)
    assert speaker_probe(counts, ["a", "b"] * 20).accuracy <= 0.5


def test_how_long_an_utterance_is_does_not_count() -> None:
    """Shares are compared: three times the frames changes nothing."""
    counts, speakers = utterances(np.random.default_rng(1), shift=1)
    assert speaker_probe(3 * counts, speakers) == speaker_probe(counts, speakers)


def test_speakers_that_cannot_be_held_out_are_left_out() -> None:
    """One utterance, or all but one empty, is too few; two are enough for two folds."""
    counts = [[1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [2, 1], [0, 0]]
    found = speaker_probe(counts, ["a", "a", "b", "b", "c", "d", "d"])
    assert (found.speakers, found.utterances) == (2, 4)
    assert found.accuracy == 1


@pytest.mark.parametrize("speakers", [[], ["a", "a", "a"], ["a", "b", "c"]])
def test_without_two_speakers_there_is_no_speaker_probe(speakers: list[str]) -> None:
    """Nothing to tell apart is nan."""
    found = speaker_probe(np.ones((len(speakers), 4)), speakers)
    assert math.isnan(found.accuracy)
    assert math.isnan(found.chance)
    assert all(math.isnan(bound) for bound in found.interval)


def test_means_that_point_another_way_name_the_speaker() -> None:
    """Vectors of any size and sign: offset by speaker they name everyone, drawn alike they score chance."""
    rng = np.random.default_rng(0)
    speakers = [f"p{number}" for number in range(3) for _ in range(20)]
    means = rng.normal(size=(60, 5))
    blind = mean_speaker_probe(means, speakers)
    assert blind.interval.low < blind.chance < blind.interval.high
    means[:, 2] += [50 * int(name[1]) - 70 for name in speakers]
    found = mean_speaker_probe(means, speakers)
    assert found.accuracy == 1
    assert found.shuffled < 0.6
    assert (found.speakers, found.utterances) == (3, 60)


def voiced(rng: np.random.Generator, n: int, noise: float) -> list:
    """Make utterances whose vectors are the phone, one-hot in 6 dimensions, with noise; phone -1 is noise alone."""
    made = []
    for _ in range(n):
        phones = rng.integers(-1, 4, size=40)
        vectors = np.eye(6)[phones] * (phones >= 0)[:, None]
        made.append((vectors + noise * rng.normal(size=vectors.shape), phones))
    return made


def test_phones_that_can_be_told_apart_by_a_plane_are_all_named() -> None:
    """On utterances that were not fitted, beside the most frequent phone and vectors shuffled in time."""
    rng = np.random.default_rng(0)
    train, test = voiced(rng, 8, 0.05), voiced(rng, 4, 0.05)
    found = phone_probe(train, test)
    assert found.accuracy == 1
    assert found.interval == (1, 1)
    phones = np.concatenate([phones for _, phones in test])
    phones = phones[phones >= 0]
    assert found.chance == np.bincount(phones).max() / len(phones)
    assert abs(found.shuffled - 0.25) < 0.1
    assert found.scored_frames == len(phones)
    assert found.fitted_frames == sum((phones >= 0).sum() for _, phones in train)
    assert phone_probe(train, test) == found


def test_vectors_that_say_nothing_score_chance() -> None:
    """Noise names no phone: about a quarter of four, as often as shuffled noise."""
    rng = np.random.default_rng(0)
    noise = [(rng.normal(size=(40, 6)), rng.integers(4, size=40)) for _ in range(16)]
    found = phone_probe(noise[:8], noise[8:])
    assert abs(found.accuracy - 0.25) < 0.1
    assert abs(found.shuffled - 0.25) < 0.1


def test_without_phones_to_tell_apart_there_is_no_phone_probe() -> None:
    """Nothing to fit, nothing to score, or one phone only, is nan."""
    one = (np.ones((3, 2)), [1, 1, 1])
    two, none = (np.ones((2, 2)), [0, 1]), (np.ones((2, 2)), [-1, -1])
    for train, test in (([], [two]), ([two], []), ([one], [two]), ([none], [two]), ([two], [none])):
        assert math.isnan(phone_probe(train, test).accuracy)
    assert not math.isnan(phone_probe([two], [two, none]).accuracy)


def test_leakage_worked_by_hand() -> None:
    """One code of each speaker's own and one shared by both equally: half a bit of one bit."""
    found = speaker_leakage([[2, 0, 2], [0, 1, 1], [0, 1, 1]], ["a", "b", "b"])
    assert found.speakers == ("a", "b")
    assert found.counts.tolist() == [[2, 0, 2], [0, 2, 2]]
    assert found.information_bits == pytest.approx(0.5)
    assert found.share == pytest.approx(0.5)
    assert found.by_code_bits.tolist() == pytest.approx([0.25, 0.25, 0])


def test_leakage_of_each_code_adds_up() -> None:
    """The parts are not negative and their sum is the information."""
    rng = np.random.default_rng(0)
    counts = rng.integers(4, size=(6, 20)) * rng.integers(2, size=(6, 20))
    found = speaker_leakage(counts, list("aabbcc"))
    assert found.by_code_bits.min() >= 0
    assert found.by_code_bits.sum() == pytest.approx(mutual_information(found.counts), abs=1e-12)


def test_leakage_of_codes_without_the_speaker_is_the_control_s() -> None:
    """What remains is chance, and the control has as much of it; codes of their own leak all."""
    blind = speaker_leakage(*utterances(np.random.default_rng(0), shift=0))
    assert blind.share == pytest.approx(blind.shuffled, abs=0.003)
    own = speaker_leakage(*utterances(np.random.default_rng(0), shift=8))
    assert own.share == pytest.approx(1)
    assert own.shuffled < 0.1


def test_leakage_without_frames_or_with_one_speaker_is_nan() -> None:
    """There is nothing to know."""
    assert math.isnan(speaker_leakage(np.zeros((0, 3), int), []).information_bits)
    assert math.isnan(speaker_leakage([[1, 2]], ["a"]).share)


def spoken(rng: np.random.Generator, n: int, spread: float, codes_of=None):
    """Make utterances of which the code is the F0 in steps, with noise of so many octaves."""
    made = []
    for _ in range(n):
        codes = rng.integers(4, size=80)
        f0 = 100 * 2 ** (codes / 4 + spread * rng.normal(size=80))
        f0[rng.random(80) < 0.3] = np.nan
        made.append((codes if codes_of is None else codes_of(codes), f0))
    return made


def test_codes_that_are_the_pitch_explain_it() -> None:
    """R² is near 1, and that of the same codes shuffled near 0."""
    rng = np.random.default_rng(0)
    found = pitch_probe(spoken(rng, 30, 0.0), spoken(rng, 10, 0.0), 4)
    assert found.r2 > 0.999
    assert found.shuffled == pytest.approx(0, abs=0.03)
    assert 0.6 * 30 * 80 < found.fitted_frames < 0.8 * 30 * 80


def test_codes_without_pitch_explain_nothing() -> None:
    """R² is 0 within its interval, or just below: what was fitted was noise."""
    rng = np.random.default_rng(0)

    def blind(codes: np.ndarray) -> np.ndarray:
        return rng.integers(4, size=len(codes))

    found = pitch_probe(spoken(rng, 30, 0.1, blind), spoken(rng, 10, 0.1, blind), 4)
    assert found.r2 == pytest.approx(0, abs=0.02)
    assert found.interval.low < 0
    assert found.interval.high < 0.02


def test_pitch_probe_agrees_with_scikit_learn() -> None:
    """R² of the shrunken means of each code equals r2_score's."""
    rng = np.random.default_rng(2)
    train, test = spoken(rng, 5, 0.2), spoken(rng, 3, 0.2)
    codes, f0 = (np.concatenate(part) for part in zip(*train, strict=True))
    voiced = ~np.isnan(f0)
    codes, y = codes[voiced], np.log(f0[voiced])
    means = [(y[codes == code].sum() + y.mean()) / ((codes == code).sum() + 1) for code in range(4)]
    codes, f0 = (np.concatenate(part) for part in zip(*test, strict=True))
    voiced = ~np.isnan(f0)
    expected = r2_score(np.log(f0[voiced]), np.array(means)[codes[voiced]])
    found = pitch_probe(train, test, 4)
    assert found.r2 == pytest.approx(expected, abs=1e-12)
    assert found.interval.low < found.r2 < found.interval.high


def test_codes_not_seen_in_training_predict_the_mean() -> None:
    """Scored on unseen codes alone R² is what the training mean explains, by hand."""
    train = [([0, 0], [100.0, 400.0])]  # mean log2 is that of 200
    test = [([1, 1], [200.0, 400.0])]  # off by 0 and 1 octave; the mean by a half each
    assert pitch_probe(train, test, 2).r2 == pytest.approx(1 - 1 / 0.5)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ([], [([0], [100.0])]),
        ([([0], [100.0])], []),
        ([([0, 0], [0.0, math.nan])], [([0, 0], [100.0, 200.0])]),
        ([([0], [100.0])], [([0, 0], [100.0, 100.0])]),
    ],
)
def test_pitch_probe_without_voice_is_nan(train, test) -> None:
    """No voiced frame, or a single pitch, leaves nothing to explain."""
    assert math.isnan(pitch_probe(train, test, 1).r2)


GOOD = [([0], [100.0])]


@pytest.mark.parametrize(
    ("probe", "arguments", "complaint"),
    [
        (phone_probe, ([(np.ones((3, 2)), [0, 1])], []), "one each a frame"),
        (speaker_probe, (np.ones((2, 4), int), ["a"]), "one row each utterance"),
        (mean_speaker_probe, (np.ones((2, 4), int), ["a"]), "one row each utterance"),
        (speaker_leakage, (np.ones((2, 4), int), ["a"]), "one row each utterance"),
        (pitch_probe, (GOOD, [([0, 1], [100.0])], 2), "one each a frame"),
        (pitch_probe, (GOOD, [([2], [100.0])], 2), r"expected \[0, 2\)"),
        (pitch_probe, ([([-1], [100.0])], GOOD, 2), "run from -1"),
    ],
)
def test_probes_refuse_what_does_not_fit(probe, arguments, complaint: str) -> None:
    """Frames or rows that do not pair and codes outside the codebook are mistakes of the caller."""
    with pytest.raises(ValueError, match=complaint):
        probe(*arguments)
