import numpy as np
import pytest
from judged_corpus import Parrot, PitchVoices, fake_judges, pack, write_corpus

from vqspeech.corpus.store import PackedStore
from vqspeech.evaluation.judges import Judges, listen
from vqspeech.evaluation.judging import ROWS, TOGETHER, UNKNOWN, Judged, group, judge
from vqspeech.evaluation.speaking import Spoken, mulaw_round_trip
from vqspeech.evaluation.trials import CONVERSION, PARALLEL, RECONSTRUCTION, make_plan

pytest.importorskip("jiwer", reason="needs jiwer (the extra `eval`)")
pytest.importorskip("num2words", reason="needs num2words (the extra `eval`)")

KNOWN = ("p225", "p226")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PackedStore:
    return pack(write_corpus(tmp_path_factory.mktemp("judging") / "corpus"))


@pytest.fixture(scope="module")
def judged(store: PackedStore) -> tuple[Judged, ...]:
    """A converter that copies the real target: what it makes is perfect."""
    plan = make_plan(store, KNOWN, count=2)
    wavs = tuple(store.wav(trial.real or 0) for trial in plan.trials)
    return judge(fake_judges(), store, plan, Spoken(wavs, 1.0, 1.0), levels=256)


def test_a_perfect_conversion_has_the_figures_of_the_target(judged: tuple[Judged, ...]) -> None:
    """Voice and pitch are the target's, the untouched source's are not, and the round trip moves neither."""
    conversions = [of for of in judged if of.trial.kind == PARALLEL]
    assert conversions
    for of in conversions:
        assert list(of.figures) == list(ROWS)
        made, real = of.figures["made"], of.figures["real"]
        assert (made.nearest, made.hit, real.hit) == (of.trial.target, 1, 1)
        assert abs(made.semitones) < 0.2 < 2 < abs(of.figures["source"].semitones)
        assert made.mcd_db == 0 < of.figures["source"].mcd_db
        for row in ("source", "mulaw"):
            assert of.figures[row].nearest == of.trial.source
        assert np.isnan(real.mcd_db)


def test_words_are_counted_where_something_is_said(judged: tuple[Judged, ...]) -> None:
    """The same words are heard everywhere: errors follow from the text of each recording."""
    for of in judged:
        for row in ROWS:
            text = of.real_text if row == "real" else of.text
            found = of.figures[row]
            assert found.transcript == "hello world"
            assert (found.edits == 0) == (text == "Hello world.")


def test_groups_are_all_together_then_parts(judged: tuple[Judged, ...]) -> None:
    """One reconstruction group needs no sum; real targets beside several trials count once."""
    groups = {(of.kind, of.name): of.rows for of in group(judged, KNOWN)}
    assert list(groups)[:2] == [(RECONSTRUCTION, "corpus"), (PARALLEL, TOGETHER)]
    names = [name for kind, name in groups if kind == CONVERSION]
    assert names == [TOGETHER, "anyone → p225", "anyone → p226", UNKNOWN]
    together = groups[CONVERSION, TOGETHER]
    assert together["made"].recordings == 4
    assert groups[CONVERSION, UNKNOWN]["made"].recordings == 2
    assert together["made"].nearest_is_target == 1
    assert together["source"].nearest_is_target == 0
    distinct = {of.trial.real for of in judged if of.trial.kind == CONVERSION}
    assert together["real"].recordings == len(distinct)


def test_each_recording_is_heard_once(store: PackedStore) -> None:
    """However many trials a recording stands beside, the judges hear it once."""

    class Counting(Parrot):
        calls = 0

        def transcribe(self, wav: np.ndarray, sample_rate: int) -> str:
            self.calls += 1
            return self.heard

    plan = make_plan(store, KNOWN, count=3)
    sources = {trial.index for trial in plan.trials}
    real = {trial.real for trial in plan.trials}
    counting = Counting()
    wavs = tuple(store.wav(trial.index) for trial in plan.trials)
    judge(Judges(recogniser=counting, pitch=False), store, plan, Spoken(wavs, 1, 1), levels=256)
    assert counting.calls == len(plan.trials) + len(sources | real) + len(sources)


def test_without_a_text_nobody_writes_words_down(store: PackedStore) -> None:
    """The recogniser, the slowest judge, is spared."""
    judges = Judges(PitchVoices(), Parrot(), pitch=False, distortion=False)
    wav = store.wav(0)
    assert listen(judges, wav, 16000, words=False).transcript is None
    assert listen(judges, wav, 16000).transcript == "hello world"
    assert listen(judges, wav, 16000).pitch is None


def test_the_round_trip_is_off_by_less_than_its_steps() -> None:
    """256 levels move no sample by more than half of the widest step."""
    wav = np.linspace(-1, 1, 1001, dtype=np.float32)
    assert np.abs(mulaw_round_trip(wav, 256) - wav).max() < 0.022
