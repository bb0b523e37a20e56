"""What can be asked of an engine, and which one is taken."""

import os
from dataclasses import dataclass, replace

import pytest
import torch
import wavenets

import vqspeech
from vqspeech.cli.options import ENGINE_CHOICES
from vqspeech.errors import ConfigurationError
from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import ENGINES, Sampling, draw, resolve, uniforms, usable_threads

CPU = torch.device("cpu")


@dataclass
class Fake:
    """An engine as far as the choice between engines goes."""

    MODES: tuple[str, ...]
    reason: str | None = None
    DEVICE: str | None = None

    def unavailable_reason(self, device: torch.device) -> str | None:
        return self.reason


FAKES = {
    "far": Fake(("quick",), "the model is on the cpu"),
    "near": Fake(("exact", "rough")),
    "slow": Fake(("exact",)),
}


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), ("near", "exact")),
        (Sampling(mode="rough"), ("near", "rough")),
        (Sampling(engine="slow"), ("slow", "exact")),
        (Sampling(engine="near", mode="rough"), ("near", "rough")),
    ],
)
def test_the_first_that_runs_and_its_first_mode(
    sampling: Sampling, expected: tuple[str, str]
) -> None:
    """auto is the fastest engine that can run and its default arithmetic; what is named is taken."""
    name, mode = expected
    assert resolve(FAKES, sampling, CPU) == replace(sampling, engine=name, mode=mode)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(engine="warp"), "engine 'warp': there is no such engine.*auto, far, near, slow"),
        (Sampling(engine="far"), "engine far: the model is on the cpu"),
        (Sampling(mode="quick"), "mode 'quick': engine near has exact, rough"),
        (Sampling(engine="slow", mode="rough"), "mode 'rough': engine slow has exact"),
    ],
)
def test_what_cannot_run_is_refused(sampling: Sampling, expected: str) -> None:
    """The line names what was asked for and what there is."""
    with pytest.raises(ConfigurationError, match=expected):
        resolve(FAKES, sampling, CPU)


@pytest.mark.parametrize(
    "setting",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": -0.1},
        {"top_p": 1.01},
        {"top_p": float("nan")},
        {"threads": 0},
        {"threads": -2},
    ],
)
def test_numbers_that_mean_nothing(setting: dict) -> None:
    """They are refused where they are given, by name."""
    ((name, value),) = setting.items()
    with pytest.raises(ConfigurationError, match=f"{name} {value}"):
        Sampling(**setting)


@pytest.mark.parametrize(
    ("temperature", "effective"), [(0, 0), (1e-45, 0), (1e-6, 1e-6), (1, 1), (float("inf"),) * 2]
)
def test_the_lowest_temperatures_are_none(temperature: float, effective: float) -> None:
    """Below what can be divided by, a temperature is 0; all others stay."""
    assert Sampling(temperature=temperature).effective_temperature == effective


def test_the_command_line_offers_every_engine() -> None:
    """The names are written out there; they are these."""
    assert list(ENGINE_CHOICES) == ["auto", *ENGINES]


def test_every_engine_names_its_modes() -> None:
    """There is at least one, none is called auto, and the last engine runs anywhere."""
    for engine in ENGINES.values():
        assert engine.MODES
        assert "auto" not in engine.MODES
    assert list(ENGINES)[-1] == "reference"
    assert ENGINES["reference"].unavailable_reason(CPU) is None


EVERY = [
    pytest.param(
        name,
        mode,
        marks=pytest.mark.skipif(
            engine.unavailable_reason(CPU) is not None, reason=f"{engine.unavailable_reason(CPU)}"
        ),
    )
    for name, engine in ENGINES.items()
    for mode in engine.MODES
]
HOP = 4


@pytest.fixture(scope="module")
def wavenet() -> WaveNet:
    """A small network with random weights and no bias towards any level."""
    with torch.random.fork_rng(devices=[]):
        return wavenets.make([1, 2, 4], 32, (16, 32, 32), 8, spread=1.0)


@pytest.mark.parametrize(("name", "mode"), EVERY)
def test_logits_are_those_of_the_parallel_pass(name: str, mode: str, wavenet: WaveNet) -> None:
    """Exact in float32; in rougher arithmetic within a tenth of what tells levels apart."""
    condition = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
    previous = torch.randint(32, (20 * HOP,), generator=torch.Generator().manual_seed(2))
    expected = ENGINES["reference"].logits(wavenet, condition, HOP, previous, "fp32")
    found = ENGINES[name].logits(wavenet, condition, HOP, previous, mode)
    allowed = 1e-4 if mode == "fp32" else 0.1 * float(expected.std())
    assert float((found - expected).abs().max()) < allowed


@pytest.mark.parametrize(("name", "mode"), EVERY)
def test_a_stream_does_not_depend_on_its_batch(name: str, mode: str, wavenet: WaveNet) -> None:
    """Levels of streams drawn together, some as long as others, are those that each has alone, by its own seed."""
    generator = torch.Generator().manual_seed(3)
    frames = [30, 7, 30, 19, 1]
    conditions = [torch.randn(count, 8, generator=generator) for count in frames]
    samples, seeds = [count * HOP - 1 for count in frames], [5, 6, 7, 5, 8]

    def drawn(places: list[int], seeds: list[int] = seeds) -> list[torch.Tensor]:
        blocks = draw(
            wavenet,
            [conditions[place] for place in places],
            HOP,
            [samples[place] for place in places],
            seeds=[seeds[place] for place in places],
            sampling=Sampling(engine=name, mode=mode),
        )
        return [torch.cat(parts) for parts in zip(*blocks, strict=True)]

    for place, together in enumerate(drawn([*range(5)])):
        assert (len(together), together.dtype) == (samples[place], torch.int64)
        torch.manual_seed(place)
        assert torch.equal(together, drawn([place])[0])
    assert not torch.equal(drawn([0])[0], drawn([0], [9])[0])


def test_numbers_of_a_stream_are_its_seed() -> None:
    """Uniform in [0, 1), and a longer stream of the same seed begins with those of a shorter one."""
    numbers = uniforms(2000, 7)
    assert (numbers.dtype, numbers.shape) == (torch.float32, (2000,))
    assert 0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1
    assert torch.equal(uniforms(300, 7), numbers[:300])
    assert not torch.equal(uniforms(300, 8), numbers[:300])


def test_usable_threads_are_those_of_this_process() -> None:
    """No more than the machine has, and as many as the process is tied to."""
    assert 1 <= usable_threads() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            assert usable_threads() == 1
        finally:
            os.sched_setaffinity(0, before)


def test_the_package_offers_sampling() -> None:
    """vqspeech.Sampling is what decode takes."""
    assert vqspeech.Sampling is Sampling
