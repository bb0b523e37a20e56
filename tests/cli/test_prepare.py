"""``vqspeech prepare``: one command from recordings to a store, and what it prints."""

from pathlib import Path

import numpy as np
import pytest

from vqspeech import audio
from vqspeech.cli import main
from vqspeech.corpus import vctk
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Return two speakers who read five sentences, and a broken recording."""
    for speaker in ("ann", "bob"):
        (tmp_path / "people" / speaker).mkdir(parents=True)
        for number in range(5):
            path = tmp_path / "people" / speaker / f"{number}.wav"
            audio.write(path, np.random.default_rng(number).uniform(-0.5, 0.5, 16000), 16000)
            path.with_suffix(".txt").write_text(f"Sentence {number}.")
    (tmp_path / "people/bob/broken.wav").touch()
    return tmp_path / "people"


def test_table_counts_speakers_utterances_and_what_was_skipped(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table adds up, and names the list of what was skipped."""
    out = tmp_path / "store"
    assert main(["prepare", "--corpus", str(people), "--out", str(out), "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:6]}
    assert rows["all"] == ["2", "10", "0.00"]
    assert [rows[split][1] for split in ("train", "valid", "test")] == ["6", "2", "2"]
    assert lines[-1] == f"skipped: 1, listed with reasons in {out / 'skipped.tsv'}"


def test_second_run_does_nothing_and_another_corpus_needs_force(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command again ends well; other settings are refused in one line until forced."""
    command = ["prepare", "--corpus", str(people), "--out", str(tmp_path / "s"), "--workers", "1"]
    assert main(command) == main(command) == 0
    capsys.readouterr()
    assert main([*command, "--no-trim"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vqspeech: ")
    assert "--force" in line
    assert main([*command, "--no-trim", "--force"]) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--corpus", "vctk"], "--download FOLDER"),
        (["--corpus", "none"], "none: no such folder"),
        (["--corpus", "none", "--download", "x"], "--download goes with"),
        (["--corpus", "none", "--workers", "-1"], "--workers is -1"),
        (["--corpus", "none", "--mic", "mic3"], "invalid choice"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    """A wrong argument is told in one line, and no store appears."""
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "--out", "store", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where VCTK cannot be fetched, the line names the two ways that need no download."""

    def fail(folder: Path) -> Path:
        raise CorpusError("no connection")

    monkeypatch.setattr(vctk, "download", fail)
    assert main(["prepare", "--corpus", "vctk", "--download", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    for word in ("no connection", "--corpus mini", "--corpus PATH"):
        assert word in line


def test_without_a_store_recordings_are_only_fetched(
    mini_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--download`` alone has the recordings at that place; without either nothing is done."""
    assert main(["prepare", "--corpus", "mini", "--download", str(mini_corpus)]) == 0
    assert capsys.readouterr().out.split() == [str(mini_corpus)]
    assert main(["prepare", "--corpus", "mini"]) == 1
    assert "--out" in capsys.readouterr().err


def test_miniature_corpus_is_made_beside_the_store(
    mini_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--corpus mini`` makes the recordings and packs them; the audio is what it always is."""
    out = tmp_path / "store"
    assert main(["prepare", "--corpus", "mini", "--out", str(out)]) == 0
    assert (out / "audio.i16").read_bytes() == (mini_store / "audio.i16").read_bytes()
    store = PackedStore(out)
    assert (store.corpus, len(store.speakers)) == ("mini", 8)
    assert (tmp_path / "store-recordings" / "wav48").is_dir()
    assert "mini, packed at 16000 Hz" in capsys.readouterr().out
