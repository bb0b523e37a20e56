"""Codes on disk: JSON lines, npz, vqc and Praat TextGrid, each with what the decoder needs besides the codes.

Shards of many utterances (`vqspeech.codes.shards`) are read too.

A record is one recording's codes with hop, sample rate, length and codebook size. Frame i covers samples
[i * hop, (i + 1) * hop). JSON lines, npz and vqc, the compressed one (`vqspeech.codes.vqc`), are read back; a TextGrid
is for viewing.
"""

import io
import json
from pathlib import Path

import numpy as np

from vqspeech.codes import shards, vqc
from vqspeech.codes.entropy import CodePrior, Tick
from vqspeech.codes.record import CodesRecord, checked
from vqspeech.errors import CodesError
from vqspeech.jobs.atomic import write_atomically
from vqspeech.labels import textgrid

SUFFIXES = {"json": ".json", "npz": ".npz", "textgrid": textgrid.SUFFIX, "vqc": vqc.SUFFIX}
"""Suffix of a file in each format."""


def write(
    path: Path,
    record: CodesRecord,
    kind: str,
    *,
    prior: CodePrior | None = None,
    speaker: str | None = None,
    progress: Tick | None = None,
) -> None:
    """Write a record into one file, complete or not at all; folders are made.

    Parameters
    ----------
    path : Path
        An existing file is replaced.
    record : CodesRecord
        The codes of a recording.
    kind : str
        ``json``, ``npz``, ``vqc`` or ``textgrid``.
    prior : CodePrior, optional
        Predicts the codes in a vqc file.
    speaker : str, optional
        Speaker that the prior is conditioned on.
    progress : callable, optional
        Called with codes done and codes in all, after each code of a vqc file.

    Raises
    ------
    CodesError
        When the record does not fit the format, or the prior the codes.
    """
    if kind == "npz":
        content = record.to_npz()
    elif kind == "vqc":
        content = vqc.pack(record, prior, speaker, progress)
    elif kind == "json":
        content = (record.to_json() + "\n").encode("ascii")
    else:
        content = record.to_textgrid().encode("ascii")

    def save(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_atomically(path, save)


def read(
    path: Path, find_prior: vqc.PriorFinder | None = None, progress: Tick | None = None
) -> list[CodesRecord]:
    """Read the records of a file, see `parse`, or of a shard of many utterances, see `shards.read`.

    Raises
    ------
    CodesError
        When the file is missing, of no known format, or a record contradicts itself.
    """
    if shards.is_shard(path):
        return [entry.record for entry in shards.read(path)]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CodesError(f"{path}: {error.strerror}") from error
    return parse(content, str(path), find_prior, progress)


def parse(
    content: bytes,
    name: str,
    find_prior: vqc.PriorFinder | None = None,
    progress: Tick | None = None,
) -> list[CodesRecord]:
    """Read the records of an npz or vqc file (one), or of JSON (objects one after another).

    Parameters
    ----------
    content : bytes
        Of a whole file. JSON is UTF-8, an object on one line or several.
    name : str
        Name of the file in errors.
    find_prior : callable, optional
        Returns the prior that a vqc file was written with.
    progress : callable, optional
        Called with codes done and codes in all, after each code of a vqc file.

    Raises
    ------
    CodesError
        When it is of no known format, empty, damaged, or a record contradicts itself.
    """
    if content.startswith(b"PK"):
        return [_from_npz(content, name)]
    if content.startswith(vqc.MAGIC) or name.lower().endswith(vqc.SUFFIX):
        return [checked(vqc.unpack(content, name, find_prior, progress), name)]
    try:
        text = content.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise CodesError(
            f"{name}: neither JSON lines nor npz nor vqc; expected what vqspeech codes writes"
        ) from None
    decoder = json.JSONDecoder()
    records: list[CodesRecord] = []
    position = 0
    while position < len(text):
        try:
            fields, position = decoder.raw_decode(text, position)
        except (json.JSONDecodeError, RecursionError) as error:
            line = text.count("\n", 0, getattr(error, "pos", position)) + 1
            raise CodesError(
                f"{name}, line {line}: not JSON; expected what vqspeech codes writes"
            ) from None
        records.append(checked(fields, f"{name}, record {len(records) + 1}"))
        while position < len(text) and text[position].isspace():
            position += 1
    if not records:
        raise CodesError(f"{name}: empty; expected what vqspeech codes writes")
    return records


def _from_npz(content: bytes, name: str) -> CodesRecord:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            fields = {key: archive[key].tolist() for key in archive.files}
    except Exception as error:
        # zipfile, zlib and numpy raise a dozen types for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CodesError(f"{name}: not an npz file of plain arrays ({reason})") from None
    return checked(fields, name)
