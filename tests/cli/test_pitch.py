"""Pitch on the command line: where a contour comes from, and models that take none."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqspeech import audio
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import save_model
from vqspeech.training.start import with_contours


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ([], {}),
        (["--pitch", "source"], {"pitch": "source"}),
        (
            ["--pitch", "predicted", "--pitch-shift", "-2.5"],
            {"pitch": "predicted", "semitones": -2.5},
        ),
        (["--pitch-shift", 4], {"semitones": 4}),
    ],
)
def test_convert_is_what_the_python_interface_gives(
    run, tone, tmp_path: Path, voiced_model: Autoencoder, voiced_model_file: Path, options, how
) -> None:
    """The file holds model.convert with the same pitch and shift, to 16 bits; read in blocks of any length."""
    path = tone("a.wav", 0.3)
    asked = ["convert", "--model", voiced_model_file, "--src", path, "--speaker", "p226"]
    assert run(*asked, "--out", "b.wav", *options).status == 0
    expected = voiced_model.convert(audio.read(path), "p226", **how).numpy()
    found, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    np.testing.assert_allclose(found, expected, atol=1 / 32768)


def test_a_shift_is_heard(run, tone, tmp_path: Path, voiced_model_file: Path) -> None:
    """Another shift, another recording; so too from codes alone."""
    tone("a.wav", 0.2)
    asked = ["--model", voiced_model_file, "--speaker", "p225"]
    assert run("codes", "a.wav", "--model", voiced_model_file, "--out", "codes").status == 0
    for name, shift in (("0.wav", 0), ("5.wav", 5)):
        extra = ["--out", name, "--pitch-shift", shift]
        assert run("convert", "--src", "a.wav", *asked, *extra).status == 0
        extra[1] = f"d{name}"
        assert run("decode", "codes/a.json", *asked, *extra).status == 0
    assert (tmp_path / "0.wav").read_bytes() != (tmp_path / "5.wav").read_bytes()
    assert (tmp_path / "d0.wav").read_bytes() != (tmp_path / "d5.wav").read_bytes()


def test_decode_needs_codes_alone(
    run, tone, tmp_path: Path, voiced_model: Autoencoder, voiced_model_file: Path
) -> None:
    """What decode writes is model.decode without a contour."""
    path = tone("a.wav", 0.2)
    asked = ["--model", voiced_model_file]
    assert run("codes", "a.wav", *asked, "--out", "codes").status == 0
    assert run("decode", "codes/a.json", *asked, "--speaker", "p227", "--out", "b.wav").status == 0
    wav = audio.read(path)
    expected = voiced_model.decode(voiced_model.encode(wav), "p227", len(wav)).numpy()
    found, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    np.testing.assert_allclose(found, expected, atol=1 / 32768)


@pytest.mark.parametrize("options", [["--pitch", "source"], ["--pitch-shift", "2"]])
def test_options_of_pitch_need_a_model_that_takes_it(run, tone, options) -> None:
    """They are refused in one line, and nothing is written."""
    tone("a.wav")
    error = run("convert", "--src", "a.wav", "--speaker", "p225", *options).error
    assert error.startswith(options[0])
    assert "takes no pitch" in error


def test_a_contour_is_drawn_where_the_model_has_a_distribution(
    run, tone, tmp_path: Path, voiced_model: Autoencoder, voiced_model_file: Path
) -> None:
    """With --seed, as the Python interface draws it; another model is refused, and nothing is written."""
    path = tone("a.wav", 0.2)
    asked = ["convert", "--src", path, "--speaker", "p226", "--pitch", "drawn", "--seed", 3]
    error = run(*asked, "--out", "b.wav", "--model", voiced_model_file).error
    assert "no distribution of pitch contours" in error
    assert not (tmp_path / "b.wav").exists()
    model = with_contours(voiced_model, 8).eval()
    save_model(model, tmp_path / "drawing.safetensors")
    assert run(*asked, "--out", "b.wav", "--model", "drawing.safetensors").status == 0
    expected = model.convert(audio.read(path), "p226", pitch="drawn", seed=3).numpy()
    found, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    np.testing.assert_allclose(found, expected, atol=1 / 32768)
