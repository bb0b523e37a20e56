import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import vqspeech
from vqspeech import audio, sampling
from vqspeech.audio.reader import SoundReader
from vqspeech.cli.render import choose_engine
from vqspeech.models import decoding
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import save_model
from vqspeech.sampling import Sampling, reference


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
    """The file holds model.convert with the same seed, temperature and top-p, to 16 bits."""
    speaker = tiny_model.speakers[1]
    path = tone("a.wav")
    drawn = ("--seed", 7, "--temperature", 0.5, "--top-p", 0.7, "--threads", 1)
    run("convert", "--src", path, "--speaker", speaker, "--out", "b.wav", *drawn)
    how = Sampling(temperature=0.5, top_p=0.7)
    expected = tiny_model.convert(audio.read(path), speaker, seed=7, sampling=how).numpy()
    found, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    np.testing.assert_allclose(found, expected, atol=1 / 32768)


def test_the_post_filter_can_be_left_out(
    run, tone, tmp_path: Path, tiny_model, tiny_config
) -> None:
    """A model with a spectral head filters unless told not to."""
    decoder = {**tiny_config.decoder, "spectral_channels": 8}
    model = Autoencoder(replace(tiny_config, decoder=decoder), tiny_model.speakers).eval()
    save_model(model, tmp_path / "heard.safetensors")
    path, speaker = tone("a.wav", 0.2), model.speakers[0]
    asked = ["convert", "--model", "heard.safetensors", "--src", path, "--speaker", speaker]
    for name, extra in (("1.wav", []), ("0.wav", ["--post-filter", 0])):
        assert run(*asked, "--out", name, *extra).status == 0
        how = Sampling(post_filter=float(name[0]))
        expected = model.convert(audio.read(path), speaker, sampling=how).numpy()
        found, _ = soundfile.read(tmp_path / name, dtype="float32")
        np.testing.assert_allclose(found, expected, atol=1 / 32768)
    assert (tmp_path / "0.wav").read_bytes() != (tmp_path / "1.wav").read_bytes()


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


@pytest.mark.parametrize("suffix", [*audio.SUFFIXES, ".WAV", ".Flac"])
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


def test_existing_output_is_kept_unless_forced(
    run, tone, tmp_path: Path, first_two, caplog
) -> None:
    """One existing file among several is listed, kept as it is, and the others are made."""
    tone("in/a.wav")
    tone("in/b.wav")
    kept = tmp_path / "out" / f"b-{first_two[0]}.wav"
    kept.parent.mkdir()
    kept.write_text("mine")
    argv = ["convert", "--src", "in", "--speaker", first_two[0], "--out", "out"]
    assert run(*argv).status == 1
    assert f"{kept.name} exists" in caplog.text
    assert names_below(tmp_path / "out") == {kept.name, f"a-{first_two[0]}.wav"}
    assert kept.read_text() == "mine"
    assert run(*argv, "--force").status == 0
    assert kept.read_bytes()[:4] == b"RIFF"


def test_a_name_too_long_and_a_format_that_is_not_written(
    run, tone, tmp_path: Path, first_two, caplog
) -> None:
    """One output whose name the file system refuses stops no other; an unknown format is no folder."""
    tone("in/ok.wav")
    tone(f"in/{'b' * 250}.wav")
    argv = ["convert", "--speaker", first_two[0], "--src"]
    assert run(*argv, "in", "--out", "out").status == 1
    assert "the name is too long" in caplog.text
    assert names_below(tmp_path / "out") == {f"ok-{first_two[0]}.wav"}
    error = run(*argv, "in/ok.wav", "--out", "x.m4a").error
    assert "cannot write .m4a; choose .wav" in error
    assert not (tmp_path / "x.m4a").exists()


