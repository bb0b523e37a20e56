"""Shards of codes, as ``vqspeech codes --format`` writes them, as a store of codes to train a prior on.

Codes are small: 60,000 hours at 100 a second are 43 GB. They are copied, shard by shard, to the memory-mapped file that
any step reads at any place.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vqspeech.codes.entry import Entry
from vqspeech.codes.shards import FORMATS, read
from vqspeech.corpus.manifest import Utterance, assign_splits, printable
from vqspeech.errors import CodesError
from vqspeech.jobs.progress import Progress
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.training.data.codestore import CodeSequence, CodeStore, write_codes

UNKNOWN = "unknown"
"""Speaker of utterances that name none."""


def find_shards(folder: Path) -> list[Path]:
    """Return the shards in a folder, or in the folder ``shards`` of it, by name; none where it holds no shards."""
    inside = folder / "shards"
    place = inside if inside.is_dir() else folder
    files = sorted(place.iterdir()) if place.is_dir() else []
    # the tars beside cuts are no shards of their own
    for suffix in (of.suffix for of in FORMATS.values()):
        if found := [path for path in files if path.name.endswith(suffix)]:
            return found
    return []


def import_shards(model: Autoencoder, shards: list[Path], folder: Path) -> CodeStore:
    """Copy shards of the model's codes into `folder`, unless that is done.

    Splits are those that ``vqspeech prepare`` gives to recordings without texts: by the names of the utterances.

    Parameters
    ----------
    model : Autoencoder
        Whose codes they are.
    shards : list of Path
        From `find_shards`.
    folder : Path
        Of the store of codes.

    Raises
    ------
    CodesError
        A shard is damaged, or holds codes of another model.
    CorpusError
        The folder has other codes.
    """
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in shards]
    digest = hashlib.sha256(repr(states).encode()).hexdigest()

    def encoded(file: BinaryIO) -> Iterator[CodeSequence]:
        found: list[tuple[Utterance, int]] = []
        with Progress(len(shards), "shards", "reading codes") as bar:
            for path in shards:
                for entry in read(path):
                    _require_codebook(entry, model)
                    codes = np.asarray(entry.record.codes, "<u2")
                    file.write(codes.tobytes())
                    found.append((_utterance(entry), len(codes)))
                bar.update()
        offset = 0
        placed = assign_splits([utterance for utterance, _ in found])
        for u, (_, frames) in zip(placed, found, strict=True):
            yield CodeSequence(u.corpus, u.speaker, u.utterance, u.split, 0, offset, frames)
            offset += frames

    return write_codes(model, digest, folder, encoded)


def _require_codebook(entry: Entry, model: Autoencoder) -> None:
    if not entry.record.codebook:
        raise CodesError(f"codes of {entry.record.file}: they do not say of which codebook")
    entry.record.require_fit(model)


def _utterance(entry: Entry) -> Utterance:
    speaker = printable(entry.speaker) or UNKNOWN
    name = printable(entry.id).removeprefix(f"{speaker}/").replace("/", "-")
    return Utterance("shards", speaker, name, Path(entry.record.file))
