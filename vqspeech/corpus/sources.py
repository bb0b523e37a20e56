"""The recordings of an archive, however they are kept: listed one by one in constant memory, and read on any machine.

A `Unit` is what is read at a time: a sound file, a span of one (a cut of a Lhotse manifest), an utterance of a store,
or a container: a WebDataset tar, a row group of Parquet, a shard of Lhotse Shar. Units are plain values, to be written
down and sent elsewhere. A path is that of this machine or the URL of a file system that fsspec knows.
"""

import os
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

import numpy as np

from vqspeech import audio
from vqspeech.corpus.containers import is_cuts, recordings_of, sounds_of_shar, sounds_of_tar
from vqspeech.corpus.folder import recordings, speaker_of
from vqspeech.corpus.manifest import Listing, Skipped, Utterance
from vqspeech.corpus.parquet import list_parquet, sounds_of_row_group
from vqspeech.corpus.places import file_system, files_in, is_url, size_of
from vqspeech.corpus.store import INDEX, PackedStore
from vqspeech.corpus.tables import list_lhotse, list_tsv
from vqspeech.corpus.units import BYTES_PER_SECOND, Sound, Unit, blocks_of_file
from vqspeech.errors import ConfigurationError, CorpusError, VqspeechError

_SAMPLED_FIRST, _SAMPLED_EVERY = 32, 1000


def list_units(source: str, split: str | None = None) -> Iterator[Unit]:
    """List what an archive holds.

    Parameters
    ----------
    source : str
        A sound file; a folder of them, in depth; a prepared store; a manifest (``.tsv``, of this package or of
        fairseq; ``.jsonl`` or ``.jsonl.gz`` of Lhotse cuts or recordings); a Parquet file of paths or bytes, or a
        folder of such; a tar, or a folder of tars; a folder of Lhotse Shar. A path or a URL.
    split : str, optional
        Of a store or manifest: only this one.

    Yields
    ------
    Unit
        In a fixed order. What a folder holds that cannot be used is `refused`. Ids are unique, but those inside
        containers, which are the containers' own.

    Raises
    ------
    ConfigurationError
        When there is no such source, or nothing in it that is known.
    CorpusError
        When a table cannot be read.
    """
    found = False
    for unit in _list(source, split):
        found = True
        if any(mark in text for mark in "\t\n\r" for text in (unit.id, unit.speaker, unit.path)):
            yield Unit("refused", unit.path, reason="a name with a tab or a line break")
        else:
            yield unit
    if not found:
        raise ConfigurationError(f"{source}: no recording in it")


def _list(source: str, split: str | None) -> Iterator[Unit]:
    place = source if is_url(source) else os.path.abspath(source)  # noqa: PTH100
    name = place.lower()
    files = files_in(place)
    if files is None and not is_url(place) and not os.path.lexists(place):
        raise ConfigurationError(f"{source}: no such file or folder")
    if not is_url(place) and (Path(place) / INDEX).is_file():
        return _list_store(place, split)
    if files is None:
        if name.endswith(".tsv"):
            return list_tsv(place, split)
        if name.endswith((".jsonl", ".jsonl.gz")):
            return list_lhotse(place)
        if name.endswith(".parquet"):
            return list_parquet(place)
        if name.endswith(".tar"):
            return iter([_container("tar", place)])
        suffix = PurePosixPath(place).suffix
        return iter([Unit("file", place, PurePosixPath(place).name.removesuffix(suffix))])
    if shar := [path for path in files if is_cuts(PurePosixPath(path).name)]:
        return (_container("shar", path) for path in shar)
    if tars := [path for path in files if path.lower().endswith(".tar")]:
        return (_container("tar", path) for path in tars)
    if tables := [path for path in files if path.lower().endswith(".parquet")]:
        return (unit for path in tables for unit in list_parquet(path))
    return _list_url(place) if is_url(place) else _list_folder(Path(place))


def _container(kind: str, path: str) -> Unit:
    weighed = recordings_of(path) if kind == "shar" else path
    return Unit(kind, path, seconds=size_of(weighed) / BYTES_PER_SECOND)