def test_what_cannot_be_written_stops_no_other(
    run, tone, tmp_path: Path, first_two, caplog, monkeypatch
) -> None:
    """A disk that fills while a file is written is said of that file, and the others are there."""
    tone("in/a.wav")
    tone("in/b.wav", 0.04)
    write = audio.write

    def fail(path: Path, *args: object, **options: object) -> None:
        if path.name.startswith("a"):
            raise OSError(28, "No space left on device", str(path))
        write(path, *args, **options)

    monkeypatch.setattr(audio, "write", fail)
    outcome = run("convert", "--src", "in", "--speaker", first_two[0], "--out", "out")
    assert outcome.status == 1
    assert "No space left on device" in caplog.text
    assert names_below(tmp_path / "out") == {f"b-{first_two[0]}.wav"}


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
        (["--src", "b.wav", "--out", "c.wav"], "one file for 2 results"),
        (["--out", "a.wav/deep"], "a.wav is not a folder"),
        (["--speaker", ","], "--speaker names nobody"),
        (["--src", "missing.wav"], "missing.wav: no such file"),
        (["--src", "b.wav", "--out", "-"], "--out - is one recording, not 2"),
        (["--top-p", "0"], "'0' is not a number above 0 and at most 1"),
        (["--top-p", "nan"], "'nan' is not a number above 0"),
        (["--top-p", "1.5"], "'1.5' is not a number above 0"),
        (["--post-filter", "1.5"], "'1.5' is not a number from 0 to 1"),
        (["--post-filter", "off"], "'off' is not a number from 0 to 1"),
        (["--threads", "0"], "'0' is not a whole number from 1"),
        (["--threads", "two"], "'two' is not a whole number from 1"),
        (["--engine", "reference", "--mode", "int3"], "mode 'int3': engine reference has fp32"),
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


@pytest.mark.parametrize(("name", "value"), [("LOCKSTEP", 2), ("LOCKSTEP_SAMPLES", 700)])
def test_more_recordings_than_fit_in_one_lockstep(
    run, tone, tmp_path: Path, first_two, monkeypatch, name: str, value: int
) -> None:
    """Batches change nothing: the same files, with the same bytes."""
    for i in range(5):
        tone(f"in/{i}.wav", 0.01 + 0.003 * i)
    argv = ["convert", "--src", "in", "--speaker", first_two[0], "--out"]
    assert run(*argv, "one").status == 0
    monkeypatch.setattr(decoding, name, value)
    groups = []
    decode_blocks = decoding.decode_blocks

    def watched(model, requests, sampling):
        groups.append([request.samples for request in requests])
        return decode_blocks(model, requests, sampling)

    monkeypatch.setattr(decoding, "decode_blocks", watched)
    assert run(*argv, "two").status == 0
    expected = {
        "LOCKSTEP": [[352, 304], [256, 208], [160]],
        "LOCKSTEP_SAMPLES": [[352, 304], [256, 208, 160]],
    }
    assert groups == expected[name]
    assert len(names_below(tmp_path / "one")) == 5
    for path in names_below(tmp_path / "one"):
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_a_file_is_written_when_it_is_whole(run, tone, monkeypatch, first_two) -> None:
    """The short recording is there while the long one goes on."""
    tone("in/long.wav", 0.02)
    tone("in/short.wav", 0.005)
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 50)
    steps, written = 0, []
    step, write = reference.Cache.step, audio.write

    def counted(*args):
        nonlocal steps
        steps += 1
        return step(*args)

    def watched(path: Path, *args, **rest) -> None:
        written.append((path.name.split("-")[0], steps))
        write(path, *args, **rest)

    monkeypatch.setattr(reference.Cache, "step", counted)
    monkeypatch.setattr(audio, "write", watched)
    argv = ["convert", "--src", "in", "--speaker", first_two[0], "--engine", "reference"]
    assert run(*argv).status == 0
    assert written == [("short", 100), ("long", 320)]


def test_the_engine_is_told_once(run, tone, first_two, caplog) -> None:
    """One line for all recordings says what decodes, on standard error."""
    tone("in/a.wav", 0.01)
    tone("in/b.wav", 0.01)
    outcome = run(
        "convert", "--src", "in", "--speaker", ",".join(first_two), "--engine", "reference"
    )
    assert [line for line in caplog.messages if "engine" in line] == [
        "decoding with engine reference, mode fp32"
    ]
    assert len(outcome.out.splitlines()) == 4


def test_the_engine_that_is_missing_is_told_with_its_reason(monkeypatch, tiny_model) -> None:
    """A faster engine that cannot run here is named, unless it is only that the model is elsewhere."""
    engines = {
        "far": SimpleNamespace(
            MODES=("x",), DEVICE="cuda", unavailable_reason=lambda device: f"not on {device}"
        ),
        "near": SimpleNamespace(
            MODES=("x",), DEVICE=None, unavailable_reason=lambda device: "not built, no compiler"
        ),
        "here": SimpleNamespace(
            MODES=("x", "y"), DEVICE=None, unavailable_reason=lambda device: None
        ),
        "slow": SimpleNamespace(
            MODES=("x",), DEVICE=None, unavailable_reason=lambda device: "never asked"
        ),
    }
    monkeypatch.setattr(sampling, "ENGINES", engines)
    chosen = choose_engine(tiny_model, Sampling())
    assert chosen.note == "decoding with engine here, mode x; near: not built, no compiler"
    assert chosen.sampling == Sampling(engine="here", mode="x")
    chosen = choose_engine(tiny_model, Sampling(engine="here", mode="y"))
    assert chosen.note == "decoding with engine here, mode y"


