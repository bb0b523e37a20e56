import json
import os
import shutil
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqspeech import audio
from vqspeech.codes import files as codesfile
from vqspeech.codes.record import CodesRecord
from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.prepare import prepare
from vqspeech.corpus.store import PackedStore
from vqspeech.models.prior import Prior


def lines(outcome) -> list[dict]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_one_json_line_for_each_file_with_the_codes_of_the_model(run, tone, tiny_model) -> None:
    """What is printed is what model.encode gives, with all that decoding needs."""
    paths = [tone("a.wav", 0.05), tone("b.wav", 0.031)]
    found = lines(run("codes", *paths))
    assert [record["file"] for record in found] == [str(path) for path in paths]
    for record, path in zip(found, paths, strict=True):
        wav = audio.read(path, tiny_model.sample_rate)
        assert record["codes"] == tiny_model.encode(wav).tolist()
        assert record["samples"] == len(wav)
        assert record["hop"] == tiny_model.hop
        assert record["codebook_size"] == tiny_model.codebook_size
        assert record["sample_rate"] == tiny_model.sample_rate


def test_codes_of_a_split_are_those_of_the_model(run, people: Path, tiny_model, tmp_path) -> None:
    """One record for each utterance of the split of a store, on standard output and below --out."""
    store = PackedStore(prepare(list_folder(people), tmp_path / "store", workers=0))
    assert run("codes", "--corpus", store.path, "--out", "out").status == 0
    indices = store.indices("test").tolist()
    printed = lines(run("codes", "--corpus", store.path, "--split", "test"))
    assert len(printed) == len(indices) > 0
    for index, record in zip(indices, printed, strict=True):
        utterance = store.utterances[index]
        assert record["codes"] == tiny_model.encode(store.wav(index)).tolist()
        assert (record["samples"], record["file"]) == (utterance.samples, str(utterance.path))
        written = tmp_path / "out" / utterance.speaker / f"{utterance.utterance}.json"
        assert json.loads(written.read_text()) == record
    assert run("codes", "--corpus", store.path, "--out", "out").status == 1
    assert run("codes", "--corpus", store.path, "--out", "out", "--force").status == 0


def test_a_store_and_files_are_one_or_the_other(run, people: Path, tmp_path: Path) -> None:
    """Neither, both, or a store at another rate than the model's is an error in one line."""
    store = prepare(list_folder(people), tmp_path / "store", sample_rate=8000, workers=0)
    assert "--corpus" in run("codes").error
    assert "--corpus" in run("codes", people, "--corpus", store).error
    assert f"{store}: holds 8000 Hz" in run("codes", "--corpus", store).error


def test_folders_are_mirrored_under_out(run, tone, tmp_path: Path) -> None:
    """A file in a folder keeps its path below it; a file by itself keeps its name; other files are passed over."""
    tone("in/p1/a.wav")
    tone("in/p2/a.wav")
    tone("single.wav")
    (tmp_path / "in/p2/a.txt").write_text("words")
    assert run("codes", "in", "single.wav", "--format", "npz", "--out", "out").out == ""
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert written == {"p1/a.npz", "p2/a.npz", "single.npz"}
    with np.load(tmp_path / "out/p1/a.npz", allow_pickle=False) as archive:
        assert set(archive.files) == set(CodesRecord.__annotations__)
        assert archive["codes"].dtype == np.int64


def test_vqc_is_small_and_its_codes_are_printed_again(run, tone, tmp_path: Path) -> None:
    """A .vqc file for each recording; codes of such a file are those of the recording, and need no model."""
    tone("in/p1/a.wav", 1.0)
    tone("in/b.wav", 0.031)
    expected = {Path(record["file"]).stem: record for record in lines(run("codes", "in"))}
    assert run("codes", "in", "--format", "vqc", "--out", "out").status == 0
    written = ["out/b.vqc", "out/p1/a.vqc"]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.vqc")) == written
    found = lines(run("codes", *written, "--model", "nothing.safetensors"))
    assert [record["file"] for record in found] == written
    for record in found:
        same = expected[Path(record["file"]).stem]
        assert record == same | {"file": record["file"], "model": f"codebook {same['codebook']}"}
    size = expected["a"]["codebook_size"]
    bits = len(expected["a"]["codes"]) * np.log2(size)
    assert (tmp_path / "out/p1/a.vqc").stat().st_size <= bits / 8 + 30


