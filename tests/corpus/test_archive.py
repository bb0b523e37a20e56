"""Archives: fetched with a checksum, resumed where they broke, and refused whole when an entry is hostile."""

import contextlib
import functools
import hashlib
import http.server
import io
import stat
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from one_line import one_line

from vqspeech.corpus.archive import extract, fetch
from vqspeech.errors import CorpusError


def _zip(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data, zipfile.ZIP_DEFLATED)
    return path


def _link(name: str, mode: int = stat.S_IFLNK) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (mode | 0o777) << 16
    return entry


def _refused(archive: Path, complaint: str) -> None:
    """Nothing of an archive is unpacked, and the error names it."""
    folder = archive.parent
    with pytest.raises(CorpusError, match=complaint) as error:
        extract(archive, folder / "tree")
    assert str(archive) in str(error.value)
    assert [path.name for path in folder.iterdir()] == [archive.name]


def test_plain_archive_is_unpacked(tmp_path: Path) -> None:
    """Files and folders arrive with their bytes; nothing else stays."""
    archive = _zip(tmp_path / "a.zip", ("txt/p225/é 1.txt", b"hello"), ("wav/", b""), ("-n", b""))
    dest = extract(archive, tmp_path / "tree")
    assert (dest / "txt/p225/é 1.txt").read_bytes() == b"hello"
    assert sorted(path.name for path in dest.iterdir()) == ["-n", "txt", "wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "tree"]


@pytest.mark.parametrize(
    "entry",
    [
        "../escaped.txt",
        "txt/../../escaped.txt",
        "/tmp/vqspeech-escaped.txt",
        "C:/escaped.txt",
        "..\\escaped.txt",
        "//host/escaped.txt",
        _link("link"),
        _link("pipe", stat.S_IFIFO),
        _link("device", stat.S_IFCHR),
    ],
    ids=lambda entry: entry if isinstance(entry, str) else entry.filename,
)
def test_hostile_entry_refuses_the_archive(tmp_path: Path, entry: str | zipfile.ZipInfo) -> None:
    """One name that leaves the folder, one link or device, and not even the good files are written."""
    archive = _zip(tmp_path / "a.zip", ("good.txt", b"good"), (entry, b"/etc/passwd"))
    _refused(archive, "refused")


def test_name_with_a_zero_byte_is_refused(tmp_path: Path) -> None:
    """A name that zipfile would cut short is judged as it is stored."""
    archive = _zip(tmp_path / "a.zip", ("good.txt", b"1"), ("badXname.txt", b"2"))
    archive.write_bytes(archive.read_bytes().replace(b"badXname", b"bad\0name"))
    _refused(archive, "refused")


@pytest.mark.parametrize(("size", "entries"), [(20 << 20, 1), ((1 << 20) - 1, 64)])
def test_bomb_is_refused(tmp_path: Path, size: int, entries: int) -> None:
    """An entry that grows a thousandfold, and many that are harmless one by one, before any of them grows."""
    _refused(_zip(tmp_path / "a.zip", *((f"{i}", bytes(size)) for i in range(entries))), "bomb")


def test_bomb_of_overlapping_entries_is_refused(tmp_path: Path) -> None:
    """Two entries that share one piece of compressed data are refused."""
    data = np.random.default_rng(0).bytes(100_000)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("one", data)
        entry = target.getinfo("one")
        twin = zipfile.ZipInfo("two")
        for name in ("header_offset", "file_size", "compress_size", "CRC"):
            setattr(twin, name, getattr(entry, name))
        target.filelist.append(twin)
        target.NameToInfo["two"] = twin
    _refused(archive, "overlap")


def test_entry_that_says_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    """A bomb that lies about its size fails on its checksum, and what was unpacked goes away."""
    archive = _zip(tmp_path / "a.zip", ("zeros", bytes(1 << 20)))
    size = (1 << 20).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(size, (1 << 10).to_bytes(4, "little")))
    _refused(archive, "damaged")


def test_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    """Of two files in one place one would vanish."""
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = _zip(tmp_path / "a.zip", ("a.txt", b"1"), ("a.txt", b"2"))
    _refused(archive, "twice")


def test_damaged_archive_leaves_nothing(tmp_path: Path) -> None:
    """A wrong byte is found by the checksum of its entry; the folder does not appear."""
    data = np.random.default_rng(0).bytes(100_000)
    archive = _zip(tmp_path / "a.zip", ("good", b"good"), ("noise", data))
    whole = bytearray(archive.read_bytes())
    whole[50_000] ^= 0xFF
    archive.write_bytes(whole)
    _refused(archive, "damaged")


