from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.cli.files import find_sources, inside, plan_sounds
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
        (found,) = plan_sounds([Path(stem.replace("\0", ""))], [speaker], str(folder))
    except ConfigurationError:
        return
    assert found.resolve().is_relative_to(folder)


def test_folders_are_searched_in_order_of_name(tmp_path: Path) -> None:
    """The order of the outputs does not depend on the file system; case of the suffix does not matter."""
    names = ["b/2.wav", "b/10.FLAC", "a/z.mp3", "c.opus", "a/y.ogg", "a/notes.txt"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = [str(source.mirror) for source in find_sources([str(tmp_path)])]
    assert found == ["c.opus", "a/y.ogg", "a/z.mp3", "b/10.FLAC", "b/2.wav"]


@pytest.mark.parametrize("out", ["new/folder", "one.wav"])
def test_a_folder_without_permission_is_refused_before_the_work(
    read_only_folder: Path, out: str
) -> None:
    """A read-only output folder is told at once, not after an hour of sampling."""
    with pytest.raises(ConfigurationError, match="no permission to write"):
        plan_sounds([Path("a")], ["b"], str(read_only_folder / out))
