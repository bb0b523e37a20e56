"""Codes of a whole archive: in shards, by several processes, taken up again, the same as file by file."""

import json
import shutil
from pathlib import Path

import pytest

from vqspeech.cli.shards import FORMATS, shard_of
from vqspeech.codes import shards
from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.prepare import prepare
from vqspeech.errors import ConfigurationError

HOURS = ("--shard-hours", 1.0 / 3600)


@pytest.fixture
def corpus(tone, tmp_path: Path) -> Path:
    """Return a folder of nine recordings, 2.7 s in all."""
    for i in range(9):
        tone(f"corpus/{'abc'[i % 3]}/{i}.wav", 0.1 + 0.05 * i, 16000 if i % 2 else 22050)
    return tmp_path / "corpus"


def entries(out: Path, suffix: str = ".parquet") -> list[shards.Entry]:
    """Return all utterances of a folder of shards, in order."""
    paths = sorted((out / "shards").glob(f"*{suffix}"))
    return [entry for path in paths for entry in shards.read(path)]


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "shards").iterdir())}


def test_formats_are_those_of_the_table() -> None:
    """The names, which the help lists without importing numpy, are those that can be written."""
    assert tuple(shards.FORMATS) == FORMATS


@pytest.mark.parametrize("kind", FORMATS)
def test_codes_are_those_of_the_verb_file_by_file(
    run, corpus: Path, tmp_path: Path, kind: str
) -> None:
    """Every recording is in one shard, with the codes that it has by itself."""
    assert run("codes", corpus, "--out", "out", "--format", kind, *HOURS).status == 0
    alone = {r["file"]: r for r in map(json.loads, run("codes", corpus).out.splitlines())}
    found = entries(tmp_path / "out", shards.FORMATS[kind].suffix)
    assert len(found) == len(alone) == 9
    assert len(list((tmp_path / "out/done").iterdir())) > 1
    for entry in found:
        assert entry.record.codes == alone[entry.record.file]["codes"]
        assert entry.record.samples == alone[entry.record.file]["samples"]
        assert entry.id == f"{entry.speaker}/{Path(entry.record.file).stem}"
    assert (tmp_path / "out/codes.km").is_file() == (kind == "km")


