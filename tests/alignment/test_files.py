"""Many recordings: in one process or several, resumable, failures told one by one."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqspeech import audio
from vqspeech.alignment import files
from vqspeech.alignment.files import Job, align_all
from vqspeech.alignment.sphinx import Alignment
from vqspeech.errors import CorpusError
from vqspeech.labels.files import read_lab
from vqspeech.labels.frames import Interval

BOTH = ("textgrid", "lab")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the aligner with one that fails at the word "fail"; return the texts it was given."""
    seen: list[str] = []

    def align(wav: np.ndarray, text: str) -> Alignment:
        seen.append(text)
        if "fail" in text:
            raise CorpusError("no such word")
        phones = [Interval(0.0, len(wav) / 16000, "aa")]
        return Alignment(phones, phones)

    monkeypatch.setattr(files, "align", align)
    return seen


def _job(folder: Path, name: str, text: str, formats: tuple[str, ...] = BOTH) -> Job:
    audio.write(folder / f"{name}.wav", np.zeros(1600, np.float32), 16000, force=True)
    return Job(folder / f"{name}.wav", text, folder / "out" / "ann" / name, formats)


def test_a_job_may_leave_out_files_that_are_there(tmp_path: Path, fake: list[str]) -> None:
    """What one of two files is kept for does not stop the other."""
    job = _job(tmp_path, "a.b", "one")
    grid, lab = job.outputs()
    assert (grid.name, lab.name) == ("a.b.TextGrid", "a.b.lab")
    ((_, reason),) = align_all([job.only({lab})], 1)
    assert reason == ""
    assert (grid.exists(), lab.exists()) == (False, True)
    assert job.only(set()).formats == ()


def test_failures_are_told_and_the_others_written(tmp_path: Path, fake: list[str]) -> None:
    """A bad text, a broken sound and a missing text each give their reason and leave no file."""
    jobs = [_job(tmp_path, name, text) for name, text in (("a", "fail"), ("b", "x"), ("c", " "))]
    broken = _job(tmp_path, "d", "one")
    broken.source.write_bytes(b"RIFF")
    reasons = {job.source.stem: reason for job, reason in align_all([*jobs, broken], 1)}
    assert reasons["a"] == "no such word"
    assert reasons["b"] == ""
    assert reasons["c"].startswith("no text")
    assert reasons["d"]
    assert str(broken.source) not in reasons["d"]
    names = sorted(path.name for path in jobs[1].stem.parent.iterdir())
    assert names == ["b.TextGrid", "b.lab"]


def test_a_run_that_stops_keeps_what_is_done(tmp_path: Path, fake: list[str]) -> None:
    """Left after the first file, the run has written that one and nothing of the others."""
    jobs = [_job(tmp_path, name, name) for name in ("a", "b", "c")]
    run = align_all(jobs, 1)
    next(run)
    run.close()
    written = [all(path.is_file() for path in job.outputs()) for job in jobs]
    assert written == [True, False, False]
    assert fake == ["a"]


def test_processes_give_what_one_gives(mini_corpus: Path, tmp_path: Path) -> None:
    """Two workers write the same bytes as none, and tell the same failures."""
    pytest.importorskip("pocketsphinx", reason="needs pocketsphinx (the extra `align`)")
    sources = sorted((mini_corpus / "wav48/f1").glob("*.wav"))[:3]
    texts = [(mini_corpus / f"txt/f1/{path.stem}.txt").read_text() for path in sources]
    texts[2] = ""
    written = []
    for processes in (1, 2):
        jobs = [
            Job(path, text, tmp_path / str(processes) / path.stem, BOTH)
            for path, text in zip(sources, texts, strict=True)
        ]
        reasons = {job.source.stem: reason for job, reason in align_all(jobs, processes)}
        assert [bool(reasons[path.stem]) for path in sources] == [False, False, True]
        folder = tmp_path / str(processes)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert len(written[0]) == 4
    assert written[0] == written[1]
    assert read_lab(tmp_path / "1" / f"{sources[0].stem}.lab")


def test_a_place_that_cannot_be_written_is_said_of_each_recording(tmp_path: Path) -> None:
    """Workers report a full or closed disk in one line, like any other failure."""
    pytest.importorskip("pocketsphinx", reason="needs pocketsphinx (the extra `align`)")
    (tmp_path / "out").write_text("a file")
    noise = np.random.default_rng(0).normal(scale=0.01, size=16000).astype(np.float32)
    jobs = []
    for name in ("a", "b"):
        audio.write(tmp_path / f"{name}.wav", noise, 16000)
        jobs.append(Job(tmp_path / f"{name}.wav", "no", tmp_path / "out" / name, BOTH))
    for processes in (1, 2):
        reasons = [reason for _, reason in align_all(jobs, processes)]
        assert len(reasons) == 2
        assert all("cannot be written" in reason for reason in reasons)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_wrong_with_a_sound_is_said_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, processes: int
) -> None:
    """A warning about one file reaches the person from this process and from workers."""
    pytest.importorskip("pocketsphinx", reason="needs pocketsphinx (the extra `align`)")
    jobs = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, np.full(16000, 1.5), 16000, subtype="FLOAT")
        jobs.append(Job(path, "no", tmp_path / "out" / name, BOTH))
    list(align_all(jobs, processes))
    assert caplog.text.count("values up to 1.5") == 2
