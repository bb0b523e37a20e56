"""What is measured of engines, on engines and clocks whose figures can be worked out by hand."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field

import pytest
import torch
import wavenets
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vqspeech.errors import ConfigurationError
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import BLOCK_SAMPLES, ENGINES, Sampling, Stream, measure, reference
from vqspeech.sampling.measure import BASELINE, Accuracy, Case, Passage, Subject

CPU = torch.device("cpu")


@dataclass
class Fake:
    """An engine that draws zeros by a clock of its own, and whose logits are those of the parallel pass, altered."""

    MODES: tuple[str, ...] = ("rough", "fine")
    reason: str | None = None
    offset: Tensor = field(default_factory=lambda: torch.zeros(()))
    now: float = 0.0
    asked: list[str] = field(default_factory=list)

    def unavailable_reason(self, device: torch.device) -> str | None:
        return self.reason

    def draw(
        self, wavenet: WaveNet, streams: Sequence[Stream], hop: int, sampling: Sampling
    ) -> Iterator[list[Tensor]]:
        """Take 100 s to get ready, then 1 s for each block."""
        self.now += 100
        left = [len(stream.uniforms) for stream in streams]
        while any(left):
            self.now += 1
            yield [torch.zeros(min(n, BLOCK_SAMPLES), dtype=torch.int64) for n in left]
            left = [max(0, n - BLOCK_SAMPLES) for n in left]

    def logits(
        self,
        wavenet: WaveNet,
        condition: Tensor,
        hop: int,
        previous: Tensor,
        mode: str,
        lag: Tensor | None = None,
    ) -> Tensor:
        self.asked.append(mode)
        found = torch.cat(list(measure.parallel_logits(wavenet, condition, hop, previous, lag)))
        return found + (self.offset if mode == "rough" else 0)


def make_subject(levels: int = 4, taps: bool = False) -> Subject:
    net = wavenets.make([1, 2, 4], levels, (6, 8, 10), taps=taps)
    lag = torch.tensor([0, 4, 7, 0, 2]) if taps else None
    return Subject(net, torch.randn(5, 4), hop=3, sample_rate=1000, lag=lag)


@pytest.fixture
def subject() -> Subject:
    return make_subject()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Return a fake engine that is registered beside the reference, and whose clock is the clock."""
    engine = Fake()
    monkeypatch.setattr(measure, "ENGINES", {"fake": engine, "reference": reference})
    monkeypatch.setattr("vqspeech.sampling.ENGINES", {"fake": engine, "reference": reference})
    monkeypatch.setattr(
        measure, "LOADS", {"fake": ((1, 1), (6, 1), (12, 2)), "reference": ((1, 1), (16, 1))}
    )
    monkeypatch.setattr(measure, "usable_threads", lambda: 2)
    monkeypatch.setattr(measure.time, "perf_counter", lambda: engine.now)
    return engine


def test_every_engine_that_runs_is_planned_with_every_mode(fake: Fake) -> None:
    """By default each mode gets the loads of its engine, in order, and the baseline is among them."""
    rows = [(1, 1), (6, 1), (12, 2)]
    expected = [Case("fake", mode, *load) for mode in fake.MODES for load in rows]
    expected += [BASELINE, BASELINE._replace(streams=16)]
    assert measure.plan(CPU) == expected
    fake.reason = "it is broken"
    assert {case.engine for case in measure.plan(CPU)} == {"reference"}


def test_cases_come_with_and_without_pitch_taps(fake: Fake) -> None:
    """Side by side, and the baseline is without them where there is such a WaveNet, else with them."""
    asked = {"engines": ["fake"], "modes": ["fine"], "streams": [2], "threads": [1]}
    case = Case("fake", "fine", 2, 1)
    tapped = case._replace(pitch_taps=True)
    assert measure.plan(CPU, **asked, pitch_taps=[False, True]) == [case, tapped, BASELINE]
    with_taps = BASELINE._replace(pitch_taps=True)
    assert measure.plan(CPU, **asked, pitch_taps=[True]) == [tapped, with_taps]


