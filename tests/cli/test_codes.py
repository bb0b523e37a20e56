import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqspeech import audio
from vqspeech.codesfile import CodesRecord


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


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".opus", ".mp3"])
def test_other_formats_rates_and_channels(run, tone, suffix: str) -> None:
    """A 48 kHz stereo file in any format gives ceil(samples / hop) codes."""
    path = tone("a.wav", 0.3, 48000, 2).with_suffix(suffix)
    wav, rate = soundfile.read(path.with_suffix(".wav"))
    soundfile.write(
        path, wav, rate, **({"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {})
    )
    (record,) = lines(run("codes", path))
    assert len(record["codes"]) == -(-record["samples"] // record["hop"])
    assert abs(record["samples"] - 4800) < 1600


def test_shortest_recording(run, tone) -> None:
    """One sample gives one code."""
    (record,) = lines(run("codes", tone("a.wav", 1 / 16000)))
    assert (record["samples"], len(record["codes"])) == (1, 1)


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


def test_existing_output_is_kept_unless_forced(run, tone, tmp_path: Path) -> None:
    """An existing file is refused before work begins, byte for byte the same; --force replaces it."""
    tone("in/a.wav")
    tone("in/b.wav")
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out/b.json"
    kept.write_text("mine")
    assert "b.json exists" in run("codes", "in", "--out", "out").error
    assert kept.read_text() == "mine"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.json"]
    assert run("codes", "in", "--out", "out", "--force").status == 0
    assert json.loads(kept.read_text())["file"] == "in/b.wav"


def test_two_recordings_for_one_output_are_refused(run, tone, tmp_path: Path) -> None:
    """a.wav and a.flac would both become a.json: nothing is written."""
    tone("in/a.wav")
    tone("in/a.flac")
    assert "two outputs" in run("codes", "in", "--out", "out").error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["missing.wav"], "missing.wav: no such file"),
        (["empty"], "empty: no sound file"),
        (["a.wav", "--format", "npz"], "--out"),
        (["a.wav", "--out", "a.wav"], "a.wav is not a folder"),
        (["a.wav", "--model", "none.safetensors"], "none.safetensors: no such model file"),
        (["a.wav", "--model", "a.wav"], "a.wav"),
    ],
)
def test_refusals(run, tone, tmp_path: Path, argv: list[str], expected: str) -> None:
    """Each wrong request is one line, prints no codes and writes nothing."""
    tone("a.wav")
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
