"""Writing a pack: levels and codes of a corpus in compressed files of bounded size; see `pack`."""

import hashlib
import json
import lzma
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech.errors import ConfigurationError
from vqspeech.jobs.atomic import write_folder_atomically
from vqspeech.jobs.progress import Progress
from vqspeech.jobs.workers import usable_threads
from vqspeech.training.data.coded import CodedCorpus
from vqspeech.training.data.pack import CODES, COLUMNS, FORMAT, INDEX, LEVELS, TABLE, VERSION
from vqspeech.training.data.pitchtracks import FILE as TRACKS

STREAM_BYTES = 4_000_000
"""Bytes compressed as one stream: enough for LZMA to adapt, few enough that every core gets some to unpack."""

SMALLEST_PART = 10_000
"""Smallest bound on the size of files, bytes."""

# Differences of neighbouring levels are nearly white: repeats are chance, and searching them takes most of the time
# and gains 0.5 % of the size. What matters is the one before as the context of each (lc).
_LITERALS = {
    "id": lzma.FILTER_LZMA2,
    "lc": 4,
    "lp": 0,
    "pb": 0,
    "dict_size": 4096,
    "mf": lzma.MF_HC4,
    "nice_len": 8,
    "depth": 1,
}
_FILTERS = {
    LEVELS: [{"id": lzma.FILTER_DELTA, "dist": 1}, _LITERALS],
    CODES: [{"id": lzma.FILTER_LZMA2, "preset": 6}],
    TABLE: [{"id": lzma.FILTER_LZMA2, "preset": 6}],
}


def require_place(out: Path, force: bool) -> None:
    """Raise `ConfigurationError` where `out` exists and is no pack, or `force` is false."""
    if (out / INDEX).is_file():
        if not force:
            raise ConfigurationError(f"{out} exists: it is kept unless you say --force")
    elif out.is_dir():
        other = next(out.iterdir(), None)
        if other is not None:
            raise ConfigurationError(
                f"{out} holds other files ({other.name}): choose another --out"
            )
    elif out.exists():
        raise ConfigurationError(f"{out} is not a folder: choose another --out")


def write_pack(
    corpus: CodedCorpus,
    out: Path,
    *,
    origin: str,
    model: str,
    part_bytes: int = 40_000_000,
    tracks: Path | None = None,
    force: bool = False,
) -> None:
    """Write a corpus as a pack, atomically.

    `origin` and `model` name corpus and encoding model. No file but the index exceeds `part_bytes`, at least
    `SMALLEST_PART`. `tracks`, a file of pitch tracks, is copied; `force` replaces a pack. `ConfigurationError` where
    the place is taken or `part_bytes` too small.
    """
    require_place(out, force)
    if part_bytes < SMALLEST_PART:
        raise ConfigurationError(f"parts of {part_bytes} bytes: at least {SMALLEST_PART} here")
    # what is incompressible grows by some 100 bytes and 3 in 65,536
    stream_bytes = min(STREAM_BYTES, part_bytes - part_bytes // 1000 - 500)

    samples = sum(u.samples for u in corpus.utterances)
    codes = np.concatenate([corpus.codes[u.frame : u.frame + u.frames] for u in corpus.utterances])
    coded = codes.astype("<u2").tobytes()
    table = _table(corpus)
    index = {
        "format": FORMAT,
        "version": VERSION,
        "corpus": origin,
        "model": model,
        "codebook_id": corpus.codebook_id,
        "manifest_sha256": corpus.manifest_sha256,
        "sample_rate": corpus.sample_rate,
        "hop": corpus.hop,
        "quantization": corpus.quantization,
        "utterances": len(corpus.utterances),
        "samples": samples,
        "frames": len(codes),
        "speakers": corpus.speakers,
    }

    def write(folder: Path) -> None:
        parts = []
        with Progress(samples + len(coded) + len(table), "bytes", "packing") as progress:
            for kind, size, read in (
                (LEVELS, samples, lambda begin, end: corpus.levels(begin, end).tobytes()),
                (CODES, len(coded), lambda begin, end: coded[begin:end]),
                (TABLE, len(table), lambda begin, end: table[begin:end]),
            ):
                streams = _compress(read, size, stream_bytes, _FILTERS[kind])
                parts += _write_parts(folder, kind, streams, part_bytes, progress)
        if tracks is not None:
            shutil.copyfile(tracks, folder / TRACKS)
        text = json.dumps(index | {"parts": parts}, indent=1, ensure_ascii=False) + "\n"
        (folder / INDEX).write_text(text, encoding="utf-8")

    write_folder_atomically(out, write)


def _table(corpus: CodedCorpus) -> bytes:
    rows = ["\t".join(COLUMNS)]
    rows += ["\t".join(str(getattr(u, name)) for name in COLUMNS) for u in corpus.utterances]
    return ("\n".join(rows) + "\n").encode("utf-8")


def _compress(
    read: Callable[[int, int], bytes], size: int, stream_bytes: int, filters: list[dict[str, Any]]
) -> Iterator[tuple[bytes, int]]:
    """Yield xz streams and the number of bytes in each, in order; every core works at them."""

    def compress(begin: int) -> tuple[bytes, int]:
        content = read(begin, min(begin + stream_bytes, size))
        return lzma.compress(content, lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=filters), len(
            content
        )

    pool = ThreadPoolExecutor(usable_threads())
    try:
        yield from pool.map(compress, range(0, size, stream_bytes))
    finally:
        # an interrupted command does not wait for the rest
        pool.shutdown(cancel_futures=True)


def _write_parts(
    folder: Path,
    kind: str,
    streams: Iterable[tuple[bytes, int]],
    part_bytes: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Write streams to as few files as hold them, and return their entries in the index."""
    parts: list[dict[str, Any]] = []
    for stream, size in streams:
        if not parts or parts[-1]["bytes"] + len(stream) > part_bytes:
            name = f"{kind}-{len(parts):03}.xz"
            parts.append({"file": name, "kind": kind, "bytes": 0, "streams": []})
        with (folder / parts[-1]["file"]).open("ab") as file:
            file.write(stream)
        parts[-1]["bytes"] += len(stream)
        parts[-1]["streams"].append([len(stream), size])
        progress.update(size)
    for part in parts:
        part["sha256"] = hashlib.sha256((folder / part["file"]).read_bytes()).hexdigest()
    return parts
