"""Shards of codes as Parquet: a row for each utterance, its codes a list of uint16."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech.codes.entry import Entry, entry_of, find_runs
from vqspeech.errors import CodesError


def _schema(unique: bool) -> Any:
    import pyarrow as pa

    columns = [
        ("id", pa.string()),
        ("codes", pa.list_(pa.uint16())),
        ("code_rate_hz", pa.float64()),
        ("speaker", pa.string()),
        ("duration_s", pa.float64()),
        ("codebook_id", pa.string()),
        ("model", pa.string()),
        ("model_id", pa.string()),
        ("path", pa.string()),
        *((name, pa.int64()) for name in ("samples", "sample_rate", "hop", "codebook_size")),
    ]
    return pa.schema([*columns, ("durations", pa.list_(pa.uint32()))] if unique else columns)


def write(folder: Path, number: int, entries: Sequence[Entry], unique: bool) -> None:
    """Write a shard; see `shards.write`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for entry in entries:
        row = entry.fields() | {"codes": np.asarray(entry.record.codes, np.uint16)}
        if unique:
            row |= find_runs(row["codes"])._asdict()
        rows.append(row)
    table = pa.Table.from_pylist(rows, schema=_schema(unique))
    pq.write_table(table, folder / f"codes-{number:06d}.parquet", compression="zstd")


def read(path: Path) -> list[Entry]:
    """Read a shard; see `shards.read`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # not read_table, which takes the names of folders for columns
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise CodesError(
            f"{path}: not a whole Parquet file ({str(error).splitlines()[0]})"
        ) from None
    if "codes" not in table.column_names:
        raise CodesError(f"{path}: no column codes; found {', '.join(table.column_names)}")
    return [
        entry_of(row, _array(row["codes"]), _array(row.get("durations")), f"{path}, row {number}")
        for number, row in enumerate(table.to_pylist(), 1)
    ]


def _array(values: Any) -> Any:
    return None if values is None else np.asarray(values, np.int64)
