"""Codes of a packed store, extracted once: all sequences end to end in one uint16 file, memory-mapped, with an index.

A code store is a folder: ``codes.u16`` (little-endian, no header), ``codes.tsv`` (position of each sequence) and
``codes.json``, written last. Training utterances may occur several times, each encoded from a fraction of a hop later:
the same speech in other codes.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vqspeech.corpus.index import read_index
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.jobs.atomic import write_atomically, write_file
from vqspeech.jobs.progress import Progress
from vqspeech.models.autoencoder import Autoencoder

FORMAT, VERSION = "vqspeech-codes", 1
CODES, TABLE, INDEX = "codes.u16", "codes.tsv", "codes.json"

LARGEST_CODEBOOK = 2**16
"""Largest codebook for 16 bits."""


@dataclass(frozen=True)
class CodeSequence:
    """One sequence of a code store.

    Attributes
    ----------
    corpus, speaker, utterance, split : str
        As in the packed store.
    shift : int
        Samples skipped at the front before encoding; 0 is the utterance itself.
    offset, frames : int
        Position in the codes.
    """

    corpus: str
    speaker: str
    utterance: str
    split: str
    shift: int
    offset: int
    frames: int


COLUMNS = tuple(field.name for field in fields(CodeSequence))


class CodeStore:
    """Codes of a corpus, memory-mapped.

    Parameters
    ----------
    path : Path
        The folder.

    Attributes
    ----------
    codebook_id : str
        `Autoencoder.codebook_id` of the encoding model.
    codebook_size, hop, sample_rate : int
        Of that model.
    shifts : int
        Number of sequences per training utterance.
    codes : memmap of uint16, shape (frames,)
        All sequences, end to end.
    sequences : list of CodeSequence
        In the order of `codes`.
    speakers : list of str
        Speakers with training utterances, sorted.

    Raises
    ------
    CorpusError
        If the folder is not a finished code store, or its files do not fit together.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        index = read_index(
            self.path / INDEX,
            "store of codes",
            (FORMAT, VERSION),
            {
                int: "codebook_size hop sample_rate shifts",
                str: "codebook_id manifest_sha256 table_sha256",
            },
            f"remove {path} to extract them again",
        )
        self.codebook_id: str = index["codebook_id"]
        self.codebook_size: int = index["codebook_size"]
        self.hop: int = index["hop"]
        self.sample_rate: int = index["sample_rate"]
        self.shifts: int = index["shifts"]
        self.manifest_sha256: str = index["manifest_sha256"]
        table = self.path / TABLE
        text = table.read_bytes() if table.is_file() else b""
        if hashlib.sha256(text).hexdigest() != index["table_sha256"]:
            raise CorpusError(
                f"{table}: changed since the codes were extracted; remove {path} to extract them again"
            )
        self.sequences = [_parse(line) for line in text.decode("utf-8").splitlines()[1:]]
        frames = sum(sequence.frames for sequence in self.sequences)
        codes = self.path / CODES
        size = codes.stat().st_size if codes.is_file() else -1
        if size != 2 * frames:
            found = "no such file" if size < 0 else f"{size} bytes"
            raise CorpusError(
                f"{codes}: found {found}, expected {2 * frames} bytes; remove {path} to extract them again"
            )
        self.codes = np.memmap(codes, dtype="<u2", mode="r")
        self.speakers = sorted({s.speaker for s in self.sequences if s.split == "train"})

    def sequence(self, index: int) -> np.ndarray:
        """Return the codes of a sequence, int64, (frames,), by its place in `sequences`."""
        of = self.sequences[index]
        return self.codes[of.offset : of.offset + of.frames].astype(np.int64)

    def indices(self, split: str) -> np.ndarray:
        """Return the places of a split's sequences that are not shifted, int64, ascending."""
        found = [i for i, s in enumerate(self.sequences) if s.split == split and not s.shift]
        return np.array(found, np.int64)

    def split(self, split: str) -> list[np.ndarray]:
        """Return the codes of a split, not shifted, int64, (frames,) each."""
        return [self.sequence(i) for i in self.indices(split)]