def test_on_one_core_no_more_threads_are_planned(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of two threads need two cores, unless they are asked for."""
    monkeypatch.setattr(measure, "usable_threads", lambda: 1)
    assert {case.threads for case in measure.plan(CPU)} == {1}
    assert {case.threads for case in measure.plan(CPU, engines=["fake"], threads=[3])} == {3, 1}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"modes": ["fine"], "streams": [2]}, [("fake", "fine", 2, 1), ("fake", "fine", 2, 2)]),
        (
            {"engines": ["fake"], "modes": ["rough"], "threads": [2]},
            [("fake", "rough", n, 2) for n in (1, 6, 12)],
        ),
        ({"engines": ["reference"], "threads": [2], "streams": [3]}, [("reference", "fp32", 3, 1)]),
        (
            {"engines": ["auto"], "modes": ["fine"], "streams": [2, 1], "threads": [1]},
            [("fake", "fine", 2, 1), ("fake", "fine", 1, 1)],
        ),
    ],
)
def test_what_is_asked_for_is_planned(fake: Fake, selection: dict, expected: list) -> None:
    """Streams and threads make pairs, threads are nothing to the reference, and the baseline always comes."""
    assert measure.plan(CPU, **selection) == [*(Case(*row) for row in expected), BASELINE]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"engines": ["warp"]}, "engine 'warp': there is no such engine"),
        ({"engines": ["fake"]}, "engine fake: it is broken"),
        ({"modes": ["int3"]}, "mode 'int3': reference has fp32"),
    ],
)
def test_what_cannot_be_measured_is_refused(fake: Fake, selection: dict, message: str) -> None:
    """The line says what was asked for and what there is."""
    fake.reason = "it is broken"
    with pytest.raises(ConfigurationError, match=message):
        measure.plan(CPU, **selection)


def test_getting_ready_is_not_timed_where_there_are_several_blocks(
    fake: Fake, subject: Subject
) -> None:
    """A draw of four blocks is timed from its second on, a draw of one block whole."""
    case = Case("fake", "rough", 3, 1)
    assert measure.speed(subject, case, 4 * BLOCK_SAMPLES) == 3 * BLOCK_SAMPLES
    assert measure.speed(subject, case, BLOCK_SAMPLES + 5) == 3 * 5
    assert measure.speed(subject, case, 202) == 3 * 202 / 101


def test_lengths_fill_the_time() -> None:
    """A fast row gets whole blocks and one more, which is not timed; a slow one what it can do; none gets nothing."""
    assert measure.length(100.0, 1, 0.5) == 50
    assert measure.length(100.0, 2, 0.5) == 25
    assert measure.length(1e-3, 1, 0.5) == 1
    assert measure.length(2.0 * BLOCK_SAMPLES, 2, 1.0) == 2 * BLOCK_SAMPLES
    assert measure.length(10.5 * BLOCK_SAMPLES, 1, 1.0) == 11 * BLOCK_SAMPLES


def test_rounds_are_interleaved(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one warm-up each, every round has every case once, in order, and the median is the result."""
    first, second = Case("fake", "rough", 1, 1), Case("fake", "rough", 2, 1, pitch_taps=True)
    tapped = make_subject(taps=True)
    rates = iter([100.0, 4000.0, 5.0, 70.0, 1.0, 60.0, 3.0, 50.0])
    calls: list[tuple[Case, int]] = []
    ticks: list[None] = []

    def speed(timed: Subject, case: Case, samples: int) -> float:
        assert timed is (tapped if case.pitch_taps else subject)
        calls.append((case, samples))
        return next(rates)

    monkeypatch.setattr(measure, "speed", speed)
    found = measure.speeds(
        {False: subject, True: tapped},
        [first, second],
        rounds=3,
        seconds=0.5,
        tick=lambda: ticks.append(None),
    )
    assert found == [3.0, 60.0]
    assert calls[:2] == [(first, 2 * BLOCK_SAMPLES), (second, 2 * BLOCK_SAMPLES)]
    assert calls[2:] == [(first, 50), (second, 1000)] * 3
    assert len(ticks) == len(calls)


@torch.inference_mode()
@given(samples=st.integers(1, 60), window=st.integers(1, 70))
def test_windows_joined_are_the_parallel_pass(samples: int, window: int) -> None:
    """Whatever the window, each logit is that of one pass over everything, up to rounding at 1e-5."""
    subject = make_subject()
    previous = torch.randint(4, (samples,))
    condition = subject.cover(samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "WINDOW_SAMPLES", window)
        windows = list(measure.parallel_logits(subject.wavenet, condition, subject.hop, previous))
    padded = torch.nn.functional.pad(previous, (0, -samples % subject.hop))
    whole = subject.wavenet(padded[None], condition[None])[0, :samples]
    torch.testing.assert_close(torch.cat(windows), whole, rtol=1e-5, atol=1e-5)
    assert all(len(w) <= max(window, subject.hop) for w in windows)


def passages_of(subject: Subject, *lengths: int) -> list[Passage]:
    return [
        Passage(subject.cover(n), torch.randint(4, (n,)), subject.cover_lag(n)) for n in lengths
    ]


@pytest.mark.parametrize("shift", [0.0, 0.5, math.nan])
def test_a_shift_of_all_logits_changes_no_distribution(subject: Subject, shift: float) -> None:
    """Logits are off by the shift, probabilities by rounding; of none by nothing; what is no number shows."""
    shifted = Fake(offset=torch.tensor(shift))
    found = measure.accuracy(subject.wavenet, 3, shifted, "rough", passages_of(subject, 20, 7))
    if math.isnan(shift):
        assert all(map(math.isnan, astuple(found)))
    elif shift == 0:
        assert found == Accuracy(0.0, 0.0, 0.0)
    else:
        assert astuple(found) == pytest.approx((shift, 0, 0), abs=1e-6)
        assert found.kl_nats == pytest.approx(0, abs=1e-12)


def test_errors_by_hand() -> None:
    """Of a uniform distribution over 4 levels, ln 2 and ln 3 more on two logits cost what they cost on paper.

    The engine has (2, 3, 1, 1) / 7: KL = mean of ln(7 / 4q), and NLL grows by ln(7 / 4q) of the true level.
    """
    subject = make_subject()
    torch.nn.init.zeros_(subject.wavenet.output.weight)
    torch.nn.init.zeros_(subject.wavenet.output.bias)
    off = Fake(offset=torch.tensor([math.log(2), math.log(3), 0, 0]))
    passages = [
        Passage(subject.cover(3), torch.tensor([0, 1, 1])),
        Passage(subject.cover(1), torch.tensor([2])),
    ]
    found = measure.accuracy(subject.wavenet, 3, off, "rough", passages)
    assert found.max_abs_dlogit == pytest.approx(math.log(3))
    assert found.kl_nats == pytest.approx(math.log(7 / 4) - math.log(6) / 4)
    assert found.delta_nll_nats == pytest.approx(math.log(7 / 4) - math.log(18) / 4)


@pytest.mark.parametrize("taps", [False, True])
def test_the_reference_engine_is_near_the_parallel_pass(taps: bool) -> None:
    """Its own logits are compared: off by rounding, of the order of 1e-6 where logits are of the order of 1."""
    subject = make_subject(taps=taps)
    found = measure.accuracy(subject.wavenet, 3, reference, "fp32", passages_of(subject, 40, 3))
    assert 0 < found.max_abs_dlogit < 2e-5
    assert found.kl_nats < 1e-9


def test_rows_have_their_baseline_beside_them(fake: Fake, subject: Subject) -> None:
    """Speeds stand beside real time and the reference, accuracy is found once for each mode and WaveNet."""
    fake.offset = torch.tensor(0.25)
    cases = [
        Case("fake", "rough", 1, 1),
        Case("fake", "rough", 12, 2),
        Case("fake", "fine", 6, 1),
        Case("fake", "fine", 6, 1, pitch_taps=True),
        BASELINE,
    ]
    tapped = make_subject(taps=True)
    rates = dict(zip(cases, (2000.0, 12000.0, 500.0, 400.0, 100.0), strict=True))
    ticks: list[None] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "speed", lambda _subject, case, _samples: rates[case])
        rows = measure.measure(
            {False: subject, True: tapped},
            cases,
            {False: passages_of(subject, 8), True: passages_of(tapped, 8)},
            rounds=2,
            seconds=0.1,
            tick=lambda: ticks.append(None),
        )
    found = [Case(row.engine, row.mode, row.streams, row.threads, row.pitch_taps) for row in rows]
    assert found == cases
    assert [row.samples_per_s for row in rows] == list(rates.values())
    assert [row.x_real_time for row in rows] == [2.0, 12.0, 0.5, 0.4, 0.1]
    assert [row.x_reference for row in rows] == [20.0, 120.0, 5.0, 4.0, 1.0]
    assert [round(row.max_abs_dlogit, 3) for row in rows] == [0.25, 0.25, 0, 0, 0]
    assert fake.asked == ["rough", "fine", "fine"]
    assert len(ticks) == measure.pieces(cases, rounds=2) == 3 * 5 + 4


