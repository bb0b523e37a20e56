import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from vqspeech.codes import shards
from vqspeech.codes.entry import Entry
from vqspeech.codes.record import CodesRecord


@pytest.fixture
def record(run, tone) -> dict:
    tone("a.wav", 0.0523)
    return json.loads(run("codes", "a.wav").out)


@pytest.fixture
def speaker(tiny_model) -> str:
    return tiny_model.speakers[0]


@pytest.mark.parametrize("form", ["json", "pretty", "npz", "vqc", "stdin"])
def test_codes_come_back_as_the_recording_that_convert_gives(
    run, record, speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """codes then decode is convert, byte for byte, by every way codes can travel."""
    run("convert", "--src", "a.wav", "--speaker", speaker, "--out", "expected.wav")
    source = {"npz": "codes/a.npz", "vqc": "codes/a.vqc", "stdin": "-"}.get(form, "a.json")
    if form in ("npz", "vqc"):
        run("codes", "a.wav", "--format", form, "--out", "codes")
    elif form == "stdin":
        content = io.BytesIO(json.dumps(record).encode())
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=content))
    else:
        (tmp_path / "a.json").write_text(json.dumps(record, indent=2 if form == "pretty" else None))
    assert run("decode", source, "--speaker", speaker, "--out", "found.wav").status == 0
    assert (tmp_path / "found.wav").read_bytes() == (tmp_path / "expected.wav").read_bytes()
    assert soundfile.info(tmp_path / "found.wav").frames == record["samples"]


@pytest.mark.parametrize("kind", ["km", "webdataset"])
def test_shards_are_decoded_like_other_files(run, record, speaker, tmp_path, kind: str) -> None:
    """A shard of two utterances becomes two recordings, each that of its record by itself."""
    (tmp_path / "a.json").write_text(json.dumps(record))
    records = [CodesRecord(**(record | {"file": name})) for name in ("x/a.wav", "x/b.wav")]
    entries = [Entry(of.file, "ann", of) for of in records]
    shards.write(tmp_path, 0, entries, kind)
    shard = f"codes-000000{shards.FORMATS[kind].suffix}"
    assert run("decode", shard, "--speaker", speaker, "--out", "out").status == 0
    run("decode", "a.json", "--speaker", speaker, "--out", "expected.wav")
    for name in ("a", "b"):
        found = (tmp_path / f"out/{name}-{speaker}.wav").read_bytes()
        assert found == (tmp_path / "expected.wav").read_bytes()


def test_one_file_that_is_no_codes_does_not_stop_the_others(
    run, tone, speaker, tmp_path: Path, caplog
) -> None:
    """A missing one, a broken one and one of another model are listed; what is good is decoded, and the status is 1."""
    tone("x.wav", 0.02)
    line = run("codes", "x.wav").out
    (tmp_path / "good.json").write_text(line)
    (tmp_path / "broken.json").write_text(line[:20])
    (tmp_path / "other.json").write_text(json.dumps(json.loads(line) | {"codebook_size": 4096}))
    names = ("none.npz", "broken.json", "other.json", "good.json")
    outcome = run("decode", *names, "--speaker", speaker, "--out", "out")
    assert outcome.error == "3 of 4 files were not decoded; they are listed above"
    assert all(name in caplog.text for name in names[:2])
    assert "codebook_size is 4096" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"x-{speaker}.wav"]


