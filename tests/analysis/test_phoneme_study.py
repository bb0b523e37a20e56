import math
from pathlib import Path

import numpy as np
import pytest
from labelled_store import HOP, RATE, ReadingModel, Spoken, lab_of, write_store

from vqspeech.analysis.phoneme_study import PhonemeStudy, study_phonemes
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, CorpusError
from vqspeech.labels.phones import PHONE_INDEX, PHONES

NAMES = ["aa", "s", "iy", "pau"]


def sentence(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Draw phones 0 to 3 that last a few frames each; the last one is silence."""
    return np.repeat(rng.integers(4, size=frames), rng.integers(1, 6, size=frames))[:frames]


def study(tmp_path: Path, utterances: list[Spoken], **settings) -> PhonemeStudy:
    return study_phonemes(
        ReadingModel(), PackedStore(write_store(tmp_path / "store", utterances)), **settings
    )


def corpus(
    codes_of, train: int = 20, test: int = 12, frames: int = 60, start_s: float = 0.0
) -> list[Spoken]:
    """Make utterances of which `codes_of` decides the codes of the phones."""
    rng = np.random.default_rng(0)
    made = []
    for split in ["train"] * train + ["test"] * test:
        phones = sentence(rng, frames)
        lab = lab_of([NAMES[phone] for phone in phones], start_s)
        made.append(Spoken(split, codes_of(phones, rng), lab, start_s))
    return made


def test_codes_that_are_the_phones_score_one(tmp_path: Path) -> None:
    """One code a phone: every share is 1, however the codes are numbered, and the control is not."""
    found = study(tmp_path, corpus(lambda phones, _: 5 - phones))
    for scores in (found.with_silence, found.without_silence):
        assert scores.map_accuracy == scores.phone_purity == scores.cluster_purity == 1
        assert scores.pnmi == pytest.approx(1)
        assert scores.v_measure == pytest.approx(1)
        assert scores.map_accuracy_interval == (1, 1)
        assert scores.shuffled < scores.chance + 0.1
        assert scores.pnmi_shuffled < 0.1
    assert found.with_silence.used_codes == 4
    assert found.without_silence.used_codes == 3
    assert [PHONES[phone] for phone in found.mapping[2:6]] == ["sil", "iy", "s", "aa"]


def test_codes_drawn_blindly_score_like_their_shuffled_selves(tmp_path: Path) -> None:
    """Codes that know nothing lie within the control's interval and near chance."""
    found = study(tmp_path, corpus(lambda phones, rng: rng.integers(8, size=len(phones))))
    for scores in (found.with_silence, found.without_silence):
        low, high = scores.shuffled_interval
        assert low <= scores.map_accuracy <= high
        assert scores.map_accuracy == pytest.approx(scores.chance, abs=0.08)
        assert scores.pnmi < 0.05


def test_one_code_scores_chance(tmp_path: Path) -> None:
    """A collapsed codebook is worth the majority phone and no bits."""
    found = study(tmp_path, corpus(lambda phones, _: np.zeros_like(phones)))
    scores = found.with_silence
    assert scores.used_codes == scores.perplexity == 1
    assert scores.pnmi == scores.v_measure == scores.bit_rate == scores.bit_rate_collapsed == 0
    assert scores.phone_purity == scores.chance
    assert scores.shuffled == scores.map_accuracy


def test_scores_worked_by_hand(tmp_path: Path) -> None:
    """A study small enough for paper, all of its numbers."""
    found = study(
        tmp_path,
        [
            # Code 0 stands for aa (2 of 3), code 1 for s, code 2 for silence.
            Spoken("train", [0, 0, 0, 1, 2], lab_of(["aa", "aa", "s", "s", "pau"])),
            # Code 3 is new: it gets the majority of train, which is aa before s.
            Spoken("test", [0, 1, 3, 2], lab_of(["aa", "aa", "aa", "pau"])),
            Spoken("test", [1, 1, 2, 0], lab_of(["s", "s", "pau", "pau"])),
        ],
    )
    scores = found.with_silence
    assert (scores.fitted_frames, scores.scored_frames) == (5, 8)
    assert scores.map_accuracy == 6 / 8
    assert scores.chance == 3 / 8
    assert scores.phone_purity == 6 / 8
    assert scores.cluster_purity == (1 + 2 + 2) / 8
    assert scores.used_codes == 4
    entropy = -(2 * 0.25 * math.log2(0.25) + 0.375 * math.log2(0.375) + 0.125 * math.log2(0.125))
    assert scores.perplexity == pytest.approx(2**entropy)
    assert scores.bit_rate == pytest.approx(100 * entropy)
    assert scores.bit_rate_fixed == 300
    # Sent once each: 0 1 3 2 and 1 2 0.
    collapsed = -(3 * 2 / 7 * math.log2(2 / 7) + 1 / 7 * math.log2(1 / 7))
    assert scores.bit_rate_collapsed == pytest.approx(7 * collapsed / (8 / 100))
    spoken = found.without_silence
    assert (spoken.fitted_frames, spoken.scored_frames) == (4, 5)
    assert spoken.map_accuracy == 4 / 5
    assert spoken.chance == 3 / 5
    assert found.counts.sum() == 8
    assert found.counts[PHONE_INDEX["sil"]].tolist() == [1, 0, 2, 0, 0, 0, 0, 0]


def test_trimmed_utterances_find_their_labels(tmp_path: Path) -> None:
    """Times in label files are those of the source, before silence was cut off its front."""
    made = corpus(lambda phones, _: phones, start_s=0.375)
    assert study(tmp_path / "right", made).with_silence.map_accuracy == 1
    forgotten = [Spoken(u.split, u.codes, u.lab) for u in made]
    assert study(tmp_path / "wrong", forgotten).with_silence.map_accuracy < 0.8


def test_unknown_labels_are_left_out_and_counted(tmp_path: Path) -> None:
    """Frames labelled outside the phone set count nowhere but in the list of such labels."""
    train = Spoken("train", [0, 1, 2], lab_of(["aa", "s", "click"]))
    test = Spoken("test", [0, 1, 2, 2], lab_of(["aa", "s", "click", "ø"]))
    found = study(tmp_path, [train, test])
    assert found.unmapped == {"click": 2, "ø": 1}
    assert found.with_silence.scored_frames == 2
    assert found.with_silence.map_accuracy == 1


def test_without_speech_in_the_test_split_scores_are_nan(tmp_path: Path) -> None:
    """Silence alone leaves nothing to score without silence."""
    train = Spoken("train", [0, 1], lab_of(["aa", "pau"]))
    found = study(tmp_path, [train, Spoken("test", [1, 1], lab_of(["pau", "pau"]))])
    assert found.with_silence.map_accuracy == 1
    assert math.isnan(found.without_silence.map_accuracy)
    assert math.isnan(found.without_silence.bit_rate)
    assert found.without_silence.used_codes == 0


def test_unreadable_label_files_are_passed_over_and_told(tmp_path: Path) -> None:
    """One bad file does not end the study of the others."""
    good = corpus(lambda phones, _: phones, train=2, test=2)
    found = study(tmp_path, [*good, Spoken("test", [0], "not a label file")])
    assert found.scored_utterances == 2
    (line,) = found.skipped
    assert "u4.lab, line 1" in line


@pytest.mark.parametrize(
    ("labs", "complaint"),
    [
        ((lab_of(["aa"]), None), "no utterance of the test split has phone labels"),
        ((None, lab_of(["aa"])), "no utterance of the train split has phone labels"),
        ((lab_of(["aa"]), "x"), r"no labels of the test split can be read: .*u1\.lab, line 1"),
        ((lab_of(["ø"]), lab_of(["aa"])), "no label of the train split is in the phone set.*'ø'"),
    ],
)
def test_no_labels_is_an_error(tmp_path: Path, labs, complaint: str) -> None:
    """What is missing is said in one line."""
    train, test = labs
    with pytest.raises(CorpusError, match=complaint):
        study(tmp_path, [Spoken("train", [0], train), Spoken("test", [0], test)])


def test_other_sample_rate_is_an_error(tmp_path: Path) -> None:
    """Codes of speech at the wrong rate would be scored as if they were the model's."""
    path = write_store(tmp_path / "s", corpus(lambda phones, _: phones, 1, 1), rate=8000)
    with pytest.raises(ConfigurationError, match="holds 8000 Hz and the model takes 16000"):
        study_phonemes(ReadingModel(), PackedStore(path))


def test_fitting_takes_no_more_than_asked(tmp_path: Path) -> None:
    """The train split is cut to the minutes given, never to nothing; the test split is whole."""
    made = corpus(lambda phones, _: phones)
    seconds = len(made[0].codes) * HOP / RATE
    found = study(tmp_path / "a", made, train_minutes=5.5 * seconds / 60)
    assert (found.fitted_utterances, found.scored_utterances) == (5, 12)
    assert study(tmp_path / "b", made, train_minutes=1e-6).fitted_utterances == 1


def test_same_seed_same_study(tmp_path: Path) -> None:
    """Draws depend on the seed alone."""
    made = corpus(lambda phones, rng: rng.integers(8, size=len(phones)))
    one, same, other = (
        study(tmp_path / name, made, train_minutes=0.1, seed=seed).with_silence
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == same
    assert one != other


def test_progress_counts_utterances(tmp_path: Path) -> None:
    """Each utterance is reported once, of both splits."""
    calls: list[tuple[int, int]] = []
    study(
        tmp_path,
        corpus(lambda phones, _: phones, train=3, test=2),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(done, 5) for done in range(1, 6)]


def test_control_is_fitted_anew_on_shuffled_codes(tmp_path: Path) -> None:
    """A control that kept the mapping of the real codes would fall below chance where one phone prevails."""
    rng = np.random.default_rng(0)
    made = []
    for split in ["train"] * 20 + ["test"] * 10:
        phones = sentence(rng, 60)
        lab = lab_of(["s" if phone == 3 else "aa" for phone in phones])
        made.append(Spoken(split, (phones == 3).astype(np.int64), lab))
    scores = study(tmp_path, made).with_silence
    assert scores.map_accuracy == 1
    assert scores.shuffled == pytest.approx(scores.chance, abs=0.03)


class SketchModel(ReadingModel):
    """Encodes a frame as its level in four steps of 15 dB and its zero crossings in four octaves."""

    hop = 640

    def encode(self, wav: np.ndarray) -> np.ndarray:
        frames = np.pad(wav, (0, -len(wav) % self.hop)).reshape(-1, self.hop)
        level_db = 10 * np.log10((frames**2).mean(axis=1) + 1e-9)
        crossings = (np.diff(np.sign(frames), axis=1) != 0).sum(axis=1)
        loudness = np.clip((level_db + 75) // 15, 0, 3)
        brightness = np.clip(np.log2(crossings + 1) - 4, 0, 3)
        return (4 * loudness.astype(np.int64) + brightness.astype(np.int64)).astype(np.int64)


def test_a_sketch_of_the_miniature_corpus_tells_phones_apart(mini_store: Path) -> None:
    """On made speech even level and zero crossings beat the control, so labels lie where the sound is."""
    store = PackedStore(mini_store)
    found = study_phonemes(SketchModel(codebook_size=16), store, train_minutes=5)
    assert found.unmapped == {}
    assert found.skipped == ()
    for scores in (found.with_silence, found.without_silence):
        assert scores.map_accuracy_interval.low > scores.shuffled_interval.high
        assert scores.map_accuracy > 1.3 * scores.chance
        assert scores.pnmi > 3 * scores.pnmi_shuffled
