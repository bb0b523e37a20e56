import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vqspeech.audio import read
from vqspeech.audio.mulaw import mulaw_encode
from vqspeech.cli import bench
from vqspeech.sampling import ENGINES, measure, reference

KEYS = [
    "engine",
    "mode",
    "streams",
    "threads",
    "pitch_taps",
    "samples_per_s",
    "x_real_time",
    "x_reference",
    "max_abs_dlogit",
    "kl_nats",
    "delta_nll_nats",
]

QUICK = ("bench", "--rounds", 1, "--seconds", 0.001)
QUICKEST = (*QUICK, "--engine", "reference", "--streams", 1)


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few samples in all; and no engine for GPUs interpreted on the CPU, which would take hours."""
    monkeypatch.setattr(measure, "OWN_SAMPLES", 200)
    monkeypatch.setattr(measure, "BLOCK_SAMPLES", 16)
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 16)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def test_json_has_every_engine_and_mode_that_runs_here(run, tmp_path: Path) -> None:
    """A row for each, with finite figures; the baseline is once as fast as itself."""
    assert run(*QUICK, "--device", "cpu", "--json", "found.json").status == 0
    rows = json.loads((tmp_path / "found.json").read_text())
    assert all(list(row) == KEYS for row in rows)
    cpu = torch.device("cpu")
    able = {
        name: engine for name, engine in ENGINES.items() if engine.unavailable_reason(cpu) is None
    }
    expected = {(name, mode) for name, engine in able.items() for mode in engine.MODES}
    assert {(row["engine"], row["mode"]) for row in rows} == expected
    for row in rows:
        assert row["samples_per_s"] > 0
        assert row["x_real_time"] == row["samples_per_s"] / 16000
        assert 0 <= row["max_abs_dlogit"] < 0.5
        assert abs(row["delta_nll_nats"]) < 0.1
    (base,) = (
        row
        for row in rows
        if (row["engine"], row["streams"], row["threads"]) == ("reference", 1, 1)
    )
    assert base["x_reference"] == 1


def test_the_table_is_the_json_for_people(run, tiny_model_file: Path, tmp_path: Path) -> None:
    """What is measured, on what machine, a header and a line a row, all aligned, and what the accuracy is of."""
    found = run(*QUICKEST, "--streams", "1,3", "--device", "cpu", "--json", "found.json").out
    first, machine, *rest = found.splitlines()
    assert first == f"{tiny_model_file}: 16000 Hz, 8 samples a condition"
    assert f"torch {torch.__version__}" in machine
    assert "usable" in machine
    blank = rest.index("")
    header, *lines = rest[blank + 1 : rest.index("", blank + 1)]
    assert header.split()[:4] == ["engine", "mode", "streams", "threads"]
    assert {len(line) for line in lines} == {len(header)}
    rows = json.loads((tmp_path / "found.json").read_text())
    assert [line.split()[:4] for line in lines] == [
        [row["engine"], row["mode"], str(row["streams"]), str(row["threads"])] for row in rows
    ]
    assert [row["streams"] for row in rows] == [1, 3]
    assert "on the model's own samples (200 samples)" in rest[-1]


def test_engines_that_cannot_run_are_named_with_their_reason(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line has them all; they are no rows."""

    class Absent:
        MODES = ("quick",)

        def unavailable_reason(self, device: torch.device) -> str:
            return "nobody built it"

    monkeypatch.setitem(ENGINES, "absent", Absent())
    lines = run(*QUICKEST).out.splitlines()
    (line,) = (line for line in lines if "absent" in line)
    assert line.startswith("cannot run here: ")
    assert "absent (nobody built it)" in line


