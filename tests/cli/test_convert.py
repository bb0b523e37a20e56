from pathlib import Path

import numpy as np
import pytest
import soundfile

import vqspeech
from vqspeech import audio
from vqspeech.checkpoint import save_model


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def first_two(tiny_model) -> list[str]:
    return list(tiny_model.speakers[:2])


def test_default_output_is_source_and_speaker_in_this_folder(
    run, tone, tmp_path: Path, first_two
) -> None:
    """in/a.wav in the voice of X becomes ./a-X.wav, as long as the source, at the model's rate."""
    tone("in/a.wav", 0.0523)
    outcome = run("convert", "--src", "in/a.wav", "--speaker", first_two[0])
    assert outcome.out == f"a-{first_two[0]}.wav\n"
    found = soundfile.info(tmp_path / f"a-{first_two[0]}.wav")
    assert (found.samplerate, found.frames, found.channels) == (16000, 837, 1)


def test_conversion_is_what_the_python_interface_gives(
    run, tone, tmp_path: Path, tiny_model
) -> None:
    """The file holds model.convert with the same seed and temperature, to 16 bits."""
    speaker = tiny_model.speakers[1]
    path = tone("a.wav")
    run(
        "convert",
        "--src",
        path,
        "--speaker",
        speaker,
        "--out",
        "b.wav",
        "--seed",
        7,
        "--temperature",
        0.5,
    )
    expected = tiny_model.convert(audio.read(path), speaker, seed=7, temperature=0.5).numpy()
    found, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    np.testing.assert_allclose(found, expected, atol=1 / 32768)


def test_the_seed_decides_the_bytes(run, tone, tmp_path: Path, first_two) -> None:
    """Same seed, same bytes; another seed, another recording."""
    tone("a.wav")
    for name, seed in (("x.wav", 1), ("y.wav", 1), ("z.wav", 2)):
        argv = ["--src", "a.wav", "--speaker", first_two[0], "--out", name, "--seed", seed]
        assert run("convert", *argv).status == 0
    x, y, z = ((tmp_path / name).read_bytes() for name in ("x.wav", "y.wav", "z.wav"))
    assert x == y
    assert x != z


@pytest.mark.parametrize("form", ["comma", "repeated"])
def test_folders_and_several_speakers(run, tone, tmp_path: Path, first_two, form: str) -> None:
    """Every file in every voice, mirrored below --out."""
    tone("in/a.wav", 0.02)
    tone("in/deep/b.flac", 0.03)
    speakers = (
        ["--speaker", ",".join(first_two)]
        if form == "comma"
        else ["--speaker", first_two[0], "--speaker", first_two[1]]
    )
    outcome = run("convert", "--src", "in", *speakers, "--out", "out")
    expected = {f"{stem}-{name}.wav" for stem in ("a", "deep/b") for name in first_two}
    assert names_below(tmp_path / "out") == expected
    assert {line.removeprefix("out/") for line in outcome.out.splitlines()} == expected


@pytest.mark.parametrize("suffix", audio.SUFFIXES)
def test_the_suffix_of_out_decides_the_format(run, tone, tmp_path: Path, first_two, suffix) -> None:
    """Every format that can be read can be asked for."""
    tone("a.wav")
    assert (
        run("convert", "--src", "a.wav", "--speaker", first_two[0], "--out", f"b{suffix}").status
        == 0
    )
    assert audio.info(tmp_path / f"b{suffix}").samples > 0


def test_unknown_speaker_names_those_that_look_alike(run, tone, tmp_path: Path, first_two) -> None:
    """A slip of a letter is answered with the right name, and nothing is written."""
    tone("a.wav")
    error = run("convert", "--src", "a.wav", "--speaker", first_two[0] + "x").error
    assert first_two[0] in error
    assert names_below(tmp_path) == {"a.wav"}


def test_existing_output_is_kept_unless_forced(run, tone, tmp_path: Path, first_two) -> None:
    """One existing file among several is found before any is made."""
    tone("in/a.wav")
    tone("in/b.wav")
    kept = tmp_path / "out" / f"b-{first_two[0]}.wav"
    kept.parent.mkdir()
    kept.write_text("mine")
    argv = ["convert", "--src", "in", "--speaker", first_two[0], "--out", "out"]
    assert "exists" in run(*argv).error
    assert names_below(tmp_path / "out") == {kept.name}
    assert kept.read_text() == "mine"
    assert run(*argv, "--force").status == 0
    assert kept.read_bytes()[:4] == b"RIFF"


