"""The recordings of an archive, however they are kept: listed one by one in constant memory, and read on any machine.

A `Unit` is what is read at a time: a sound file, a span of one (a cut of a Lhotse manifest), an utterance of a store,
or a container: a WebDataset tar, a row group of Parquet, a shard of Lhotse Shar. Units are plain values, to be written
down and sent elsewhere. A path is that of this machine or the URL of a file system that fsspec knows.
"""

import gzip
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import numpy as np

from vqspeech import audio
from vqspeech.corpus.containers import SPEAKER_KEYS, is_cuts, recordings_of
from vqspeech.corpus.folder import of_known_corpus, recordings
from vqspeech.corpus.manifest import Listing, Skipped, Utterance
from vqspeech.corpus.store import INDEX, PackedStore
from vqspeech.errors import ConfigurationError, CorpusError, VqspeechError

BYTES_PER_SECOND = 32_000
"""Assumed of containers that state no durations: 16-bit sound at 16 kHz."""

_SAMPLED_FIRST, _SAMPLED_EVERY = 32, 1000
_AUDIO_COLUMNS, _PATH_COLUMNS = ("audio", "bytes", "wav"), ("path", "file", "audio_filepath", "wav")
_ID_COLUMNS = ("id", "utterance", "key")
_SECONDS_COLUMNS = ("duration_s", "duration", "seconds")


@dataclass(frozen=True)
class Unit:
    """What is read at a time.

    Attributes
    ----------
    kind : str
        ``file``, ``span``, ``stored``, ``tar``, ``parquet``, ``shar``, or ``refused``: listed, and not to be read.
    path : str
        Of the file, or of the store's folder.
    id, speaker : str
        Of the utterance; of a container empty.
    seconds : float
        How long it is, as far as that is known without reading it.
    index : int
        Of the utterance in the store, or of the row group.
    start_s : float
        Where a span begins; it is `seconds` long.
    reason : str
        Why it is refused.
    """

    kind: str
    path: str
    id: str = ""
    speaker: str = ""
    seconds: float = 0.0
    index: int = 0
    start_s: float = 0.0
    reason: str = ""


class Sound(NamedTuple):
    """An utterance that can be read.

    Attributes
    ----------
    id, speaker : str
        Its names; speaker empty where unknown.
    path : str
        Where it comes from, for people.
    blocks : callable
        Takes a sample rate and returns an iterator of float32 blocks, (samples,), at that rate; see
        `vqspeech.audio.read_blocks`.
    """

    id: str
    speaker: str
    path: str
    blocks: Callable[[int], Iterator[np.ndarray]]


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
    files = _files_in(place)
    if files is None and not is_url(place) and not os.path.lexists(place):
        raise ConfigurationError(f"{source}: no such file or folder")
    if not is_url(place) and (Path(place) / INDEX).is_file():
        return _list_store(place, split)
    if files is None:
        if name.endswith(".tsv"):
            return _list_table(place, split)
        if name.endswith((".jsonl", ".jsonl.gz")):
            return _list_lhotse(place)
        if name.endswith(".parquet"):
            return _list_parquet(place)
        if name.endswith(".tar"):
            return iter([_container("tar", place)])
        suffix = PurePosixPath(place).suffix
        return iter([Unit("file", place, PurePosixPath(place).name.removesuffix(suffix))])
    if shar := [path for path in files if _is_shar(path)]:
        return (_container("shar", path) for path in shar)
    if tars := [path for path in files if path.lower().endswith(".tar")]:
        return (_container("tar", path) for path in tars)
    if tables := [path for path in files if path.lower().endswith(".parquet")]:
        return (unit for path in tables for unit in _list_parquet(path))
    return _list_url(place) if is_url(place) else _list_folder(Path(place))


def is_url(path: str) -> bool:
    """Whether a path is a URL, which fsspec opens."""
    return "://" in path