def test_without_a_model_there_are_random_weights(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line says so, and names the way to one's own; rows come without pitch taps and with them."""
    monkeypatch.delenv("VQSPEECH_MODEL")
    first, second, *rest = run(*QUICKEST).out.splitlines()
    assert first.startswith("random weights of the reference size; name a model with --model")
    assert second.startswith("pitch taps: random weights too, with random lags")
    rows = [line.split()[:5] for line in rest if line.startswith("reference")]
    assert rows == [["reference", "fp32", "1", "1", taps] for taps in ("no", "yes")]


def test_accuracy_on_speech(run, tone: Callable[..., Path]) -> None:
    """The files are named, and of each there are as many samples as were asked for or are there."""
    paths = tone("sub/a.wav", 0.05), tone("sub/b.wav", 0.01)
    last = run(*QUICKEST, "--speech", "sub", "--speech-seconds", 0.02).out.splitlines()[-1]
    assert all(path.name in last for path in paths)
    assert last.endswith("(480 samples)")
    assert "own samples" not in last


def test_few_of_many_files_are_listened_to(run, tone: Callable[..., Path]) -> None:
    """They are spread over the folder, not its first."""
    for number in range(6):
        tone(f"many/{number}.wav", 0.01)
    last = run(*QUICKEST, "--speech", "many").out.splitlines()[-1]
    assert [number for number in range(6) if f"{number}.wav" in last] == [0, 2, 4]


def test_a_passage_of_speech_is_levels_under_their_own_codes(
    tiny_model, tone: Callable[..., Path]
) -> None:
    """It is the middle of the file; the parallel pass on it is what the model's own likelihood is made of."""
    path = tone("a.wav", 0.05)
    wav = read(path, 16000)[300:500]
    passage = bench.speech_passage(tiny_model, path, "p226", 200 / 16000)
    assert torch.equal(passage.levels, mulaw_encode(torch.from_numpy(wav)))
    net = tiny_model.decoder.wavenet
    previous = net.previous(passage.levels[None])[0]
    logits = torch.cat(list(measure.parallel_logits(net, passage.condition, 8, previous)))
    found = torch.nn.functional.cross_entropy(logits, passage.levels, reduction="none")
    expected = tiny_model.nll(passage.levels, tiny_model.encode(wav), "p226")
    torch.testing.assert_close(found, expected)


def test_no_more_of_a_long_file_is_read_than_its_head(
    tiny_model, tone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 11 seconds, one second is from 4.5 s on: the middle of the first ten."""
    path = tone("long.wav", 11)
    wav = read(path, 16000)[72000:88000]
    passage = bench.speech_passage(tiny_model, path, "p225", 1.0)
    assert np.array_equal(passage.levels, mulaw_encode(torch.from_numpy(wav)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--engine", "warp"], "engine 'warp': there is no such engine"),
        (["--mode", "int3"], "mode 'int3'"),
        (["--streams", "0"], "'0' is not a whole number"),
        (["--streams", "1,,2"], "'' is not a whole number"),
        (["--threads", "two"], "'two' is not a whole number"),
        (["--rounds", "0"], "'0' is not a whole number"),
        (["--seconds", "0"], "'0' is not a number above 0"),
        (["--seconds", "nan"], "'nan' is not a number above 0"),
        (["--speech-seconds", "61"], "at most 60"),
        (["--speaker", "nobody"], "speaker 'nobody'"),
        (["--speech", "missing.wav"], "missing.wav: no such file"),
        (["--model", "missing.safetensors"], "missing.safetensors"),
        (["--device", "gpu9"], "gpu9"),
        (["--json", "."], ". is a folder"),
        (["--json", "a.wav/found.json"], "a.wav is not a folder"),
    ],
)
def test_what_cannot_be_is_one_line(
    run, tone: Callable[..., Path], arguments: list[str], expected: str
) -> None:
    """What was asked for and what is wrong with it, before anything is measured."""
    tone("a.wav")
    outcome = run("bench", *arguments)
    assert expected in outcome.error
    assert outcome.out == ""


@pytest.mark.parametrize("arguments", [["--speech", "a.wav"], ["--speaker", "p225"]])
def test_random_weights_know_no_speech(
    run, tone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Speech and speakers need a model."""
    monkeypatch.delenv("VQSPEECH_MODEL")
    tone("a.wav")
    assert "name a model with --model" in run("bench", *arguments).error


def test_existing_figures_are_kept(run, tmp_path: Path) -> None:
    """Without --force nothing is measured or written, with it the file is replaced."""
    path = tmp_path / "found.json"
    path.write_text("mine")
    assert "found.json exists" in run(*QUICKEST, "--json", path).error
    assert path.read_text() == "mine"
    assert run(*QUICKEST, "--json", path, "--force").status == 0
    assert len(json.loads(path.read_text())) == 1
