import io
import json
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_line import one_line

from vqspeech.codes import files as codesfile
from vqspeech.codes.record import CodesRecord
from vqspeech.errors import CodesError


@st.composite
def records(draw: st.DrawFn) -> CodesRecord:
    size = draw(st.integers(1, 4096))
    codes = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=40))
    hop = draw(st.sampled_from([1, 64, 128, 320, 640]))
    return CodesRecord(
        file=draw(st.text(max_size=20)),
        codes=codes,
        hop=hop,
        sample_rate=draw(st.integers(1, 192_000)),
        samples=draw(st.integers((len(codes) - 1) * hop + 1, len(codes) * hop)),
        codebook_size=size,
        model=draw(st.text(max_size=20)),
        codebook=draw(st.sampled_from(["", "0123abcd"])),
    )


@given(st.lists(records(), min_size=1, max_size=4))
def test_json_lines_come_back_as_they_were(written: list[CodesRecord]) -> None:
    """What is written as JSON lines is read as the same records, whatever the names hold."""
    text = "".join(record.to_json() + "\n" for record in written)
    assert text.isascii()
    assert text.count("\n") == len(written)
    assert codesfile.parse(text.encode(), "test") == written


@given(records())
def test_npz_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, record: CodesRecord
) -> None:
    """What is written as npz is read as the same record; arrays drop NUL characters at the end of text."""
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    codesfile.write(path, record, "npz")
    (found,) = codesfile.read(path)
    assert found.codes == record.codes
    assert found.samples == record.samples
    assert found.file == record.file.rstrip("\0")


def test_records_of_before_codebooks_had_ids_are_read() -> None:
    """A file that says nothing of a codebook is one whose codebook is not known."""
    record = CodesRecord("a.wav", [0], 64, 16000, 64, 2, "m", "0123abcd")
    fields = json.loads(record.to_json())
    del fields["codebook"]
    assert codesfile.parse(json.dumps(fields).encode(), "test") == [replace(record, codebook="")]


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_a_codes_error(content: bytes) -> None:
    """Reading garbage raises nothing but CodesError, in one line."""
    try:
        codesfile.parse(content, "test")
    except CodesError as error:
        assert "\n" not in str(error)


def test_a_damaged_npz_is_one_line_whatever_zipfile_makes_of_it() -> None:
    """An unknown way of compression, and data that do not decompress, are errors of the file."""
    content = CodesRecord("a.wav", [1, 2], 64, 16000, 100, 4, "m", "").to_npz()
    names = zipfile.ZipFile(io.BytesIO(content)).infolist()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name.filename, zipfile.ZipFile(io.BytesIO(content)).read(name))
    whole = bytearray(packed.getvalue())
    damaged = [bytearray(whole), bytearray(whole)]
    for place in (8, whole.index(b"PK\x01\x02") + 10):
        damaged[0][place] = 97
    start = 30 + len(names[0].filename)
    damaged[1][start : start + 4] = b"\xff\xff\xff\xff"
    for data in damaged:
        with one_line(CodesError, match="not an npz file of plain arrays"):
            codesfile.parse(bytes(data), "a.npz")