class _Lengths:
    """Guesses how long files are from their sizes; of some of each suffix the header is read."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    def guess(self, path: Path) -> float:
        """Return seconds, more than 0."""
        suffix, size = path.suffix.lower(), size_of(str(path))
        count = self._seen[suffix]
        self._seen[suffix] += 1
        if count < _SAMPLED_FIRST or count % _SAMPLED_EVERY == 0:
            try:
                seconds = audio.info(path).duration_s
            except VqspeechError:
                pass
            else:
                self._bytes[suffix] += size
                self._seconds[suffix] = self._seconds.get(suffix, 0.0) + seconds
                return seconds
        known = self._bytes[suffix]
        rate = self._seconds[suffix] / known if known else 1 / BYTES_PER_SECOND
        return max(size, 1) * rate


def _list_folder(root: Path) -> Iterator[Unit]:
    skipped: list[Skipped] = []
    lengths = _Lengths()
    # Kept of the folders above the current file alone: no other folder has the same ids.
    taken: dict[Path, set[str]] = {}
    for path in recordings(root, skipped):
        yield from _refused(skipped)
        folder = path.parent
        if folder not in taken:
            taken = {above: names for above, names in taken.items() if above in folder.parents}
            taken[folder] = set()
        name = _unused(path.stem, path.suffix, taken[folder])
        inside = path.relative_to(root)
        identity = inside.with_name(name).as_posix()
        yield Unit("file", str(path), identity, speaker_of(path, inside.parts), lengths.guess(path))
    yield from _refused(skipped)


def _unused(name: str, suffix: str, taken: set[str]) -> str:
    """Return an id that is not taken yet, and take it: two recordings may differ in their suffix alone."""
    if name in taken:
        name = f"{name}-{suffix[1:].lower()}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _refused(skipped: list[Skipped]) -> Iterator[Unit]:
    for entry in skipped:
        yield Unit("refused", str(entry.path), reason=entry.reason)
    skipped.clear()


def _list_url(url: str) -> Iterator[Unit]:
    files, root = file_system(url)
    taken: set[str] = set()
    for path, detail in sorted(files.find(root, detail=True).items()):
        inside = PurePosixPath(path).relative_to(PurePosixPath(root))
        if inside.suffix.lower() not in audio.SUFFIXES or any(
            p.startswith(".") for p in inside.parts
        ):
            continue
        name = _unused(str(inside.with_suffix("")), inside.suffix, taken)
        speaker = speaker_of(Path(path), inside.parts)
        seconds = (detail.get("size") or 0) / BYTES_PER_SECOND
        yield Unit("file", files.unstrip_protocol(path), name, speaker, seconds)


def _list_store(folder: str, split: str | None) -> Iterator[Unit]:
    store = PackedStore(Path(folder))
    for index, u in enumerate(store.utterances):
        if split in (None, u.split):
            name = f"{u.speaker}/{u.utterance}"
            yield Unit("stored", folder, name, u.speaker, u.samples / store.sample_rate, index)


def list_files(table: Path) -> Listing:
    """List a manifest of Lhotse or a Parquet file of paths as a corpus, which needs whole files with speakers.

    Raises
    ------
    CorpusError
        When it cannot be read, or holds the recordings themselves.
    """
    listing = Listing(f"manifest {table.name}", table.parent.absolute())
    for unit in list_units(str(table)):
        path = Path(unit.path)
        if unit.kind == "parquet":
            raise CorpusError(
                f"{table}: holds recordings, not their paths; write them to files first"
            )
        reason = unit.reason
        if unit.kind == "span":
            reason = "a part of a recording; write it to a file first"
        elif is_url(unit.path):
            reason = "not on this machine; fetch it first"
        elif not unit.speaker and not reason:
            reason = "no speaker is named"
        if reason:
            listing.skipped.append(Skipped(path, reason))
        else:
            name = unit.id.removeprefix(f"{unit.speaker}/").replace("/", "-")
            listing.utterances.append(Utterance(table.stem, unit.speaker, name, path))
    return listing


def read_unit(unit: Unit) -> Iterator[Sound]:
    """Find the utterances of a unit, in order.

    Yields
    ------
    Sound
        Read when its blocks are asked for; that raises `AudioError` where it cannot be.

    Raises
    ------
    CorpusError
        When a container is damaged: where the damage is come to.
    """
    if unit.kind == "refused":
        raise CorpusError(f"{unit.path}: {unit.reason}")
    if unit.kind in ("file", "span"):
        blocks = partial(blocks_of_file, unit)
        yield Sound(unit.id, unit.speaker, unit.path, blocks)
    elif unit.kind == "stored":
        store = _store(unit.path)
        path = str(store.utterances[unit.index].path)
        yield Sound(unit.id, unit.speaker, path, partial(_blocks_of_store, store, unit.index))
    elif unit.kind == "tar":
        yield from sounds_of_tar(unit.path)
    elif unit.kind == "parquet":
        yield from sounds_of_row_group(unit.path, unit.index)
    else:
        yield from sounds_of_shar(unit.path)


@lru_cache(maxsize=1)
def _store(folder: str) -> PackedStore:
    return PackedStore(Path(folder))


def _blocks_of_store(store: PackedStore, index: int, sample_rate: int) -> Iterator[np.ndarray]:
    if store.sample_rate != sample_rate:
        raise CorpusError(
            f"{store.path}: holds {store.sample_rate} Hz and the model takes {sample_rate} Hz; "
            "prepare the corpus at the model's rate"
        )
    yield store.wav(index)