def test_a_source_is_never_overwritten(run, tone, tmp_path: Path, first_two) -> None:
    """--force does not reach the source, under another spelling of its path either."""
    path = tone("a.wav")
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(tmp_path)
    argv = ["convert", "--src", "a.wav", "--speaker", first_two[0], "--force", "--out"]
    for out in ("a.wav", "link/a.wav"):
        assert "is itself a source" in run(*argv, out).error
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/../escaped", "..", "a/../../../escaped"])
def test_a_speaker_name_cannot_leave_the_output_folder(
    run, tone, tmp_path: Path, tiny_model, name: str
) -> None:
    """A model file whose speakers are named like paths writes inside --out or nowhere."""
    tone("a.wav")
    state = tiny_model.state_dict()
    hostile = vqspeech.Autoencoder(
        tiny_model.config, [name, *[f"s{i}" for i in range(len(tiny_model.speakers) - 1)]]
    )
    hostile.load_state_dict(state)
    save_model(hostile, tmp_path / "hostile.safetensors")
    before = names_below(tmp_path)
    outcome = run(
        "convert", "--src", "a.wav", "--speaker", name, "--out", "deep/out",
        "--model", "hostile.safetensors",
    )  # fmt: skip
    made = names_below(tmp_path) - before
    assert all(path.startswith("deep/out/") for path in made)
    if outcome.status:
        assert "outside" in outcome.error
        assert not made


def test_an_output_link_cannot_lead_outside(run, tone, tmp_path: Path, first_two) -> None:
    """A link below --out that leads elsewhere is not followed."""
    tone("in/deep/a.wav")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/deep").symlink_to(tmp_path / "elsewhere")
    error = run("convert", "--src", "in", "--speaker", first_two[0], "--out", "out").error
    assert "outside" in error
    assert not names_below(tmp_path / "elsewhere")


def test_bad_files_do_not_stop_the_others(run, tone, tmp_path: Path, first_two, caplog) -> None:
    """The good file is converted, the bad one listed, and the status is 1."""
    tone("in/a.wav")
    (tmp_path / "in/b.wav").write_text("no sound")
    outcome = run("convert", "--src", "in", "--speaker", first_two[0], "--out", "out")
    assert outcome.error == "1 of 2 files were not converted; they are listed above"
    assert names_below(tmp_path / "out") == {f"a-{first_two[0]}.wav"}
    assert any("b.wav" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (["--src", "b.wav", "--out", "c.wav"], "one file for 2 conversions"),
        (["--out", "a.wav/deep"], "a.wav is not a folder"),
        (["--speaker", ","], "--speaker names nobody"),
        (["--src", "missing.wav"], "missing.wav: no such file"),
    ],
)
def test_refusals(run, tone, tmp_path: Path, first_two, extra: list[str], expected: str) -> None:
    """Each wrong request is one line and writes nothing."""
    tone("a.wav")
    tone("b.wav")
    speaker = [] if "--speaker" in extra else ["--speaker", first_two[0]]
    assert expected in run("convert", "--src", "a.wav", *speaker, *extra).error
    assert names_below(tmp_path) == {"a.wav", "b.wav"}


@pytest.mark.parametrize("name", ["mit Leerzeichen", "ça et là", "日本語", "-x"])
def test_unusual_names(run, tone, tmp_path: Path, first_two, name: str) -> None:
    """Spaces, letters beyond ASCII and a leading dash are only names, in and out."""
    tone(f"{name}.wav")
    outcome = run("convert", f"--src={name}.wav", "--speaker", first_two[0], f"--out={name}/deep")
    assert outcome.status == 0
    assert (tmp_path / name / "deep" / f"{name}-{first_two[0]}.wav").is_file()


def test_more_recordings_than_fit_in_one_lockstep(
    run, tone, tmp_path: Path, first_two, monkeypatch
) -> None:
    """Batches change nothing: the same files, with the same bytes."""
    from vqspeech.cli import render

    for i in range(5):
        tone(f"in/{i}.wav", 0.01 + 0.003 * i)
    argv = ["convert", "--src", "in", "--speaker", first_two[0], "--out"]
    assert run(*argv, "one").status == 0
    monkeypatch.setattr(render, "LOCKSTEP", 2)
    assert run(*argv, "two").status == 0
    assert len(names_below(tmp_path / "one")) == 5
    for name in names_below(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
