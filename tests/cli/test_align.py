"""``vqspeech align``: from a corpus or a file to TextGrids and label files."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pocketsphinx", reason="needs pocketsphinx (the extra `align`)")

from vqspeech import audio
from vqspeech.alignment import sphinx
from vqspeech.labels.files import read_lab, read_labels


@pytest.fixture
def people(mini_corpus: Path, tmp_path: Path) -> Path:
    """Return a folder of two speakers with two recordings each, one of them with the wrong text."""
    root = tmp_path / "people"
    for speaker in ("m1", "f1"):
        (root / speaker).mkdir(parents=True)
        for number in ("001", "002"):
            name = f"{speaker}_{number}"
            audio.write(
                root / speaker / f"{name}.wav",
                audio.read(mini_corpus / f"wav48/{speaker}/{name}.wav"),
                16000,
            )
            text = (mini_corpus / f"txt/{speaker}/{name}.txt").read_text()
            (root / speaker / f"{name}.txt").write_text(text)
    (root / "f1/f1_002.txt").write_text("far too many words " * 40)
    return root


def test_a_corpus_is_mirrored_and_failures_are_listed(
    people: Path, run: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    """Three of four are written, the fourth is told and tabled with its reason, and the status is 1."""
    done = run("align", people, "--out", "out", "--workers", 1)
    assert done.status == 1
    assert done.out == "3 aligned, 0 done before, 1 failed, 0 skipped; in out\n"
    assert f"{people / 'f1/f1_002.wav'}: the words" in caplog.text
    assert done.err.splitlines()[-1].startswith("vqspeech: 1 of 4 files were not aligned")
    names = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.*"))
    stems = ["f1/f1_001", "m1/m1_001", "m1/m1_002"]
    expected = [f"{stem}{suffix}" for stem in stems for suffix in (".TextGrid", ".lab")]
    assert names == sorted([*expected, "failures.tsv"])
    header, row = Path("out/failures.tsv").read_text().splitlines()
    assert header == "path\treason"
    assert row.startswith(f"{people / 'f1/f1_002.wav'}\tthe words")


def test_a_second_run_does_what_is_missing(people: Path, run: Callable) -> None:
    """What is done is left alone, what failed is tried again, and its list goes when all is well."""
    run("align", people, "--out", "out", "--workers", 1)
    before = Path("out/m1/m1_001.lab").stat().st_mtime_ns
    (people / "f1/f1_002.txt").unlink()
    (people / "f1/f1_002.wav").unlink()
    Path("out/m1/m1_002.lab").unlink()
    done = run("align", people, "--out", "out", "--workers", 1)
    assert done.status == 0
    assert done.out == "1 aligned, 2 done before, 0 failed, 0 skipped; in out\n"
    assert Path("out/m1/m1_001.lab").stat().st_mtime_ns == before
    assert not Path("out/failures.tsv").exists()
    run("align", people, "--out", "out", "--workers", 1, "--force")
    assert Path("out/m1/m1_001.lab").stat().st_mtime_ns > before


def test_one_file_with_its_text(people: Path, run: Callable) -> None:
    """A sound file is aligned with --text or the .txt beside it, here, in the format asked for."""
    source = people / "m1/m1_001.wav"
    assert run("align", source, "--format", "lab").status == 0
    beside = read_lab(Path("m1_001.lab"))
    assert not Path("m1_001.TextGrid").exists()
    text = source.with_suffix(".txt").read_text()
    source.with_suffix(".txt").unlink()
    assert run("align", source, "--format", "lab", "--text", text, "--force").status == 0
    assert read_lab(Path("m1_001.lab")) == beside


def test_one_file_that_fails_is_one_line(people: Path, run: Callable) -> None:
    """Without a text there is one line that says which file and what to give."""
    source = people / "m1/m1_001.wav"
    source.with_suffix(".txt").unlink()
    done = run("align", source)
    assert done.error.startswith(f"{source}: no text comes with it")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["people"], "a corpus needs --out"),
        (["people", "--out", "o", "--text", "x"], "--text goes with a sound file"),
        (["people", "a.wav", "--out", "o"], "not both together"),
        (["a.wav", "b.wav", "--text", "x"], "--text is for one sound file, not for 2"),
        (["people", "--out", "o", "--format", "lab,csv"], "'csv' is none of textgrid, lab"),
        (["people", "--out", "o", "--workers", "0"], "whole number from 1 up"),
        (["nowhere", "--out", "o"], "nowhere: no such folder or manifest"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str], complaint: str, people: Path, run: Callable
) -> None:
    """What does not go together is told in one line before any work."""
    assert complaint in run("align", *arguments).error
    assert not Path("o").exists()


def test_names_that_lead_outside_are_refused(people: Path, run: Callable) -> None:
    """A manifest cannot make the command write outside --out."""
    line = f"../../x\tu\t{people / 'm1/m1_001.wav'}\tPlease."
    Path("m.tsv").write_text(f"speaker\tutterance\tpath\ttext\n{line}\n")
    assert "outside of out" in run("align", "m.tsv", "--out", "out").error


def test_two_utterances_of_one_name_are_refused(
    people: Path, run: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    """One output for two recordings would lose one of them: neither is written, the others are."""
    rows = [f"{corpus}\tm1\tu\t{people / 'm1/m1_001.wav'}\tHi." for corpus in ("a", "b")]
    text = (people / "m1/m1_001.txt").read_text()
    rows.append(f"a\tm1\tother\t{people / 'm1/m1_001.wav'}\t{text}")
    header = "corpus\tspeaker\tutterance\tpath\ttext"
    Path("m.tsv").write_text("\n".join([header, *rows]) + "\n")
    done = run("align", "m.tsv", "--out", "out", "--workers", 1)
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith("vqspeech: 2 of 3 files were not aligned")
    assert "two outputs would both be out/m1/u.TextGrid" in caplog.text
    assert sorted(path.name for path in Path("out/m1").iterdir()) == ["other.TextGrid", "other.lab"]


def test_existing_files_are_kept_and_the_missing_one_is_made(people: Path, run: Callable) -> None:
    """A corrected TextGrid, and the transcript of the Montreal Forced Aligner, survive without --force."""
    source = people / "m1/m1_001.wav"
    text = source.with_suffix(".txt").read_text()
    Path("m1_001.TextGrid").write_text("corrected by hand")
    assert run("align", source).status == 0
    assert Path("m1_001.TextGrid").read_text() == "corrected by hand"
    assert read_lab(Path("m1_001.lab"))
    source.with_suffix(".txt").rename(source.with_suffix(".lab"))
    assert run("align", people, "--out", people, "--workers", 1).status == 1
    assert source.with_suffix(".lab").read_text() == text
    assert source.with_suffix(".TextGrid").is_file()


def test_a_transcript_is_not_replaced_even_by_force(people: Path, run: Callable) -> None:
    """It is the source of what would replace it; the other file of the pair is made."""
    source = people / "m1/m1_001.wav"
    transcript = source.with_suffix(".txt").rename(source.with_suffix(".lab"))
    before = transcript.read_text()
    done = run("align", source, "--out", source.parent, "--force")
    assert done.status == 1
    assert "is itself a source" in done.err
    assert transcript.read_text() == before
    assert source.with_suffix(".TextGrid").is_file()


def test_out_may_be_a_file_for_one_recording(people: Path, run: Callable) -> None:
    """Its suffix says the format; for several recordings, or of a format that is not written, it is refused."""
    source = people / "m1/m1_001.wav"
    assert run("align", source, "--out", "x.lab").status == 0
    assert read_lab(Path("x.lab"))
    assert not Path("x.TextGrid").exists()
    assert "means lab" in run("align", source, "--out", "y.lab", "--format", "textgrid").error
    assert "cannot write .ctm" in run("align", source, "--out", "y.ctm").error
    assert (
        "one file for 2" in run("align", source, people / "f1/f1_001.wav", "--out", "y.lab").error
    )


@pytest.mark.parametrize("name", ["x.textgrid", "x.TEXTGRID", "x.TextGrid", "x.LAB"])
def test_the_suffix_of_out_may_be_in_any_case(people: Path, run: Callable, name: str) -> None:
    """The file has the name that was asked for, and is kept the next time."""
    source = people / "m1/m1_001.wav"
    assert run("align", source, "--out", f"o/{name}").status == 0
    assert [path.name for path in Path("o").iterdir()] == [name]
    assert read_labels(Path("o") / name)
    assert "1 done before" in run("align", source, "--out", f"o/{name}").out


def test_without_pocketsphinx_one_line_says_what_to_install(
    people: Path, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends before it looks at the corpus."""
    monkeypatch.setattr(sphinx, "find_spec", lambda name: None)
    assert "pip install 'vqspeech[align]'" in run("align", people, "--out", "out").error
    assert not Path("out").exists()