def test_each_recording_is_opened_once(run, tone, first_two, monkeypatch) -> None:
    """Whatever is asked of it, in however many voices; a file that cannot be read too."""
    tone("in/a.wav", 0.02)
    tone("in/b.flac", 0.03)
    Path("in/c.wav").write_text("no sound")
    opened = []
    begin = SoundReader.__init__

    def counted(self, path: Path, *rest) -> None:
        opened.append(path.name)
        begin(self, path, *rest)

    monkeypatch.setattr(SoundReader, "__init__", counted)
    run("convert", "--src", "in", "--speaker", ",".join(first_two), "--out", "out")
    assert sorted(opened) == ["a.wav", "b.flac", "c.wav"]


class Output(io.TextIOWrapper):
    """A standard output that keeps bytes."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__(io.BytesIO())
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def content(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()


def test_standard_output_gets_the_bytes_of_the_file(
    run, tone, tmp_path: Path, first_two, monkeypatch
) -> None:
    """--out - writes what --out FILE writes, in several blocks, and nothing else anywhere."""
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 100)
    tone("a.wav")
    argv = ["convert", "--src", "a.wav", "--speaker", first_two[0], "--seed", 3]
    argv += ["--engine", "reference", "--out"]
    assert run(*argv, "b.wav").status == 0
    output = Output()
    monkeypatch.setattr(sys, "stdout", output)
    assert run(*argv, "-").status == 0
    assert output.content() == (tmp_path / "b.wav").read_bytes()
    assert names_below(tmp_path) == {"a.wav", "b.wav"}


@pytest.mark.parametrize(
    ("terminal", "expected"), [(True, "standard output is a terminal"), (False, "a.wav")]
)
def test_nothing_is_written_where_no_sound_can_be(
    run, tone, first_two, monkeypatch, terminal: bool, expected: str
) -> None:
    """A terminal would make nothing of it; of a source that cannot be read there is not even a header."""
    if terminal:
        tone("a.wav")
    else:
        Path("a.wav").write_text("no sound")
    output = Output(terminal)
    monkeypatch.setattr(sys, "stdout", output)
    error = run("convert", "--src", "a.wav", "--speaker", first_two[0], "--out", "-").error
    assert expected in error
    assert output.content() == b""


def test_a_stream_that_ends_early_is_an_error(run, tone, first_two, monkeypatch) -> None:
    """When the decoder gives fewer samples than the header says, a line and the status say so."""
    tone("a.wav")
    stream = vqspeech.Autoencoder.stream
    monkeypatch.setattr(reference, "BLOCK_SAMPLES", 100)
    monkeypatch.setattr(
        vqspeech.Autoencoder, "stream", lambda *args, **rest: [next(stream(*args, **rest))]
    )
    monkeypatch.setattr(sys, "stdout", Output())
    argv = ["convert", "--src", "a.wav", "--speaker", first_two[0], "--engine", "reference"]
    assert "100 samples came where the header says 800" in run(*argv, "--out", "-").error


def test_a_reader_that_goes_away_ends_the_work(tone, tmp_path: Path, tiny_model_file: Path) -> None:
    """Sound comes while minutes of it are still to be drawn; when nobody listens any more, the work ends."""
    tone("a.wav", 300)
    argv = ["convert", "--src", "a.wav", "--speaker", "p225", "--engine", "reference"]
    with subprocess.Popen(
        [sys.executable, "-m", "vqspeech", *argv, "--model", tiny_model_file, "--out", "-"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            start = process.stdout.read(44 + 2000)
            process.stdout.close()
            status = process.wait(timeout=60)
        finally:
            process.kill()
        error = process.stderr.read().decode()
    assert status == 141
    assert start[:4] == b"RIFF"
    assert int.from_bytes(start[40:44], "little") == 2 * 300 * 16000
    assert "vqspeech: decoding with engine reference, mode fp32\n" in error
    assert "Traceback" not in error
    assert "rror" not in error