def test_codes_of_a_vqc_file_go_into_other_formats(run, tone, tmp_path: Path) -> None:
    """A .vqc file and a recording side by side become npz; a damaged one does not stop the others."""
    tone("a.wav")
    tone("b.wav")
    run("codes", "a.wav", "--format", "vqc", "--out", "small")
    (tmp_path / "small/c.vqc").write_bytes((tmp_path / "small/a.vqc").read_bytes()[:-1])
    outcome = run("codes", "b.wav", "small/c.vqc", "small/a.vqc", "--format", "npz", "--out", "out")
    assert outcome.error == "1 of 3 files were not encoded; they are listed above"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.npz", "b.npz"]
    (record,) = codesfile.read(tmp_path / "out/a.npz")
    assert record.codes == lines(run("codes", "a.wav"))[0]["codes"]


def test_a_prior_writes_and_reads(
    run, tone, tiny_prior: Prior, tiny_prior_file: Path, caplog
) -> None:
    """With --prior codes are written with it, which is said; without it they cannot be read, which is said too."""
    tone("a.wav")
    argv = ("codes", "a.wav", "--format", "vqc", "--prior", tiny_prior_file, "--out")
    assert run(*argv, "out").status == 0
    assert caplog.messages[-1] == f"codes are predicted by prior {tiny_prior.prior_id}"
    (expected,) = lines(run("codes", "a.wav"))
    (found,) = lines(run("codes", "out/a.vqc", "--prior", tiny_prior_file))
    assert (found["codes"], found["codebook"]) == (expected["codes"], expected["codebook"])
    assert f"needs prior {tiny_prior.prior_id[:8]}" in run("codes", "out/a.vqc").error
    assert run(*argv, "plain", "--coder", "unigram").status == 0
    assert caplog.messages[-1] == "codes are predicted by how often each came"
    assert lines(run("codes", "plain/a.vqc"))[0]["codes"] == expected["codes"]


def test_a_prior_may_be_told_who_speaks(run, tone, tiny_prior_file: Path, tmp_path: Path) -> None:
    """The file says whom the prior was told of; whom it does not know it is not told of."""
    tone("a.wav")
    argv = ("codes", "a.wav", "--format", "vqc", "--prior", tiny_prior_file, "--out")
    assert run(*argv, "told", "--speaker", "p226").status == 0
    assert run(*argv, "untold").status == 0
    assert (tmp_path / "told/a.vqc").read_bytes() != (tmp_path / "untold/a.vqc").read_bytes()
    reading = ("--prior", tiny_prior_file)
    told, untold = lines(run("codes", "told/a.vqc", "untold/a.vqc", *reading))
    assert told["codes"] == untold["codes"]
    assert "speaker 'x': none of the 3 speakers" in run(*argv, "out", "--speaker", "x").error
    assert not (tmp_path / "out").exists()


def test_a_model_brings_its_prior(
    run, tone, tiny_prior_file: Path, shipped_folder: Path, caplog
) -> None:
    """The prior beside a model is used unasked, for writing and, found by its id, for reading by any verb."""
    tone("a.wav")
    argv = ("codes", "a.wav", "--format", "vqc", "--model", "vctk", "--out")
    assert run(*argv, "plain").status == 0
    assert caplog.messages[-1].endswith("how often each came: there is no prior for vctk")
    shutil.copy(tiny_prior_file, shipped_folder / "vctk-prior.safetensors")
    assert run(*argv, "out").status == 0
    assert "by prior" in caplog.messages[-1]
    (found,) = lines(run("codes", "out/a.vqc"))
    assert found["codes"] == lines(run("codes", "a.wav"))[0]["codes"]
    for name in ("out/a.vqc", "plain/a.vqc"):
        place = Path(name).with_suffix(".wav")
        assert run("decode", name, "--speaker", "p225", "--out", place).status == 0
    assert Path("out/a.wav").read_bytes() == Path("plain/a.wav").read_bytes()