def test_several_lines_become_several_files(run, tone, speaker, tmp_path: Path) -> None:
    """Each line of a file of codes is named after its recording; one stream is one recording."""
    tone("x.wav", 0.02)
    tone("y.wav", 0.03)
    (tmp_path / "all.jsonl").write_text(run("codes", "x.wav", "y.wav").out)
    assert run("decode", "all.jsonl", "--speaker", speaker, "--out", "out").status == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {f"x-{speaker}.wav", f"y-{speaker}.wav"}
    error = run("decode", "all.jsonl", "--speaker", speaker, "--out", "-").error
    assert "--out - is one recording, not 2" in error


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"codebook_size": 4096}, "codebook_size is 4096"),
        ({"hop": 10, "samples": 10}, "hop is 10"),
        ({"sample_rate": 8000}, "sample_rate is 8000"),
        ({"codes": [-1]}, "codes range from -1"),
        ({"codes": [10**9]}, "codes range from 1000000000"),
        ({"codes": [0, 0]}, "2 codes, expected 1"),
        ({"codes": [0.5]}, "not a list of whole numbers"),
        ({"codes": [True]}, "not a list of whole numbers"),
        ({"codes": "0"}, "not a list of whole numbers"),
        ({"samples": 0}, "samples is 0"),
        ({"samples": None}, "samples is None"),
        ({"file": 3}, "file is 3"),
        ({"codebook": "00000000"}, "codebook is 00000000"),
        ({"codebook": "x"}, "codebook is 'x'"),
    ],
)
def test_codes_that_cannot_be_this_models_are_refused(
    run, tiny_model, speaker, tmp_path: Path, change: dict, expected: str
) -> None:
    """The line names the property, what was found and what was expected; no sound is written."""
    good = {
        "file": "a.wav",
        "codes": [0],
        "hop": tiny_model.hop,
        "sample_rate": tiny_model.sample_rate,
        "samples": tiny_model.hop,
        "codebook_size": tiny_model.codebook_size,
        "model": "m",
    }
    (tmp_path / "a.json").write_text(json.dumps(good | change))
    assert expected in run("decode", "a.json", "--speaker", speaker).error
    assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"{", "line 1: not JSON"),
        (b"[1, 2]", "expected an object"),
        (b"{}", "'file' is missing"),
        (b"\xff\xfe", "neither JSON lines nor npz"),
        (b"PK\x03\x04 no archive", "not an npz file"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_files_that_are_no_codes(
    run, speaker, tmp_path: Path, content: bytes, expected: str
) -> None:
    """What is wrong with the file is told with its name."""
    (tmp_path / "a.json").write_bytes(content)
    error = run("decode", "a.json", "--speaker", speaker).error
    assert "a.json" in error
    assert expected in error


def test_an_npz_with_pickled_objects_is_refused_and_runs_nothing(
    run, speaker, tmp_path: Path, harmful: object
) -> None:
    """Loading executes nothing from the file."""
    np.savez(tmp_path / "a.npz", codes=np.array([harmful], dtype=object))
    assert "a.npz" in run("decode", "a.npz", "--speaker", speaker).error
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "name", ["../../escaped.wav", "/etc/escaped.wav", "..", "", "x/../../e.wav"]
)
def test_the_recording_name_in_a_record_cannot_leave_the_folder(
    run, record, speaker, tmp_path: Path, name: str
) -> None:
    """A record from elsewhere may call its recording anything; the output is one file inside --out."""
    (tmp_path / "a.json").write_text(json.dumps(record | {"file": name}))
    out = tmp_path / "several/folders/deep"
    assert run("decode", "a.json", "--speaker", speaker, "--out", out).status == 0
    made = set(tmp_path.rglob("*.wav")) - {tmp_path / "a.wav"}
    assert [path.parent for path in made] == [out]
    assert not Path(f"/etc/escaped-{speaker}.wav").exists()


def test_existing_output_is_kept_unless_forced(run, record, speaker, tmp_path: Path) -> None:
    """--out is refused where it exists, and replaced with --force."""
    (tmp_path / "a.json").write_text(json.dumps(record))
    kept = tmp_path / "b.wav"
    kept.write_text("mine")
    argv = ["decode", "a.json", "--speaker", speaker, "--out", "b.wav"]
    assert "b.wav exists" in run(*argv).error
    assert kept.read_text() == "mine"
    assert run(*argv, "--force").status == 0
    assert soundfile.info(kept).frames == record["samples"]


def test_missing_file_and_unknown_speaker(run, record, tmp_path: Path) -> None:
    """Both are one line that names what was asked for."""
    (tmp_path / "a.json").write_text(json.dumps(record))
    assert "none.json: No such file" in run("decode", "none.json", "--speaker", "x").error
    assert "'nobody'" in run("decode", "a.json", "--speaker", "nobody").error


def test_from_pipe_to_pipe(record, speaker, tiny_model_file: Path, tmp_path: Path, run) -> None:
    """``decode - --out -`` gives the bytes of the file, and says on standard error what works."""
    run("convert", "--src", "a.wav", "--speaker", speaker, "--out", "expected.wav")
    done = subprocess.run(
        [sys.executable, "-m", "vqspeech", "decode", "-", "--speaker", speaker, "--out", "-"],
        input=json.dumps(record).encode(),
        capture_output=True,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout == (tmp_path / "expected.wav").read_bytes()
    assert done.stderr.startswith(b"vqspeech: decoding with engine ")
    assert done.stderr.count(b"\n") == 1
