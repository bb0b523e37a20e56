"""Each format of shards is written, read back, and opened by the tool that it is for."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.codes import files as codesfile
from vqspeech.codes import km, shards
from vqspeech.codes.entry import Entry, find_runs
from vqspeech.codes.record import CodesRecord
from vqspeech.errors import CodesError

HOP, RATE = 160, 16000


def entry(name: str, codes: list[int], speaker: str = "ann") -> Entry:
    record = CodesRecord(
        file=f"/data/{name}.flac",
        codes=codes,
        hop=HOP,
        sample_rate=RATE,
        samples=HOP * len(codes) - 7,
        codebook_size=512,
        model="vctk",
        codebook="d3bcea85",
    )
    return Entry(name, speaker, record, "0123456789abcdef")


ENTRIES = [
    entry("ann/a.1", [3, 3, 3, 511, 0, 0]),
    entry("ann/a_1", [7]),
    entry("bob/long", [i // 3 % 512 for i in range(900)], "bob"),
    entry("deep/er/no one", [5, 5, 1, 5], ""),
]
CODES = [e.record.codes for e in ENTRIES]
NAME = {
    "parquet": "codes-000017.parquet",
    "km": "codes-000017.km",
    "shar": "cuts.000017.jsonl.gz",
    "webdataset": "codes-000017.tar",
}


@given(st.lists(st.integers(0, 3), max_size=30))
def test_runs_and_their_durations_are_the_codes(codes: list[int]) -> None:
    """No two neighbours are equal, every duration is at least one frame, and joined they are the codes."""
    runs = find_runs(codes)
    assert runs.joined().tolist() == codes
    assert (runs.durations > 0).all()
    assert (np.diff(runs.codes.astype(int)) != 0).all()


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("kind", shards.FORMATS)
def test_what_is_written_is_read(kind: str, unique: bool, tmp_path: Path) -> None:
    """Every format gives back every field of every utterance, whether runs are written once or not."""
    shards.write(tmp_path, 17, ENTRIES, kind, unique=unique)
    assert shards.read(tmp_path / NAME[kind]) == ENTRIES
    assert codesfile.read(tmp_path / NAME[kind]) == [e.record for e in ENTRIES]


@pytest.mark.parametrize("unique", [False, True])
def test_pyarrow_reads_parquet(unique: bool, tmp_path: Path) -> None:
    """A folder of shards is one data set; codes are a list of uint16."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.dataset

    for number in (0, 1):
        shards.write(tmp_path, number, ENTRIES[2 * number :][:2], "parquet", unique=unique)
    table = pyarrow.dataset.dataset(tmp_path, format="parquet").to_table()
    assert table.schema.field("codes").type == pa.list_(pa.uint16())
    assert table["id"].to_pylist() == [e.id for e in ENTRIES]
    assert table["speaker"].to_pylist() == ["ann", "ann", "bob", ""]
    expected = [find_runs(codes) if unique else (codes, None) for codes in CODES]
    assert table["codes"].to_pylist() == [list(codes) for codes, _ in expected]
    if unique:
        assert table["durations"].to_pylist() == [list(lengths) for _, lengths in expected]
    assert set(table["code_rate_hz"].to_pylist()) == {100.0}
    assert table["duration_s"].to_pylist()[1] == pytest.approx((HOP - 7) / RATE)


def test_datasets_reads_parquet(tmp_path: Path, monkeypatch) -> None:
    """`load_dataset` takes a folder of shards as it is."""
    for variable in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(variable, "1")
    datasets = pytest.importorskip("datasets", reason="needs datasets: pip install datasets")
    for number in (0, 1):
        shards.write(tmp_path, number, ENTRIES[2 * number :][:2], "parquet")
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "*.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert [row["codes"] for row in loaded] == [list(codes) for codes in CODES]


def read_like_fairseq(tsv: Path, labels: Path) -> list[tuple[str, int, list[int]]]:
    """Read a manifest and its labels as fairseq's HuBERT data set does: by line, with a dictionary of labels."""
    with tsv.open() as file:
        root = file.readline().strip()
        rows = [line.strip().split("\t") for line in file]
    known = [line.split()[0] for line in (labels.parent / "dict.km.txt").read_text().splitlines()]
    with labels.open() as file:
        lines = [[known.index(word) for word in line.split()] for line in file]
    assert all(len(row) == 2 for row in rows)
    return [
        (os.path.join(root, path), int(samples), codes)  # noqa: PTH118
        for (path, samples), codes in zip(rows, lines, strict=True)
    ]


def test_a_reader_like_that_of_fairseq_reads_km(tmp_path: Path) -> None:
    """Line i of the labels belongs to row i of the table, of one shard and of all of them joined."""
    expected = [(e.record.file, e.record.samples, e.record.codes) for e in ENTRIES]
    for number, part in enumerate((ENTRIES[:1], ENTRIES[1:3], ENTRIES[3:])):
        shards.write(tmp_path, number, part, "km")
    assert (
        read_like_fairseq(tmp_path / "codes-000001.tsv", tmp_path / "codes-000001.km")
        == (expected[1:3])
    )
    (tmp_path / "joined").mkdir()
    km.join(sorted(tmp_path.glob("*.km")), tmp_path / "joined/train")
    assert (
        read_like_fairseq(tmp_path / "joined/train.tsv", tmp_path / "joined/train.km") == expected
    )
    assert shards.read(tmp_path / "joined/train.km") == ENTRIES