def _file_system(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"{url}: no such file system ({error})") from None


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """Open a file by its path or URL; raise `CorpusError` where that fails, now or while it is read."""
    try:
        if is_url(path):
            files, inside = _file_system(path)
            with files.open(inside, "rb") as file:
                yield file
        else:
            with Path(path).open("rb") as file:
                yield file
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from None


def _files_in(place: str) -> list[str] | None:
    """Return the files of a folder in order of name, not those of folders in it; None of what is no folder."""
    if not is_url(place):
        if not Path(place).is_dir():
            return None
        with os.scandir(place) as entries:
            return sorted(e.path for e in entries if not e.name.startswith(".") and e.is_file())
    files, inside = _file_system(place)
    try:
        if not files.isdir(inside):
            return None
        listed = files.ls(inside, detail=True)
    except OSError as error:
        raise CorpusError(f"{place}: cannot be listed ({error.strerror or error})") from None
    return sorted(files.unstrip_protocol(of["name"]) for of in listed if of["type"] == "file")


def _is_shar(path: str) -> bool:
    return is_cuts(PurePosixPath(path).name)


def _container(kind: str, path: str) -> Unit:
    weighed = _recordings_of(path) if kind == "shar" else path
    return Unit(kind, path, seconds=_size(weighed) / BYTES_PER_SECOND)


def _size(path: str) -> int:
    try:
        if is_url(path):
            files, inside = _file_system(path)
            return int(files.size(inside) or 0)
        return Path(path).stat().st_size
    except OSError:
        return 0


def _recordings_of(cuts: str) -> str:
    """Return the path of the tar with the recordings of a shard of cuts."""
    folder, _, name = cuts.rpartition("/")
    return f"{folder}/{recordings_of(name)}"


