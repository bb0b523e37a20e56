"""What the commands make of a model without codes: some work as ever, those that are about codes say one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import vqspeech
from vqspeech import audio


@pytest.fixture
def model(continuous_model_file: Path, monkeypatch: pytest.MonkeyPatch, run) -> Path:
    """Make it the default model."""
    monkeypatch.setenv("VQSPEECH_MODEL", str(continuous_model_file))
    return continuous_model_file


def test_codes_and_analyze_refuse_before_anything_is_written(
    run, tone, model: Path, tmp_path: Path
) -> None:
    """One line that names the model and its bottleneck."""
    tone("in/a.wav")
    for argv in (
        ["codes", "in/a.wav"],
        ["codes", "in", "--out", "codes"],
        ["analyze", "--corpus", "in", "--out", "analysis"],
    ):
        line = run(*argv).error
        assert line.startswith((f"{model}: the model has no codes", "gaussian: the model has no"))
        assert "'gaussian' is continuous" in line
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_decode_refuses_codes_of_another_model(run, tone, tiny_model_file: Path, model) -> None:
    """Codes are not latents; whose they are does not matter."""
    tone("a.wav")
    Path("a.json").write_text(run("codes", "a.wav", "--model", tiny_model_file).out)
    line = run("decode", "a.json", "--speaker", "p225").error
    assert line.startswith(f"{model}: the model has no codes")
    assert not list(Path().glob("*-p225.wav"))


def test_convert_works(run, tone, model: Path, tmp_path: Path) -> None:
    """The file holds what the Python interface gives, in pieces and all."""
    path = tone("a.wav", 0.0523)
    assert run("convert", "--src", path, "--speaker", "p226", "--seed", 5).status == 0
    expected = vqspeech.load(model).convert(audio.read(path), "p226", seed=5).numpy()
    found, _ = soundfile.read(tmp_path / "a-p226.wav", dtype="float32")
    np.testing.assert_allclose(found, expected, atol=1 / 32768)


def test_info_has_no_size_and_no_rate_of_codes(run, model: Path) -> None:
    """Both are null in JSON and a dash for people; the rest is there."""
    found = json.loads(run("info", "--json").out)
    assert found["codebook_size"] is None
    assert found["bit_rate_bps"] is None
    assert found["architecture"]["bottleneck"]["kind"] == "gaussian"
    assert any(line.split() == ["codebook", "size", "-"] for line in run("info").out.splitlines())


def test_bench_measures_it(run, tone, model: Path) -> None:
    """Engines are timed under made latents, and compared on those of real speech."""
    tone("a.wav", 0.2)
    words = ["--seconds", "0.02", "--rounds", "1", "--streams", "1", "--engine", "reference"]
    printed = run("bench", "--model", model, "--speech", "a.wav", *words).printed
    assert "reference" in printed