def test_a_prior_of_another_model_writes_nothing(
    run, tone, foreign_prior: Path, tmp_path: Path
) -> None:
    """It is refused before any recording is encoded."""
    tone("a.wav")
    argv = ("codes", "a.wav", "--format", "vqc", "--out", "out", "--prior", foreign_prior)
    assert "codebook ffffffffffffffff" in run(*argv).error
    assert not (tmp_path / "out").exists()


def test_textgrid_covers_the_recording_without_gaps(run, tone, tmp_path: Path) -> None:
    """Praat's reader sees one interval for each code, end to end."""
    textgrid = pytest.importorskip("praatio.textgrid")
    tone("a.wav", 0.05)
    codes = lines(run("codes", "a.wav"))[0]["codes"]
    assert run("codes", "a.wav", "--format", "textgrid", "--out", "out").status == 0
    grid = textgrid.openTextgrid(str(tmp_path / "out/a.TextGrid"), includeEmptyIntervals=True)
    entries = grid.getTier("codes").entries
    assert [int(entry.label) for entry in entries] == codes
    assert entries[0].start == 0
    assert entries[-1].end == pytest.approx(0.05)
    assert all(a.end == b.start for a, b in pairwise(entries))


def test_bad_files_do_not_stop_the_others(run, tone, tmp_path: Path, caplog) -> None:
    """Good files are encoded, bad ones listed at the end, and the status is 1."""
    tone("in/b.wav")
    (tmp_path / "in/a.wav").write_bytes(b"")
    (tmp_path / "in/c.wav").write_text("no sound")
    soundfile.write(tmp_path / "in/d.wav", np.full(100, np.nan), 16000, subtype="FLOAT")
    outcome = run("codes", "in")
    assert [Path(record["file"]).name for record in lines(outcome)] == ["b.wav"]
    assert outcome.error == "3 of 4 files were not encoded; they are listed above"
    for name in ("a.wav", "c.wav", "d.wav"):
        assert any(name in line for line in caplog.messages)


def test_a_single_bad_file_is_one_line(run, tmp_path: Path) -> None:
    """Where one file was asked for, its own error is the line."""
    (tmp_path / "a.wav").write_bytes(b"")
    assert "a.wav" in run("codes", "a.wav").error


def test_existing_output_is_kept_unless_forced(run, tone, tmp_path: Path, caplog) -> None:
    """An existing file stays byte for byte the same and is listed, the rest is done; --force replaces it."""
    tone("in/a.wav")
    tone("in/b.wav")
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out/b.json"
    kept.write_text("mine")
    outcome = run("codes", "in", "--out", "out")
    assert outcome.error == "1 of 2 files were not encoded; they are listed above"
    assert "b.json exists" in caplog.text
    assert kept.read_text() == "mine"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "b.json"]
    assert run("codes", "in", "--out", "out", "--force").status == 0
    assert json.loads(kept.read_text())["file"] == "in/b.wav"


@pytest.mark.parametrize(
    ("names", "failed", "reason", "written"),
    [
        (["a.wav", "a.flac", "b.wav"], 2, "two outputs would both be out/a.json", ["b"]),
        (
            ["ok.wav", f"{'a' * 250}.wav", f"{'b' * 251}.wav"],
            1,
            "the name is too long (256 bytes of 255 possible)",
            ["a" * 250, "ok"],
        ),
    ],
    ids=["two recordings for one output", "a name too long"],
)
def test_an_output_that_cannot_be_stops_itself_alone(
    run, tone, caplog, names: list[str], failed: int, reason: str, written: list[str]
) -> None:
    """It is listed before the work, and the rest is done."""
    for name in names:
        tone(f"in/{name}")
    error = run("codes", "in", "--out", "out").error
    assert error.startswith(f"{failed} of 3 files were not encoded")
    assert reason in caplog.text
    assert sorted(path.stem for path in Path("out").iterdir()) == written


