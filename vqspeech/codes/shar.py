"""Shards of codes as Lhotse Shar: cuts without a recording, whose field ``codes`` is a TemporalArray.

``CutSet.from_shar(in_dir=...)`` reads a folder of them and ``cut.load_codes()`` gives the codes, all of them: where a
last one is of less than half a hop, the frame shift is a little shorter than ``1 / code_rate_hz``. Runs written once
have no constant frame shift: ``codes`` and ``durations`` are Arrays then.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech.codes.entry import Entry, entry_of, find_runs
from vqspeech.errors import CodesError


def write(folder: Path, number: int, entries: Sequence[Entry], unique: bool) -> None:
    """Write a shard; see `shards.write`."""
    from lhotse.shar.writers import ArrayTarWriter, JsonlShardWriter

    fields = ("codes", "durations") if unique else ("codes",)
    tars = {
        field: ArrayTarWriter(str(folder / f"{field}.{number:06d}.tar"), shard_size=None)
        for field in fields
    }
    cuts = JsonlShardWriter(str(folder / f"cuts.{number:06d}.jsonl.gz"), shard_size=None)
    with cuts:
        for tar in tars.values():
            tar.__enter__()
        for entry in entries:
            every = np.asarray(entry.record.codes, np.uint16)
            arrays = find_runs(every)._asdict() if unique else {"codes": every}
            manifests = {name: _manifest(array, entry, unique) for name, array in arrays.items()}
            cut = _cut(entry, manifests)
            for name, array in arrays.items():
                tars[name].write(cut.id, array, manifest=manifests[name])
            cuts.write(cut)
        for tar in tars.values():
            tar.close()


def _manifest(array: np.ndarray, entry: Entry, unique: bool) -> Any:
    from lhotse.array import Array, TemporalArray

    plain = Array("shar", "", "", list(array.shape))
    if unique:
        return plain
    record = entry.record
    # Lhotse rounds the frames of a cut: it would lose a last one of which less than half is sound.
    longest_s = record.samples / record.sample_rate / (len(record.codes) - 0.49)
    shift_s = min(record.hop / record.sample_rate, longest_s)
    return TemporalArray(plain, temporal_dim=0, frame_shift=shift_s, start=0)


def _cut(entry: Entry, arrays: dict[str, Any]) -> Any:
    from lhotse import MonoCut, SupervisionSegment

    fields = entry.fields()
    name, duration_s = fields.pop("id"), fields.pop("duration_s")
    speaker = fields.pop("speaker")
    spoken = SupervisionSegment(name, name, 0, duration_s, speaker=speaker or None)
    return MonoCut(name, 0, duration_s, 0, supervisions=[spoken], custom=fields | arrays)


def read(path: Path) -> list[Entry]:
    """Read a shard, named by its cuts; see `shards.read`."""
    from lhotse import CutSet

    tars = {"codes": path.with_name(_tar(path, "codes"))}
    if (durations := path.with_name(_tar(path, "durations"))).is_file():
        tars["durations"] = durations
    if not tars["codes"].is_file():
        raise CodesError(f"{path}: no {tars['codes'].name} beside these cuts")
    entries = []
    try:
        cuts = CutSet.from_shar({"cuts": [path]} | {name: [tar] for name, tar in tars.items()})
        for cut in cuts:
            found = {name: cut.load_custom(name).astype(np.int64) for name in tars}
            speakers = [s.speaker for s in cut.supervisions if s.speaker]
            fields = {"id": cut.id, "speaker": speakers[0] if speakers else ""} | cut.custom
            where = f"{path}, cut {cut.id}"
            entries.append(entry_of(fields, found["codes"], found.get("durations"), where))
    except CodesError:
        raise
    except Exception as error:
        # tarfile, gzip, json, numpy and lhotse raise a dozen types for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CodesError(f"{path}: not a whole shard of codes ({reason})") from None
    with gzip.open(path, "rt") as file:
        announced = sum(1 for _ in file)
    if not announced or announced != len(entries):
        raise CodesError(f"{path}: {announced} cuts with the codes of {len(entries)}")
    return entries


def _tar(cuts: Path, field: str) -> str:
    """Return the name of the tar with a field of these cuts."""
    return f"{field}{cuts.name.removeprefix('cuts').removesuffix('.jsonl.gz')}.tar"