class _Lengths:
    """Guesses how long files are from their sizes; of some of each suffix the header is read."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    def guess(self, path: Path) -> float:
        """Return seconds, more than 0."""
        suffix, size = path.suffix.lower(), _size(str(path))
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
        yield Unit("file", str(path), identity, _speaker(path, inside.parts), lengths.guess(path))
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


def _speaker(path: Path, inside: tuple[str, ...]) -> str:
    """Return who speaks: of a corpus whose names are known, else the first folder."""
    if known := of_known_corpus(path):
        return known[0]
    return inside[0] if len(inside) > 1 else ""


def _list_url(url: str) -> Iterator[Unit]:
    files, root = _file_system(url)
    taken: set[str] = set()
    for path, detail in sorted(files.find(root, detail=True).items()):
        inside = PurePosixPath(path).relative_to(PurePosixPath(root))
        if inside.suffix.lower() not in audio.SUFFIXES or any(
            p.startswith(".") for p in inside.parts
        ):
            continue
        name = _unused(str(inside.with_suffix("")), inside.suffix, taken)
        speaker = _speaker(Path(path), inside.parts)
        seconds = (detail.get("size") or 0) / BYTES_PER_SECOND
        yield Unit("file", files.unstrip_protocol(path), name, speaker, seconds)


def _list_store(folder: str, split: str | None) -> Iterator[Unit]:
    store = PackedStore(Path(folder))
    for index, u in enumerate(store.utterances):
        if split in (None, u.split):
            name = f"{u.speaker}/{u.utterance}"
            yield Unit("stored", folder, name, u.speaker, u.samples / store.sample_rate, index)


def _list_table(path: str, split: str | None) -> Iterator[Unit]:
    """List a manifest line by line: that of this package, or fairseq's, whose first line is a folder."""
    with opened(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig") as file:
        try:
            columns = file.readline().rstrip("\r\n").split("\t")
            folder = path.rpartition("/")[0]
            if len(columns) == 1:
                yield from _list_fairseq(file, _joined(folder, columns[0]), path)
                return
            if missing := [
                name for name in ("speaker", "utterance", "path") if name not in columns
            ]:
                raise CorpusError(
                    f"{path}: the first line lacks the columns {', '.join(missing)}, and is no folder either"
                )
            taken: set[int] = set()
            for number, line in enumerate(file, 2):
                fields = line.rstrip("\r\n").split("\t")
                if fields == [""]:
                    continue
                if len(fields) != len(columns):
                    raise CorpusError(
                        f"{path}, line {number}: {len(fields)} fields where the first line names {len(columns)}"
                    )
                row = dict(zip(columns, fields, strict=True))
                if split not in (None, row.get("split")):
                    continue
                name = f"{row['speaker']}/{row['utterance']}"
                if corpus := row.get("corpus"):
                    name = f"{corpus}/{name}"
                place = _joined(folder, row["path"])
                # Numbers: the names of a large corpus do not fit into memory.
                if (key := hash(name)) in taken:
                    yield Unit(
                        "refused", place, reason=f"{name} is named a second time on line {number}"
                    )
                    continue
                taken.add(key)
                seconds = _number(row.get("seconds"))
                yield Unit(
                    "file", place, name, row["speaker"], seconds or _size(place) / BYTES_PER_SECOND
                )
        except UnicodeDecodeError:
            raise CorpusError(f"{path}: not UTF-8 text") from None


def _list_fairseq(lines: Iterable[str], root: str, path: str) -> Iterator[Unit]:
    for number, line in enumerate(lines, 2):
        name, _, samples = line.rstrip("\r\n").partition("\t")
        if not samples.isdigit():
            raise CorpusError(f"{path}, line {number}: not a path and a number of samples")
        inside = PurePosixPath(name)
        speaker = _speaker(Path(root, name), inside.parts)
        yield Unit(
            "file", _joined(root, name), str(inside.with_suffix("")), speaker, int(samples) / 16000
        )


def _joined(folder: str, path: str) -> str:
    return path if is_url(path) or path.startswith("/") else f"{folder}/{path}"


def _number(text: Any) -> float:
    try:
        return max(0.0, float(text))
    except (TypeError, ValueError):
        return 0.0


def _list_lhotse(path: str) -> Iterator[Unit]:
    """List the cuts or recordings of a Lhotse manifest, line by line."""
    with opened(path) as binary:
        unpacked = gzip.GzipFile(fileobj=binary) if path.endswith(".gz") else binary
        with io.TextIOWrapper(unpacked, "utf-8") as file:
            number = 0
            try:
                for number, line in enumerate(file, 1):  # noqa: B007
                    if line.strip():
                        yield _of_lhotse(json.loads(line), path.rpartition("/")[0])
            except (
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
                EOFError,
                gzip.BadGzipFile,
            ) as error:
                what = " ".join(str(error).split()) or type(error).__name__
                raise CorpusError(
                    f"{path}, line {number}: not a cut or recording ({what})"
                ) from None


def _of_lhotse(fields: dict[str, Any], folder: str) -> Unit:
    name = fields["id"]
    kind = fields.get("type", "Recording")
    if kind not in ("MonoCut", "Recording"):
        return Unit("refused", name, name, reason=f"a {kind}; only cuts of one channel are read")
    cut = kind == "MonoCut"
    recording = fields["recording"] if cut else fields
    sources = recording["sources"]
    if len(sources) != 1 or sources[0]["type"] not in ("file", "url"):
        types = ", ".join(source["type"] for source in sources)
        return Unit("refused", name, name, reason=f"its recording is no single file ({types})")
    place = _joined(folder, sources[0]["source"])
    if len(sources[0]["channels"]) != 1:
        return Unit("refused", place, name, reason="one channel of several; write it to a file")
    speakers = [s.get("speaker") for s in fields.get("supervisions", []) if s.get("speaker")]
    speaker = speakers[0] if speakers else ""
    whole_s = float(recording["duration"])
    start_s, seconds = float(fields.get("start", 0.0)), float(fields["duration"])
    if start_s == 0 and abs(seconds - whole_s) < 1 / recording["sampling_rate"]:
        return Unit("file", place, name, speaker, whole_s)
    return Unit("span", place, name, speaker, seconds, start_s=start_s)


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


def _parquet(path: str) -> Any:
    """Open a Parquet file; the caller closes it."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigurationError(
            f"{path}: Parquet needs pyarrow: pip install 'vqspeech[formats]'"
        ) from None
    try:
        if is_url(path):
            files, inside = _file_system(path)
            return pq.ParquetFile(files.open(inside, "rb"))
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorpusError(f"{path}: not a whole Parquet file ({reason})") from None


def _first(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    return next((name for name in wanted if name in set(names)), None)


def _list_parquet(path: str) -> Iterator[Unit]:
    """List the row groups of a file of bytes, or the rows of a file of paths."""
    import pyarrow as pa

    with _parquet(path) as file:
        schema = file.schema_arrow
        names = schema.names
        content = _first(names, _AUDIO_COLUMNS)
        holds = content is not None and not pa.types.is_string(schema.field(content).type)
        seconds = _first(names, _SECONDS_COLUMNS)
        if holds:
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).total_byte_size
                length = size / BYTES_PER_SECOND
                if seconds is not None:
                    column = file.read_row_group(group, [seconds])[seconds]
                    length = sum(map(_number, column.to_pylist()))
                yield Unit("parquet", path, seconds=length, index=group)
            return
        place = _first(names, _PATH_COLUMNS)
        if place is None:
            raise CorpusError(
                f"{path}: neither a column of bytes ({', '.join(_AUDIO_COLUMNS)}) nor of paths"
                f" ({', '.join(_PATH_COLUMNS)}); found {', '.join(names)}"
            )
        identity, speaker = _first(names, _ID_COLUMNS), _first(names, SPEAKER_KEYS)
        wanted = list(filter(None, (place, identity, speaker, seconds)))
        folder = path.rpartition("/")[0]
        for batch in file.iter_batches(columns=wanted):
            for row in batch.to_pylist():
                at = _joined(folder, str(row[place]))
                name = (
                    str(row[identity])
                    if identity
                    else str(PurePosixPath(row[place]).with_suffix(""))
                )
                length = _number(row[seconds]) if seconds else 0.0
                spoken = str(row[speaker] or "") if speaker else ""
                yield Unit("file", at, name, spoken, length or _size(at) / BYTES_PER_SECOND)


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
        blocks = partial(_blocks_of_file, unit)
        yield Sound(unit.id, unit.speaker, unit.path, blocks)
    elif unit.kind == "stored":
        store = _store(unit.path)
        path = str(store.utterances[unit.index].path)
        yield Sound(unit.id, unit.speaker, path, partial(_blocks_of_store, store, unit.index))
    elif unit.kind == "tar":
        yield from _in_tar(unit.path)
    elif unit.kind == "parquet":
        yield from _in_row_group(unit.path, unit.index)
    else:
        yield from _in_shar(unit.path)


def _blocks_of_file(unit: Unit, sample_rate: int) -> Iterator[np.ndarray]:
    content = None
    if is_url(unit.path):
        with opened(unit.path) as file:
            content = file.read()
    blocks = audio.read_blocks(unit.path, sample_rate, content=content)
    if unit.kind == "file":
        yield from blocks
        return
    begin = round(unit.start_s * sample_rate)
    end, at = begin + round(unit.seconds * sample_rate), 0
    for block in blocks:
        if len(piece := block[max(0, begin - at) : max(0, end - at)]):
            yield piece
        at += len(block)
        if at >= end:
            return
    raise CorpusError(f"{unit.path}: {at} samples, its cut ends after {end}")


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


def _sound(name: str, speaker: str, path: str, content: bytes) -> Sound:
    return Sound(name, speaker, path, lambda rate: audio.read_blocks(path, rate, content=content))


def _in_tar(path: str) -> Iterator[Sound]:
    """Find the recordings of a WebDataset tar; the ``.json`` of the same key may name the speaker."""
    key, speaker = "", ""
    waiting: list[Sound] = []
    with opened(path) as file:
        try:
            with tarfile.open(fileobj=file, mode="r|*") as tar:
                for member in tar:
                    if not member.isfile():
                        continue
                    folder, separator, last = member.name.rpartition("/")
                    stem, _, suffix = last.partition(".")
                    if folder + separator + stem != key:
                        yield from (sound._replace(speaker=speaker) for sound in waiting)
                        key, speaker, waiting = folder + separator + stem, "", []
                    if f".{suffix.rpartition('.')[2].lower()}" in audio.SUFFIXES:
                        content = tar.extractfile(member).read()  # type: ignore[union-attr]
                        name = f"{key}-{len(waiting)}" if waiting else key
                        waiting.append(_sound(name, "", f"{path}/{member.name}", content))
                    elif suffix == "json":
                        speaker = _speaker_in(tar.extractfile(member).read())  # type: ignore[union-attr]
        except (tarfile.TarError, EOFError, ValueError) as error:
            yield from (sound._replace(speaker=speaker) for sound in waiting)
            reason = " ".join(str(error).split())
            raise CorpusError(
                f"{path}: the tar is damaged ({reason}); what follows is lost"
            ) from None
    yield from (sound._replace(speaker=speaker) for sound in waiting)


def _speaker_in(content: bytes) -> str:
    try:
        fields = json.loads(content)
        return str(next(filter(None, (fields.get(name) for name in SPEAKER_KEYS)), ""))
    except (ValueError, AttributeError):
        return ""


def _in_row_group(path: str, group: int) -> Iterator[Sound]:
    import pyarrow as pa

    with _parquet(path) as file:
        names = file.schema_arrow.names
        identity, speaker = _first(names, _ID_COLUMNS), _first(names, SPEAKER_KEYS)
        content, place = _first(names, _AUDIO_COLUMNS), _first(names, _PATH_COLUMNS)
        wanted = list(filter(None, (content, place, identity, speaker)))
        number = 0
        try:
            for batch in file.iter_batches(16, row_groups=[group], columns=wanted):
                for row in batch.to_pylist():
                    of = row[content]
                    at = f"{path}/{group}/{number}"
                    number += 1
                    if isinstance(of, dict):
                        named, of = of.get("path"), of.get("bytes")
                    else:
                        named = row.get(place) if place else None
                    name = str(
                        (row[identity] if identity else named) or f"{group:06d}-{number - 1:06d}"
                    )
                    spoken = str(row[speaker] or "") if speaker else ""
                    if of is None and named:
                        unit = Unit("file", _joined(path.rpartition("/")[0], named))
                        yield Sound(name, spoken, unit.path, partial(_blocks_of_file, unit))
                    else:
                        yield _sound(name, spoken, named or at, of or b"")
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise CorpusError(f"{path}: row group {group} is damaged ({reason})") from None


def _in_shar(path: str) -> Iterator[Sound]:
    try:
        from lhotse import CutSet
    except ImportError:
        raise ConfigurationError(
            f"{path}: Lhotse Shar needs lhotse: pip install 'vqspeech[formats]'"
        ) from None
    tar = _recordings_of(path)
    try:
        for cut in CutSet.from_shar({"cuts": [path], "recording": [tar]}):
            of = cut.recording.sources[0].source if cut.has_recording else b""
            speakers = [s.speaker for s in cut.supervisions if s.speaker]
            yield _sound(cut.id, speakers[0] if speakers else "", f"{tar}/{cut.id}", of)
    except GeneratorExit:
        raise
    except Exception as error:
        # tarfile, gzip, json and lhotse raise a dozen types for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CorpusError(
            f"{path}: the shard is damaged ({reason}); what follows is lost"
        ) from None
