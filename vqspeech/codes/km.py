"""Shards of codes as fairseq and ESPnet have labels: a ``.km`` file, one line a row of the ``.tsv`` table beside it.

The first line of the table is a folder, each other one a path below it and the number of samples. ``dict.km.txt`` lists
the labels. What these files do not say (rate, hop, codebook, model) is in ``codes.json`` of the same folder, ids and
speakers in ``.ids``. With runs written once, ``.dur`` has the durations, in frames, line by line.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech.codes.entry import Entry, entry_of, find_runs
from vqspeech.errors import CodesError
from vqspeech.jobs.atomic import write_atomically

ABOUT, DICTIONARY = COMMON = ("codes.json", "dict.km.txt")
_CONSTANT = ("sample_rate", "hop", "codebook_size", "codebook_id", "model", "model_id")


def write(folder: Path, number: int, entries: Sequence[Entry], unique: bool) -> None:
    """Write a shard; see `shards.write`."""
    stem = folder / f"codes-{number:06d}"
    runs = [find_runs(entry.record.codes) for entry in entries]
    codes = [of.codes for of in runs] if unique else [entry.record.codes for entry in entries]
    _write_lines(stem.with_suffix(".km"), map(_numbers, codes))
    if unique:
        _write_lines(stem.with_suffix(".dur"), (_numbers(of.durations) for of in runs))
    fields = [entry.fields() for entry in entries]
    _write_lines(stem.with_suffix(".ids"), (f"{of['id']}\t{of['speaker']}" for of in fields))
    places = [os.path.abspath(of["path"]) for of in fields]  # noqa: PTH100
    root = os.path.commonpath([os.path.dirname(place) for place in places])  # noqa: PTH120
    rows = (
        f"{os.path.relpath(p, root)}\t{of['samples']}" for p, of in zip(places, fields, strict=True)
    )
    _write_lines(stem.with_suffix(".tsv"), [root, *rows])
    about = {name: fields[0][name] for name in _CONSTANT}
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    _write_lines(folder / DICTIONARY, (f"{code} 1" for code in range(about["codebook_size"])))


def read(path: Path) -> list[Entry]:
    """Read a shard; see `shards.read`."""
    about = path.with_name(ABOUT)
    try:
        constant = json.loads(about.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CodesError(
            f"{about}: cannot be read; it says rate and codebook of the codes in {path.name}"
        ) from None
    root, *rows = _lines(path.with_suffix(".tsv"))
    codes = _lines(path)
    names = _lines(path.with_suffix(".ids")) if path.with_suffix(".ids").is_file() else None
    lengths = _lines(path.with_suffix(".dur")) if path.with_suffix(".dur").is_file() else None
    for other in (codes, names, lengths):
        if other is not None and len(other) != len(rows):
            raise CodesError(
                f"{path}: {len(other)} lines for {len(rows)} rows of {path.with_suffix('.tsv').name}"
            )
    entries = []
    for place, (row, line) in enumerate(zip(rows, codes, strict=True)):
        where = f"{path}, line {place + 1}"
        name, _, samples = row.partition("\t")
        identity, _, speaker = names[place].partition("\t") if names else (name, "", "")
        fields: dict[str, Any] = constant | {"id": identity, "speaker": speaker}
        fields["path"] = os.path.join(root, name)  # noqa: PTH118
        try:
            fields["samples"] = int(samples)
            found = _parsed(line)
            durations = None if lengths is None else _parsed(lengths[place])
        except ValueError:
            raise CodesError(f"{where}: not whole numbers between spaces") from None
        entries.append(entry_of(fields, found, durations, where))
    return entries


def join(shards: Sequence[Path], stem: Path) -> None:
    """Write the lines of shards, named by their ``.km`` files, as one ``stem.km`` and ``stem.tsv``.

    Beside them lie ``stem.ids``, ``stem.dur`` where the shards have durations, and what else a reader needs.
    """
    if not shards:
        return
    # The first lines alone: the tables of a large corpus do not fit into memory.
    tables = [shard.with_suffix(".tsv") for shard in shards]
    roots = [next(_each_line(table)) for table in tables]
    root = os.path.commonpath(roots)

    def rows() -> Iterator[str]:
        yield root
        for table, own in zip(tables, roots, strict=True):
            lines = _each_line(table)
            next(lines)
            below = os.path.relpath(own, root)
            yield from (os.path.normpath(os.path.join(below, line)) for line in lines)  # noqa: PTH118

    write_atomically(stem.with_suffix(".tsv"), partial(_write_lines, lines=rows()))
    for suffix in (".ids", ".dur", ".km"):
        if shards[0].with_suffix(suffix).is_file():
            lines = (line for shard in shards for line in _each_line(shard.with_suffix(suffix)))
            write_atomically(stem.with_suffix(suffix), partial(_write_lines, lines=lines))
    for name in COMMON:
        write_atomically(stem.with_name(name), partial(shutil.copyfile, shards[0].with_name(name)))


def _numbers(values: Iterable[int] | np.ndarray) -> str:
    return " ".join(map(str, values))


def _parsed(line: str) -> np.ndarray:
    return np.array([int(word) for word in line.split()], np.int64)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(f"{line}\n")


def _each_line(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CodesError(f"{path}: cannot be read ({reason})") from None


def _lines(path: Path) -> list[str]:
    found = list(_each_line(path))
    if not found and path.suffix == ".tsv":
        raise CodesError(f"{path}: empty; its first line names a folder")
    return found