def test_units_once_with_durations_as_textless_speech_takes_them(tmp_path: Path) -> None:
    """With runs written once, labels and durations have as many numbers a line, and durations add up to the frames."""
    shards.write(tmp_path, 0, ENTRIES, "km", unique=True)
    units = [line.split() for line in (tmp_path / "codes-000000.km").read_text().splitlines()]
    lengths = [line.split() for line in (tmp_path / "codes-000000.dur").read_text().splitlines()]
    assert units[0] == ["3", "511", "0"]
    assert lengths[0] == ["3", "1", "2"]
    assert [sum(map(int, of)) for of in lengths] == [len(codes) for codes in CODES]
    assert list(map(len, units)) == list(map(len, lengths))


def test_lhotse_reads_every_code_of_a_recording_of_any_length(tmp_path: Path) -> None:
    """A last code of a few samples too, which a frame shift of a whole hop would round away."""
    lhotse = pytest.importorskip("lhotse")
    entries = []
    for samples in (1, HOP // 2 - 1, *range(7 * HOP - 1, 8 * HOP + 2, 13), 3000 * HOP + 1):
        codes = [number % 512 for number in range(-(-samples // HOP))]
        record = replace(ENTRIES[0].record, codes=codes, samples=samples)
        entries.append(Entry(f"u{samples}", "ann", record))
    shards.write(tmp_path, 0, entries, "shar")
    for cut, of in zip(lhotse.CutSet.from_shar(in_dir=tmp_path), entries, strict=True):
        assert cut.load_codes().tolist() == of.record.codes
        assert cut.duration == pytest.approx(of.record.samples / RATE)
        assert cut.codes.frame_shift <= HOP / RATE
    assert shards.read(tmp_path / "cuts.000000.jsonl.gz") == entries


def test_lhotse_reads_shar(tmp_path: Path) -> None:
    """A folder is a CutSet whose codes are a TemporalArray of the code rate, and lasts as long as the recordings."""
    lhotse = pytest.importorskip("lhotse")
    for number in (0, 1):
        shards.write(tmp_path, number, ENTRIES[2 * number :][:2], "shar")
    cuts = list(lhotse.CutSet.from_shar(in_dir=tmp_path))
    assert [cut.id for cut in cuts] == [e.id for e in ENTRIES]
    for cut, of in zip(cuts, ENTRIES, strict=True):
        assert isinstance(cut.codes, lhotse.array.TemporalArray)
        assert cut.codes.frame_shift == HOP / RATE
        assert cut.load_codes().dtype == np.uint16
        assert cut.load_codes().tolist() == of.record.codes
        assert cut.duration == pytest.approx(of.record.samples / RATE)
    assert cuts[2].supervisions[0].speaker == "bob"
    assert cuts[2].custom["path"] == "/data/bob/long.flac"


def test_webdataset_reads_tars(tmp_path: Path) -> None:
    """WebDataset gives the codes of each key as an array and the rest as JSON, also where ids have dots."""
    wds = pytest.importorskip("webdataset")
    shards.write(tmp_path, 0, ENTRIES, "webdataset")
    found = list(wds.WebDataset(str(tmp_path / "codes-000000.tar"), shardshuffle=False).decode())
    assert [sample["json"]["id"] for sample in found] == [e.id for e in ENTRIES]
    assert [sample["npy"].tolist() for sample in found] == CODES
    assert found[0]["npy"].dtype == np.uint16


def test_a_codebook_too_large_for_two_bytes_is_refused(tmp_path: Path) -> None:
    """Codes that a uint16 may not hold are an error, not other codes."""
    large = replace(ENTRIES[0], record=replace(ENTRIES[0].record, codebook_size=65537))
    with pytest.raises(CodesError, match="codebook_size is 65537"):
        shards.write(tmp_path, 0, [large], "parquet")


@pytest.mark.parametrize("kind", shards.FORMATS)
def test_a_damaged_shard_is_a_codes_error_in_one_line(kind: str, tmp_path: Path) -> None:
    """Wherever a shard breaks off it is refused: no part of it is taken for the whole."""
    shards.write(tmp_path, 17, ENTRIES, kind)
    path = tmp_path / NAME[kind]
    # A tar ends with zeros, of which it needs only the first two blocks.
    whole = path.read_bytes().rstrip(b"\0")
    for share in (0.0, 0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(CodesError) as caught:
            shards.read(path)
        assert "\n" not in str(caught.value)


def test_shards_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    """Fewer lines than rows, codes beyond the codebook or a missing table are errors that name the file."""
    shards.write(tmp_path, 17, ENTRIES, "km")
    path = tmp_path / NAME["km"]
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(CodesError, match="3 lines for 4 rows"):
        shards.read(path)
    path.write_text("\n".join(["512 " + lines[0], *lines[1:]]) + "\n")
    with pytest.raises(CodesError, match="line 1: codes range from 0 to 512"):
        shards.read(path)
    path.with_suffix(".tsv").unlink()
    with pytest.raises(CodesError, match=r"codes-000017\.tsv: cannot be read"):
        shards.read(path)
