from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.cli.files import Failures, find_sources, inside, out_file, refused, sound_outputs
from vqspeech.errors import ConfigurationError

PARTS = st.lists(st.sampled_from(["..", ".", "a", "b c", "/", "-", "", "\0", "é"]), max_size=8)


@given(PARTS, st.sampled_from(["", "/"]))
def test_no_name_leads_outside(parts: list[str], start: str) -> None:
    """Whatever a name is made of, the path lies inside the folder or the name is refused."""
    folder = Path("/nowhere/at/all")
    try:
        found = inside(folder, start + "/".join(parts))
    except ConfigurationError:
        return
    assert found.resolve().is_relative_to(folder)


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_speaker_leads_outside(stem: str, speaker: str) -> None:
    """The same holds for the names that are put together from a recording and a speaker."""
    folder = Path("/tmp")
    try:
        (found,) = sound_outputs(
            [Path(stem.replace("\0", ""))], [speaker], str(folder), Failures(1), force=True
        )
    except ConfigurationError:
        return
    assert found is None or found.resolve().is_relative_to(folder)


def test_folders_are_searched_in_order_of_name(tmp_path: Path) -> None:
    """The order of the outputs does not depend on the file system; case of the suffix does not matter."""
    names = ["b/2.wav", "b/10.FLAC", "a/z.mp3", "c.opus", "a/y.ogg", "a/notes.txt"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = [str(source.mirror) for source in find_sources([str(tmp_path)])]
    assert found == ["a/y.ogg", "a/z.mp3", "b/10.FLAC", "b/2.wav", "c.opus"]


@pytest.mark.parametrize("out", ["new/folder", "one.wav"])
def test_a_folder_without_permission_is_refused_before_the_work(
    read_only_folder: Path, out: str
) -> None:
    """A read-only output folder is told at once, not after an hour of sampling."""
    with pytest.raises(ConfigurationError, match="no permission to write"):
        sound_outputs([Path("a")], ["b"], str(read_only_folder / out), Failures(1), force=True)


def test_what_else_lies_in_a_folder_is_passed_over_or_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Hidden files are nothing, linked folders are folders, formats that are not read are counted."""
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for name in (
        "in/a.wav",
        "in/._a.wav",
        "in/b.m4a",
        "in/c.M4A",
        "in/notes.txt",
        "elsewhere/d.wav",
    ):
        (tmp_path / name).touch()
    (tmp_path / "in/z").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "in/z2").symlink_to(tmp_path / "in", target_is_directory=True)
    found = [str(source.mirror) for source in find_sources([str(tmp_path / "in")])]
    assert found == ["a.wav", "z/d.wav"]
    assert "2 (.m4a is not read; convert it to wav or flac)" in caplog.text
    assert "1 (a link to a folder above it)" in caplog.text


def test_outputs_that_cannot_be_written_are_found_with_their_reasons(
    tmp_path: Path,
) -> None:
    """Each reason stops its own output alone, before any work."""
    (tmp_path / "there.json").write_text("mine")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "source.wav").touch()
    (tmp_path / "link.json").symlink_to(tmp_path / "nowhere")
    expected = {
        tmp_path / "there.json": "exists",
        tmp_path / "link.json": "exists",
        tmp_path / "folder.json": "is a folder",
        tmp_path / "source.wav": "is itself a source",
        tmp_path / ("x" * 251 + ".json"): "256 bytes of 255",
        tmp_path / ("あ" * 84) / "a.json": "",
        tmp_path / ("あ" * 86) / "a.json": "258 bytes of 255",
        tmp_path / "there.json" / "a.json": "is not a folder",
        tmp_path / "twice.json": "two outputs",
        tmp_path / ("x" * 250 + ".json"): "",
        tmp_path / "new" / "b.json": "",
    }
    outputs = [*expected, tmp_path / "twice.json"]
    found = refused(outputs, force=False, sources=[tmp_path / "source.wav"])
    for path, reason in expected.items():
        assert reason in found.get(path, "")
        assert (path in found) == bool(reason)
    assert tmp_path / "there.json" not in refused([tmp_path / "there.json"], force=True)


def test_an_output_without_permission_is_found(read_only_folder: Path) -> None:
    """Also where its folder would have to be made."""
    (reason,) = refused([read_only_folder / "new" / "a.json"], force=False).values()
    assert "no permission to write" in reason


@pytest.mark.parametrize(
    ("out", "count", "expected"),
    [
        (None, 1, None),
        ("a.json", 1, "a.json"),
        ("a.TextGrid", 1, "a.TextGrid"),
        ("a.JSON", 1, "a.JSON"),
        ("a.m4a", 1, "cannot write .m4a; choose .json, .TextGrid"),
        ("a.npy", 3, "cannot write .npy"),
        ("a.json", 2, "one file for 2 results"),
        ("a.json/", 2, None),
        ("folder.json", 2, None),
        ("run.2", 1, None),
        ("codes", 1, None),
    ],
)
def test_out_is_a_file_or_a_folder_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str | None, count: int, expected: object
) -> None:
    """A suffix of a format means a file, which is refused where it cannot be written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.json").mkdir()
    if isinstance(expected, str) and expected != out:
        with pytest.raises(ConfigurationError, match=expected):
            out_file(out, (".json", ".TextGrid"), count)
    else:
        found = out_file(out, (".json", ".TextGrid"), count)
        assert found == (None if expected is None else Path(str(expected)))
