"""Shards of codes as WebDataset tars: ``KEY.npy``, uint16, and ``KEY.json`` for each utterance.

The key is the id, with ``_`` for each dot of its last part: WebDataset ends a key at the first one. With runs written
once, ``KEY.durations.npy`` has their lengths in frames.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech.codes.entry import Entry, entry_of, find_runs
from vqspeech.errors import CodesError


def write(folder: Path, number: int, entries: Sequence[Entry], unique: bool) -> None:
    """Write a shard; see `shards.write`."""
    taken: set[str] = set()
    with tarfile.open(folder / f"codes-{number:06d}.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for entry in entries:
            fields = entry.fields()
            key = _key(fields["id"])
            while key in taken:
                key += "_"
            taken.add(key)
            arrays = {"npy": np.asarray(entry.record.codes, np.uint16)}
            if unique:
                runs = find_runs(arrays["npy"])
                arrays = {"npy": runs.codes, "durations.npy": runs.durations}
            for suffix, array in arrays.items():
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                _add(tar, f"{key}.{suffix}", buffer.getvalue())
            _add(tar, f"{key}.json", json.dumps(fields).encode())


def _key(name: str) -> str:
    folder, separator, last = name.rpartition("/")
    return folder + separator + last.replace(".", "_")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def read(path: Path) -> list[Entry]:
    """Read a shard; see `shards.read`."""
    found: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                folder, separator, last = member.name.rpartition("/")
                key, _, suffix = last.partition(".")
                content = tar.extractfile(member)
                if content is None:
                    continue
                of = found.setdefault(folder + separator + key, {})
                if suffix == "json":
                    of["json"] = json.loads(content.read())
                elif suffix in ("npy", "durations.npy"):
                    array = np.load(io.BytesIO(content.read()), allow_pickle=False)
                    of[suffix] = array.astype(np.int64)
            # tarfile takes an archive that breaks off between two members for a whole one
            if path.stat().st_size < tar.offset + 2 * tarfile.BLOCKSIZE:
                raise tarfile.ReadError("its end is missing")
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise CodesError(f"{path}: not a whole tar of codes ({reason})") from None
    entries = []
    for key, of in found.items():
        if "npy" not in of or not isinstance(of.get("json"), dict):
            raise CodesError(f"{path}: {key} lacks its .npy or its .json")
        where = f"{path}, {key}"
        entries.append(entry_of(of["json"], of["npy"], of.get("durations.npy"), where))
    return entries
