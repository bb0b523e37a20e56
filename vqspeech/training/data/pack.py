"""A pack: levels and codes of a corpus in a few compressed files, for machines with little besides numpy.

A pack is a folder: xz files of µ-law levels (a byte each), of codes (little-endian, 16 bits each) and of the table of
utterances, of bounded size; ``pitch.npz`` where the store has pitch tracks; and ``pack.json``, written last, with the
SHA-256 of each xz file. A file is one or more xz streams, decompressed in parallel; ``xz -dc levels-*.xz`` gives all
levels. `vqspeech.training.data.packing.write_pack` makes packs. Reading needs only numpy and the standard library.
"""

import hashlib
import lzma
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from vqspeech.corpus.index import read_index
from vqspeech.errors import CorpusError
from vqspeech.jobs.workers import usable_threads
from vqspeech.training.data.coded import CodedUtterance

FORMAT, VERSION = "vqspeech-pack", 1
INDEX = "pack.json"
LEVELS, CODES, TABLE = "levels", "codes", "utterances"
COLUMNS = ("corpus", "speaker", "utterance", "split", "samples", "frames")


class Pack:
    """A pack, read into memory as a whole and checked: a `vqspeech.training.data.coded.CodedCorpus`.

    Parameters
    ----------
    path : Path
        The folder.

    Attributes
    ----------
    path : Path
        The folder.
    corpus, model : str
        Names of the corpus and of the encoding model.
    sample_rate, hop, quantization : int
        Hz, samples per code, number of µ-law levels.
    codebook_id : str
        `Autoencoder.codebook_id` of that model.
    manifest_sha256 : str
        `PackedStore.manifest_sha256` of the packed store.
    utterances : list of CodedUtterance
        In the order of levels and codes.
    speakers : list of str
        Speakers with training utterances, sorted.
    codes : ndarray of uint16, shape (frames,)
        All codes.
    packed_bytes : int
        Size of all files but the index.

    Raises
    ------
    CorpusError
        The folder is not a pack of this version, or a file is missing, truncated, damaged or foreign.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        index = read_index(
            self.path / INDEX,
            "pack",
            (FORMAT, VERSION),
            {
                str: "corpus model codebook_id manifest_sha256",
                int: "sample_rate hop quantization utterances samples frames",
                list: "speakers parts",
            },
            "copy all its files again, or make it with `vqspeech pack`",
        )
        if not all(_is_part(part) for part in index["parts"]):
            raise CorpusError(f"{self.path / INDEX}: the list of parts is damaged; copy it again")
        self.corpus: str = index["corpus"]
        self.model: str = index["model"]
        self.sample_rate: int = index["sample_rate"]
        self.hop: int = index["hop"]
        self.quantization: int = index["quantization"]
        self.codebook_id: str = index["codebook_id"]
        self.manifest_sha256: str = index["manifest_sha256"]
        self.speakers: list[str] = index["speakers"]
        self.packed_bytes: int = sum(part["bytes"] for part in index["parts"])
        unpacked = {kind: _unpack(self.path, index["parts"], kind) for kind in (LEVELS, CODES)}
        self._levels = unpacked[LEVELS]
        self.codes: np.ndarray = unpacked[CODES].view("<u2")
        table = _unpack(self.path, index["parts"], TABLE).tobytes().decode("utf-8")
        self.utterances: Sequence[CodedUtterance] = list(_parse(self.path, table, self.hop))
        stated = (index["utterances"], index["samples"], index["frames"])
        listed = (
            len(self.utterances),
            sum(u.samples for u in self.utterances),
            sum(u.frames for u in self.utterances),
        )
        found = (len(self.utterances), len(self._levels), len(self.codes))
        if not stated == listed == found:
            raise CorpusError(
                f"{self.path / INDEX}: announces {_counts(stated)}; the files hold {_counts(found)}, and the table"
                f" lists {_counts(listed)}; pack the store again"
            )

    def levels(self, begin: int, end: int) -> np.ndarray:
        """Return samples [begin, end) of all levels, uint8: a view."""
        return self._levels[begin:end]

    def summary(self) -> str:
        """Return lines that describe the content."""
        samples = len(self._levels)
        files = sorted(self.path.glob("*.xz"))
        return (
            f"{self.corpus} at {self.sample_rate} Hz with the codes of {self.model}"
            f" (codebook {self.codebook_id}, {self.hop} samples a code) in {self.path}\n"
            f"{samples / self.sample_rate / 3600:.2f} h, {len(self.utterances)} utterances,"
            f" {len(self.speakers)} speakers with training utterances;"
            f" {8 * self.packed_bytes / max(samples, 1):.2f} bits a sample, {self.packed_bytes / 1e6:.1f} MB in"
            f" {len(files)} files of at most {max(f.stat().st_size for f in files) / 1e6:.1f} MB"
        )


def _counts(counts: tuple[int, int, int]) -> str:
    return "{} utterances of {} samples and {} codes".format(*counts)


def _is_part(part: Any) -> bool:
    """Whether an entry has the form of a part: a file in the folder, and streams that make up its bytes."""
    kinds: dict[str, type] = {"file": str, "kind": str, "bytes": int, "sha256": str}
    try:
        return (
            all(isinstance(part[key], kind) for key, kind in kinds.items())
            and Path(part["file"]).name == part["file"]
            and sum(packed for packed, _ in part["streams"]) == part["bytes"]
            and all(unpacked > 0 for _, unpacked in part["streams"])
        )
    except (KeyError, TypeError, ValueError):
        return False


def _unpack(folder: Path, parts: list[dict[str, Any]], kind: str) -> np.ndarray:
    """Return the bytes of all parts of a kind, uint8."""
    chosen = [part for part in parts if part["kind"] == kind]
    whole = np.empty(sum(size for part in chosen for _, size in part["streams"]), np.uint8)

    def fill(stream: bytes, begin: int, size: int, path: Path) -> None:
        try:
            content = lzma.decompress(stream)
        except lzma.LZMAError as error:
            raise CorpusError(
                f"{path}: not what was packed ({error}); pack the store again"
            ) from None
        if len(content) != size:
            raise CorpusError(f"{path}: {len(content)} bytes in a stream, expected {size}")
        whole[begin : begin + size] = np.frombuffer(content, np.uint8)

    with ThreadPoolExecutor(usable_threads()) as pool:
        begun, end = [], 0
        for part in chosen:
            path = folder / part["file"]
            data, at = _read_part(path, part), 0
            for packed, size in part["streams"]:
                begun.append(pool.submit(fill, data[at : at + packed], end, size, path))
                at, end = at + packed, end + size
        for task in begun:
            task.result()
    return whole


def _read_part(path: Path, part: dict[str, Any]) -> bytes:
    """Read a file of a pack and check that it is the one that was written."""
    again = "copy it again from where the pack was made"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(
            f"{path}: {error.strerror}, {part['bytes']} bytes expected; {again}"
        ) from None
    if len(data) != part["bytes"]:
        raise CorpusError(f"{path}: {len(data)} bytes found, {part['bytes']} expected; {again}")
    if hashlib.sha256(data).hexdigest() != part["sha256"]:
        raise CorpusError(f"{path}: damaged, or of another pack (its SHA-256 differs); {again}")
    return data


def _parse(path: Path, table: str, hop: int) -> Iterator[CodedUtterance]:
    """Yield the utterances of a table, laid end to end."""
    offset = frame = 0
    first, *lines = table.removesuffix("\n").split("\n")
    if tuple(first.split("\t")) != COLUMNS:
        raise CorpusError(f"{path}: no table of utterances; pack the store again")
    for line in lines:
        corpus, speaker, utterance, split, *counts = line.split("\t")
        samples, frames = map(int, counts)
        if samples < 1 or frames != -(-samples // hop):
            raise CorpusError(
                f"{path}: {utterance} has {samples} samples and {frames} codes of {hop}; pack the store again"
            )
        yield CodedUtterance(corpus, speaker, utterance, split, offset, samples, frame, frames)
        offset, frame = offset + samples, frame + frames
