"""Recordings in Parquet files: their paths, a row each, or their bytes, read a row group at a time."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from vqspeech.corpus.containers import SPEAKER_KEYS
from vqspeech.corpus.places import file_system, is_url, joined, size_of
from vqspeech.corpus.units import (
    BYTES_PER_SECOND,
    Sound,
    Unit,
    blocks_of_file,
    seconds_of,
    sound_of_bytes,
)
from vqspeech.errors import ConfigurationError, CorpusError

_AUDIO_COLUMNS, _PATH_COLUMNS = ("audio", "bytes", "wav"), ("path", "file", "audio_filepath", "wav")
_ID_COLUMNS = ("id", "utterance", "key")
_SECONDS_COLUMNS = ("duration_s", "duration", "seconds")


def list_parquet(path: str) -> Iterator[Unit]:
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
                    length = sum(map(seconds_of, column.to_pylist()))
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
                at = joined(folder, str(row[place]))
                name = (
                    str(row[identity])
                    if identity
                    else str(PurePosixPath(row[place]).with_suffix(""))
                )
                length = seconds_of(row[seconds]) if seconds else 0.0
                spoken = str(row[speaker] or "") if speaker else ""
                yield Unit("file", at, name, spoken, length or size_of(at) / BYTES_PER_SECOND)


def sounds_of_row_group(path: str, group: int) -> Iterator[Sound]:
    """Read the recordings of a row group, one after the other.

    Raises
    ------
    CorpusError
        It is damaged: where the damage is come to.
    """
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
                        unit = Unit("file", joined(path.rpartition("/")[0], named))
                        yield Sound(name, spoken, unit.path, partial(blocks_of_file, unit))
                    else:
                        yield sound_of_bytes(name, spoken, named or at, of or b"")
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise CorpusError(f"{path}: row group {group} is damaged ({reason})") from None


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
            files, inside = file_system(path)
            return pq.ParquetFile(files.open(inside, "rb"))
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorpusError(f"{path}: not a whole Parquet file ({reason})") from None


def _first(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    return next((name for name in wanted if name in set(names)), None)