def extract_codes(
    model: Autoencoder, store: PackedStore, folder: Path, shifts: int = 1
) -> CodeStore:
    """Encode a store into `folder`, unless that is done; unfinished codes are made again.

    Each training utterance is encoded `shifts` times, each time from ``hop / shifts`` samples later. `CorpusError`
    where the folder has codes of another codebook, store or number of shifts, sample rates differ, or there are too
    many different codes or shifts.
    """
    if store.sample_rate != model.sample_rate:
        raise CorpusError(
            f"{store.path}: recordings at {store.sample_rate} Hz, the model works at {model.sample_rate} Hz"
        )
    if not 1 <= shifts <= model.hop:
        raise CorpusError(f"{shifts} shifts of a hop of {model.hop} samples: 1 to {model.hop} here")
    encoded = partial(_encode, model, store, shifts)
    return write_codes(model, store.manifest_sha256, folder, encoded, shifts)


def write_codes(
    model: Autoencoder,
    manifest_sha256: str,
    folder: Path,
    encoded: Callable[[BinaryIO], Iterator[CodeSequence]],
    shifts: int = 1,
) -> CodeStore:
    """Write codes of a model into `folder`, unless that is done; unfinished codes are made again.

    `encoded` writes the codes of one sequence after another and yields where each lies; `manifest_sha256` tells what
    they are of. `CorpusError` where the folder has other codes, or there are too many different ones.
    """
    if (folder / INDEX).is_file():
        found = CodeStore(folder)
        _require_same(found, model, manifest_sha256, shifts)
        return found
    if model.codebook_size > LARGEST_CODEBOOK:
        raise CorpusError(f"{model.codebook_size} different codes: at most {LARGEST_CODEBOOK} here")
    sequences: list[CodeSequence] = []

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            sequences.extend(encoded(file))

    write_atomically(folder / CODES, save)
    rows = ["\t".join(COLUMNS), *("\t".join(map(str, astuple(s))) for s in sequences)]
    table = ("\n".join(rows) + "\n").encode("utf-8")
    write_file(folder / TABLE, table)
    index = {
        "format": FORMAT,
        "version": VERSION,
        "codebook_id": model.codebook_id,
        "codebook_size": model.codebook_size,
        "hop": model.hop,
        "sample_rate": model.sample_rate,
        "shifts": shifts,
        "manifest_sha256": manifest_sha256,
        "table_sha256": hashlib.sha256(table).hexdigest(),
    }
    write_file(folder / INDEX, json.dumps(index, indent=1) + "\n")
    return CodeStore(folder)


def _encode(
    model: Autoencoder, store: PackedStore, shifts: int, file: BinaryIO
) -> Iterator[CodeSequence]:
    """Write the codes of all utterances and yield where each lies."""
    starts = [model.hop * k // shifts for k in range(shifts)]
    work = [
        (index, start)
        for index, utterance in enumerate(store.utterances)
        for start in (starts if utterance.split == "train" else starts[:1])
        # nothing is left of the shortest utterances
        if start < utterance.samples
    ]
    offset = 0
    with Progress(len(work), "sequences", "extracting codes") as progress:
        for index, start in work:
            codes = model.encode(store.wav(index)[start:]).numpy()
            file.write(codes.astype("<u2").tobytes())
            of = store.utterances[index]
            yield CodeSequence(
                of.corpus, of.speaker, of.utterance, of.split, start, offset, len(codes)
            )
            offset += len(codes)
            progress.update()


def _require_same(found: CodeStore, model: Autoencoder, manifest_sha256: str, shifts: int) -> None:
    expected = {
        "codebook_id": model.codebook_id,
        "hop": model.hop,
        "sample_rate": model.sample_rate,
        "shifts": shifts,
        "manifest_sha256": manifest_sha256,
    }
    for key, value in expected.items():
        if getattr(found, key) != value:
            raise CorpusError(
                f"{found.path}: codes whose {key} is {getattr(found, key)}, asked for {value};"
                " name another folder, or remove this one to extract them again"
            )


def _parse(line: str) -> CodeSequence:
    corpus, speaker, utterance, split, *numbers = line.split("\t")
    return CodeSequence(corpus, speaker, utterance, split, *map(int, numbers))
