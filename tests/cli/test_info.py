import json
import math
from pathlib import Path

from vqspeech.models import pretrained


def test_json_tells_what_the_model_is(run, tiny_model, tiny_model_file: Path) -> None:
    """Rates, sizes and speakers are those of the loaded model."""
    found = json.loads(run("info", "--json").out)
    assert found["file"] == str(tiny_model_file)
    assert found["speakers"] == list(tiny_model.speakers)
    assert found["hop_samples"] == tiny_model.hop
    assert found["code_rate_hz"] == tiny_model.sample_rate / tiny_model.hop
    assert found["bit_rate_bps"] == found["code_rate_hz"] * math.log2(tiny_model.codebook_size)
    assert found["parameters"]["total"] == sum(p.numel() for p in tiny_model.parameters())
    assert found["encoder_receptive_field_samples"] == tiny_model.receptive_field
    assert {"architecture", "training", "scores"} <= found.keys()


def test_text_names_every_speaker(run, tiny_model) -> None:
    """The readable form lists all speakers and the code rate."""
    text = run("info").out
    assert all(name in text for name in tiny_model.speakers)
    assert f"{tiny_model.frame_rate_hz:.6g}" in text


def test_the_model_can_be_named_either_way(run, tiny_model_file: Path, monkeypatch) -> None:
    """A bare argument, --model and the variable mean the same."""
    by_variable = run("info", "--json").out
    monkeypatch.delenv("VQSPEECH_MODEL")
    assert run("info", tiny_model_file, "--json").out == by_variable
    assert run("info", "--model", tiny_model_file, "--json").out == by_variable


def test_shipped_models_go_by_name(run, shipped_folder: Path, monkeypatch) -> None:
    """The default one needs no name; the file that was found is told."""
    named = run("info", "vctk", "--json").out
    assert json.loads(named)["file"] == str(shipped_folder / "vctk.safetensors")
    monkeypatch.delenv("VQSPEECH_MODEL")
    assert run("info", "--json").out == named


def test_the_list_has_a_line_for_each_model_that_is_there(
    run, shipped_folder: Path, tiny_model, monkeypatch
) -> None:
    """Rate, number of codes and of speakers, size, and which is the default; none at all is an error."""
    (line,) = run("info", "--list").out.splitlines()
    assert line.split()[0] == "vctk"
    assert f"{tiny_model.frame_rate_hz:g} codes/s, {tiny_model.codebook_size} different" in line
    assert f"{len(tiny_model.speakers)} speakers, 0.1 MB (default)" in line
    monkeypatch.setattr(pretrained, "FOLDER", shipped_folder / "nothing")
    assert "nothing/vctk.safetensors: missing" in run("info", "--list").error


def test_the_card(run, shipped_folder: Path, tiny_model_file: Path) -> None:
    """It is printed as it lies there; a model file of one's own has none."""
    assert run("info", "--card", "vctk").out == (shipped_folder / "vctk.md").read_text()
    assert run("info", "--card", "--model", "vctk").out.startswith("# vctk")
    assert "no card" in run("info", "--card", tiny_model_file).error
    assert "phoneme25.md: missing" in run("info", "--card", "phoneme25").error


def test_files_that_are_no_models(run, tmp_path: Path) -> None:
    """Each is one line with the name of the file."""
    (tmp_path / "text.safetensors").write_text("not a model")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    for name in ("text.safetensors", "empty.safetensors", "missing.safetensors", "."):
        assert name in run("info", name).error