def test_tasks_of_an_array_make_the_files_of_one_process(
    run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task makes its shards; --merge names what is missing until all are there; the files are the same."""
    run("codes", corpus, "--out", "one", "--format", "parquet", *HOURS)
    common = ("codes", corpus, "--out", "many", "--format", "parquet", *HOURS)
    assert run(*common, "--shard", "1/2").status == 0
    assert "shards are not there (0" in run("codes", "--out", "many", "--merge").error
    for name, value in (("ID", "7"), ("MIN", "7"), ("COUNT", "2")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert run(*common, "--shard", "slurm").status == 0
    merged = run("codes", "--out", "many", "--merge")
    assert merged.status == 0
    assert " 9 utterances" in merged.out
    assert content(tmp_path / "one") == content(tmp_path / "many")
    assert json.loads((tmp_path / "many/total.json").read_text())["utterances"] == 9


def test_a_second_run_makes_what_is_missing(run, corpus: Path, tmp_path: Path) -> None:
    """A shard without its marker, or whose file is gone or cut off, is made again; others are not touched."""
    command = ("codes", corpus, "--out", "out", "--format", "parquet", *HOURS)
    run(*command)
    before, out = content(tmp_path / "out"), tmp_path / "out"
    assert len(before) == 3
    times = {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    (out / "done/000000.json").unlink()
    (out / "shards/codes-000002.parquet").write_bytes(b"half")
    assert run(*command).status == 0
    assert content(out) == before
    now = {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    assert [name for name in now if now[name] == times[name]] == ["codes-000001.parquet"]


def test_damaged_recordings_are_listed_and_the_others_coded(
    run, corpus: Path, tmp_path: Path
) -> None:
    """All good ones are in the shards, all bad ones in the table with a reason, and the status is 1."""
    (corpus / "a/bad.wav").write_bytes(b"RIFF1234WAVE")
    (corpus / "a/empty.flac").write_bytes(b"")
    (corpus / "b/page.mp3").write_text("<!DOCTYPE html>")
    (corpus / "b/gone.wav").symlink_to("nowhere.wav")
    (corpus / "c/film.mp4").write_bytes(b"x")
    command = ("codes", corpus, "--out", "out", "--format", "parquet", *HOURS)
    assert "recordings not encoded: 5" in run(*command).error
    assert len(entries(tmp_path / "out")) == 9
    _, *rows = (tmp_path / "out/failures.tsv").read_text().splitlines()
    assert sorted(Path(row.split("\t")[1]).name for row in rows) == [
        *("bad.wav", "empty.flac", "film.mp4", "gone.wav", "page.mp3")
    ]
    assert all(row.split("\t")[2] for row in rows)
    before = content(tmp_path / "out")
    assert run(*command).status == 1
    assert content(tmp_path / "out") == before


def test_what_failed_is_tried_again_when_asked(run, tone, corpus: Path, tmp_path: Path) -> None:
    """Only the shards with failures are made anew; a recording that was mended, of another length, is in its own."""
    (corpus / "b/4.wav").write_bytes(b"RIFF1234WAVE")
    command = ("codes", corpus, "--out", "out", "--format", "parquet", *HOURS)
    assert "recordings not encoded: 1" in run(*command).error
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out/shards").iterdir()}
    tone("corpus/b/4.wav", 0.9, 16000)
    assert run(*command, "--retry-failed").status == 0
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out/shards").iterdir()}
    assert sum(now[name] != times[name] for name in now) == 1
    assert sorted(e.id for e in entries(tmp_path / "out"))[4] == "b/4"
    assert len(entries(tmp_path / "out")) == 9
    assert not (tmp_path / "out/failures.tsv").exists()


def test_a_split_of_a_store(run, people: Path, tmp_path: Path) -> None:
    """--corpus with --split, and the whole store by its folder."""
    store = prepare(list_folder(people), tmp_path / "store", workers=0)
    run("codes", "--corpus", store, "--split", "test", "--out", "test", "--format", "parquet")
    alone = [json.loads(line) for line in run("codes", "--corpus", store).out.splitlines()]
    assert [e.record.codes for e in entries(tmp_path / "test")] == [r["codes"] for r in alone]
    run("codes", store, "--out", "all", "--format", "parquet")
    assert len(entries(tmp_path / "all")) == 18


def test_runs_once_with_durations(run, corpus: Path, tmp_path: Path) -> None:
    """--unique keeps the same codes in fewer numbers."""
    run("codes", corpus, "--out", "all", "--format", "km")
    run("codes", corpus, "--out", "once", "--format", "km", "--unique")
    assert entries(tmp_path / "once", ".km") == entries(tmp_path / "all", ".km")
    assert (tmp_path / "once/codes.dur").is_file()


def test_what_does_not_go_together_is_one_line(run, corpus: Path, tmp_path: Path) -> None:
    """Options of shards without shards, two sources, no folder, changed settings and changed sources are refused."""
    assert "--unique goes with --format" in run("codes", corpus, "--unique").error
    assert "--out" in run("codes", corpus, "--format", "parquet").error
    common = ("codes", corpus, "--out", "out", "--format", "parquet")
    assert "one source" in run("codes", corpus, *common[1:]).error
    assert "take one" in run(*common, "--shard", "0/2", "--cluster", "local").error
    assert "0/2 to 1/2" in run(*common, "--shard", "2/2").error
    assert run(*common).status == 0
    assert "made with kind parquet" in run(*common[:-1], "km").error
    shutil.copy(corpus / "a/0.wav", corpus / "a/new.wav")
    assert "not the recordings" in run(*common).error
    assert run(*common, "--force").status == 0
    assert len(entries(tmp_path / "out")) == 10


@pytest.mark.parametrize("text", ["3", "a/b", "-1/4", "4/4", "0/0", "slurm", "1/2/3"])
def test_shards_that_do_not_exist_are_refused(text: str) -> None:
    """I counts from 0 to N - 1."""
    with pytest.raises(ConfigurationError, match=f"--shard {text}"):
        shard_of(text)