def test_other_archives_are_refused(tmp_path: Path) -> None:
    """A tar archive, hostile or not, is no zip archive; neither is a missing file."""
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as target:
        entry = tarfile.TarInfo("../escaped.txt")
        entry.size = 2
        target.addfile(entry, io.BytesIO(b"hi"))
    _refused(archive, "not a zip archive")
    with pytest.raises(CorpusError, match="no such file"):
        extract(tmp_path / "none.zip", tmp_path / "tree")


def test_existing_folder_is_kept(tmp_path: Path) -> None:
    """What is already unpacked, or anything else in that place, is not written over."""
    archive = _zip(tmp_path / "a.zip", ("a.txt", b"1"))
    (tmp_path / "tree").mkdir()
    with pytest.raises(CorpusError, match="exists already"):
        extract(archive, tmp_path / "tree")


def test_read_only_folder_is_named(read_only_folder: Path) -> None:
    """Where one may not write, the message says so."""
    with tempfile.TemporaryDirectory() as elsewhere:
        archive = _zip(Path(elsewhere) / "a.zip", ("a.txt", b"1"))
        with pytest.raises(CorpusError, match="cannot be written"):
            extract(archive, read_only_folder / "tree")


def test_download_to_an_impossible_place_is_named(tmp_path: Path) -> None:
    """A folder that cannot be made is an error of this package."""
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="cannot be written"):
        fetch("http://127.0.0.1:9/a.zip", tmp_path / "file" / "folder", "0" * 64)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file; breaks off after `limit` bytes; knows ranges or not."""

    def __init__(self, server_state: dict[str, Any], *args: Any) -> None:
        self.state = server_state
        super().__init__(*args)

    def do_GET(self) -> None:
        data, start = self.state["data"], 0
        wanted = self.headers.get("Range")
        self.state["ranges"].append(wanted)
        if wanted and self.state["knows_ranges"]:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start < len(data) else 416)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : self.state["limit"]])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[dict[str, Any]]:
    """Yield the state of a file server on this machine; its address is in it."""
    state: dict[str, Any] = {"data": np.random.default_rng(1).bytes(3 << 20)}
    state |= {"limit": None, "knows_ranges": True, "ranges": []}
    handler = functools.partial(_Handler, state)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        state["url"] = f"http://127.0.0.1:{running.server_address[1]}/corpus.zip"
        state["sha256"] = hashlib.sha256(state["data"]).hexdigest()
        with contextlib.ExitStack() as stack:
            stack.callback(running.shutdown)
            yield state


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_broken_download_goes_on(
    tmp_path: Path, server: dict[str, Any], knows_ranges: bool
) -> None:
    """What came before the break is kept and asked for no more, if the server knows how."""
    server |= {"limit": 2 << 20, "knows_ranges": knows_ranges}
    with pytest.raises(CorpusError, match="run again"):
        fetch(server["url"], tmp_path, server["sha256"])
    have = (tmp_path / "corpus.zip.part").stat().st_size
    assert 0 < have <= 2 << 20
    server["limit"] = None
    found = fetch(server["url"], tmp_path, server["sha256"])
    assert found.read_bytes() == server["data"]
    assert server["ranges"] == [None, f"bytes={have}-"]
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.zip"]


def test_download_that_is_there_is_not_fetched_again(
    tmp_path: Path, server: dict[str, Any]
) -> None:
    """A file with the right checksum is taken as it is; so is a part that lacks nothing."""
    (tmp_path / "corpus.zip.part").write_bytes(server["data"])
    fetch(server["url"], tmp_path, server["sha256"])
    asked = len(server["ranges"])
    fetch(server["url"], tmp_path, server["sha256"])
    assert len(server["ranges"]) == asked


def test_wrong_checksum_is_refused(tmp_path: Path, server: dict[str, Any]) -> None:
    """What came is deleted, so that the next call starts afresh."""
    with pytest.raises(CorpusError, match="SHA-256"):
        fetch(server["url"], tmp_path, "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_server_out_of_reach_is_an_error_of_one_line(tmp_path: Path) -> None:
    """Without network the message names the address."""
    with one_line(CorpusError, start="http://127.0.0.1:9/corpus.zip: cannot be fetched"):
        fetch("http://127.0.0.1:9/corpus.zip", tmp_path, "0" * 64)