def test_a_condition_is_repeated_as_long_as_needed(subject: Subject) -> None:
    """As many frames as hold the samples, the first ones again after the last."""
    assert torch.equal(subject.cover(4), subject.condition[:2])
    repeated = subject.cover(3 * 11)
    assert torch.equal(repeated, subject.condition.repeat(3, 1)[:11])


@pytest.mark.parametrize("taps", [False, True])
def test_a_model_draws_its_own_passage_the_same_each_time(taps: bool) -> None:
    """The levels are as many as asked for, covered by their condition and lags, and always the same."""
    subject = make_subject(taps=taps)
    one, again = (measure.own_passage(subject, 20) for _ in range(2))
    assert one.levels.shape == (20,)
    assert len(one.condition) == 7
    assert (one.lag is None) if not taps else one.lag.tolist() == [0, 4, 7, 0, 2, 0, 4]
    assert torch.equal(one.levels, again.levels)


def test_the_reference_size() -> None:
    """Its multiply-adds are those it claims, it is always the same, and leaves chance alone."""
    state = torch.random.get_rng_state()
    net = measure.reference_subject().wavenet
    assert torch.equal(torch.random.get_rng_state(), state)
    products = (
        net.gate_weight,
        net.residual_weight,
        net.skip.weight,
        net.hidden.weight,
        net.output.weight,
    )
    assert sum(weight.numel() for weight in products) == 864_256
    assert net.receptive_field == 2047
    again = measure.reference_subject().wavenet
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_the_reference_size_with_pitch_taps() -> None:
    """All else is the same, no tap is 0, and some frames have a lag of 60 to 400 Hz and some none."""
    plain, tapped = measure.reference_subject(), measure.reference_subject(pitch_taps=True)
    other = dict(tapped.wavenet.named_parameters())
    for name, weight in plain.wavenet.named_parameters():
        assert torch.equal(weight, other[name]), name
    assert torch.equal(plain.condition, tapped.condition)
    assert other["taps"].all()
    lag = tapped.cover_lag(256 * 160)
    assert set(lag.tolist()) <= {0, *range(40, 267)}
    assert 0.4 < (lag > 0).float().mean() < 0.8
    again = measure.reference_subject(pitch_taps=True)
    assert torch.equal(again.lag, tapped.lag)


def test_every_engine_has_loads() -> None:
    """Each engine says what it is timed with, one stream on one thread first."""
    assert set(ENGINES) <= set(measure.LOADS)
    assert {loads[0] for loads in measure.LOADS.values()} == {(1, 1)}