@pytest.mark.parametrize(
    "suffix", [".json", ".npz", ".TextGrid", ".vqc", ".JSON", ".Npz", ".textgrid", ".VQC"]
)
def test_out_may_be_a_file_for_one_recording(run, tone, tmp_path: Path, suffix: str) -> None:
    """Its suffix says the format, as if it had been named; another format is refused."""
    tone("a.wav")
    assert run("codes", "a.wav", "--out", f"new/x{suffix}").status == 0
    kind = next(kind for kind, s in codesfile.SUFFIXES.items() if s.lower() == suffix.lower())
    assert run("codes", "a.wav", "--format", kind, "--out", "o").status == 0
    (other_name,) = Path("o").iterdir()
    assert Path(f"new/x{suffix}").read_bytes() == other_name.read_bytes()
    if kind == "vqc":
        assert run("codes", f"new/x{suffix}").status == 0
    other = "json" if kind != "json" else "npz"
    error = run("codes", "a.wav", "--format", other, "--out", f"y{suffix}").error
    assert f"means {kind} and --format says {other}" in error
    assert not Path(f"y{suffix}").exists()


def test_a_pipe_and_standard_input_are_recordings(run, tone, tmp_path: Path) -> None:
    """What comes through a pipe has the codes of the file; its name is that of the pipe."""
    content = tone("a.wav").read_bytes()
    (expected,) = lines(run("codes", "a.wav"))
    command = [sys.executable, "-m", "vqspeech", "codes"]
    for name in ("-", "/dev/stdin"):
        done = subprocess.run([*command, name], input=content, capture_output=True, check=True)
        record = json.loads(done.stdout)
        assert record == expected | {"file": "/dev/stdin"}
    script = 'exec "$@" <(cat a.wav)'
    done = subprocess.run(["bash", "-c", script, "_", *command], capture_output=True, check=True)
    assert json.loads(done.stdout)["codes"] == expected["codes"]
    os.mkfifo("p.wav")
    writer = threading.Thread(target=Path("p.wav").write_bytes, args=(content,))
    writer.start()
    assert lines(run("codes", "p.wav", "a.wav")) == [expected | {"file": "p.wav"}, expected]
    writer.join()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["missing.wav"], "missing.wav: no such file"),
        (["empty"], "empty: no sound file"),
        (["a.wav", "--format", "npz"], "--out"),
        (["a.wav", "--format", "vqc"], "--out"),
        (["a.wav", "--format", "vqc", "--out", "o", "--coder", "prior"], "no prior over the codes"),
        (
            ["a.wav", "--format", "vqc", "--out", "o", "--speaker", "p225"],
            "--speaker conditions a prior",
        ),
        (["a.wav", "--coder", "unigram"], "--coder and --speaker are for --format vqc"),
        (["not.vqc"], "not.vqc: no .vqc file"),
        (["a.wav", "--out", "a.wav"], "cannot write .wav; choose .json"),
        (["a.wav", "--out", "a.wav/b"], "a.wav is not a folder"),
        (["a.wav", "--model", "none.safetensors"], "none.safetensors: no such model file"),
        (["a.wav", "--model", "a.wav"], "a.wav"),
    ],
)
def test_refusals(run, tone, tmp_path: Path, argv: list[str], expected: str) -> None:
    """Each wrong request is one line, prints no codes and writes nothing."""
    tone("a.wav")
    (tmp_path / "not.vqc").write_bytes(b"RIFF")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    outcome = run("codes", *argv)
    assert expected in outcome.error
    assert outcome.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["mit Leerzeichen.wav", "ça et là.wav", "日本語.wav", "-x.wav"])
def test_unusual_names(run, tone, name: str) -> None:
    """Spaces, letters beyond ASCII and a leading dash are only names."""
    tone(name)
    (record,) = lines(run("codes", "--", name))
    assert record["file"] == name


def test_a_name_that_is_not_utf8(run, tone, tmp_path: Path) -> None:
    """Bytes that are no text pass through to JSON and npz."""
    name = os.fsdecode(b"caf\xe9.wav")
    try:
        tone("a.wav").rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    (record,) = lines(run("codes", name))
    assert record["file"] == name
    assert run("codes", name, "--format", "npz", "--out", "out").status == 0


def test_a_loop_of_links_ends(run, tone, tmp_path: Path) -> None:
    """A folder that links to itself is searched once; a file that links to itself is an error of that file."""
    tone("in/a.wav")
    (tmp_path / "in/again").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in/b.wav").symlink_to(tmp_path / "in/b.wav")
    outcome = run("codes", "in", "--out", "out")
    assert outcome.error == "1 of 2 files were not encoded; they are listed above"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.json"]
