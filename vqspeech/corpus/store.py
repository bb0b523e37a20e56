"""The packed store: all utterances of a corpus end to end in one int16 file, memory-mapped, with an index.

A store is a folder: ``audio.i16`` (little-endian 16-bit samples, no header), ``manifest.tsv`` (position of each
utterance), ``skipped.tsv`` (what was left out), ``warned.tsv`` (warnings about what was kept) and ``store.json``,
written last. Opening one needs only numpy.

A store that was prepared in place has no ``audio.i16``: its manifest says where each recording is and by what it is
known again, and samples are read from there when they are asked for.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vqspeech.corpus import manifest
from vqspeech.corpus.index import read_index
from vqspeech.errors import ConfigurationError, CorpusError

if TYPE_CHECKING:
    from vqspeech.corpus.inplace import SoundInPlace

FORMAT, VERSION = "vqspeech-store", 1
AUDIO, MANIFEST, SKIPPED, INDEX = "audio.i16", "manifest.tsv", "skipped.tsv", "store.json"
WARNED = "warned.tsv"
COLUMNS = (*manifest.COLUMNS, "offset", "samples", "start_s")
PLACES = ("start", "digest", "container", "begin", "size")
"""Further columns of a store prepared in place."""


@dataclass(frozen=True)
class StoredUtterance:
    """One utterance of a store.

    Attributes
    ----------
    corpus, speaker, utterance : str
        Names.
    split : str
        ``"train"``, ``"valid"`` or ``"test"``.
    offset, samples : int
        Position in the store's audio.
    start_s : float
        Seconds trimmed off the front of the source file: time 0 here is `start_s` there, and in `labels`.
    labels : Path or None
        A file of phone times of the source file.
    path : Path
        The source file, which the store does not need unless it was prepared in place.
    text : str
        The transcript, or empty.
    original : Original or None
        Of a store prepared in place, where the samples are.
    """

    corpus: str
    speaker: str
    utterance: str
    split: str
    offset: int
    samples: int
    start_s: float
    labels: Path | None
    path: Path
    text: str
    original: manifest.Original | None = None


class PackedStore:
    """A prepared corpus, opened for reading; its audio is memory-mapped.

    Parameters
    ----------
    path : Path
        The store's folder.

    Attributes
    ----------
    path : Path
        The folder.
    corpus : str
        Name of the corpus.
    sample_rate : int
        Hz.
    manifest_sha256 : str
        Of its manifest; identifies the store in files made from it.
    in_place : bool
        Whether it has no samples of its own.
    audio : memmap of int16, shape (samples,), or SoundInPlace
        All utterances, end to end; of a store prepared in place, what reads slices of them.
    utterances : list of StoredUtterance
        In the order of `audio`.
    speakers : list of str
        Speakers with training utterances, sorted; their positions are the model's speaker indices.

    Raises
    ------
    CorpusError
        If the folder is not a finished store, or its files do not fit together; with the file, what was found and what
        was expected.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        index = read_index(
            self.path / INDEX,
            "store",
            (FORMAT, VERSION),
            {int: "sample_rate samples utterances", str: "root corpus manifest_sha256"},
            "make one with `vqspeech prepare`",
        )
        self.corpus: str = index["corpus"]
        self.sample_rate: int = index["sample_rate"]
        self.manifest_sha256: str = index["manifest_sha256"]
        root = Path(index["root"])
        table = _read(self.path / MANIFEST)
        digest = hashlib.sha256(table).hexdigest()
        if digest != index["manifest_sha256"]:
            raise CorpusError(
                f"{self.path / MANIFEST}: changed since the store was made; prepare the corpus again"
            )
        self.in_place = bool(index.get("in_place"))
        columns = (*COLUMNS, *PLACES) if self.in_place else COLUMNS
        self.utterances = _parse(self.path / MANIFEST, table.decode("utf-8"), columns, root)
        total = sum(u.samples for u in self.utterances)
        if (len(self.utterances), total) != (index["utterances"], index["samples"]):
            raise CorpusError(
                f"{self.path / INDEX}: announces {index['utterances']} utterances of {index['samples']} "
                f"samples, the manifest lists {len(self.utterances)} of {total}"
            )
        self.speakers = sorted({u.speaker for u in self.utterances if u.split == "train"})
        self.audio = self._audio(total)

    def _audio(self, total: int) -> "np.ndarray | SoundInPlace":
        if self.in_place:
            from vqspeech.corpus.inplace import SoundInPlace

            originals = [u.original for u in self.utterances if u.original is not None]
            samples = [u.samples for u in self.utterances]
            return SoundInPlace(originals, samples, self.sample_rate)
        audio = self.path / AUDIO
        size = audio.stat().st_size if audio.is_file() else -1
        if size != 2 * total:
            found = "no such file" if size < 0 else f"{size} bytes"
            raise CorpusError(f"{audio}: found {found}, expected {2 * total} bytes; prepare again")
        return np.memmap(audio, dtype="<i2", mode="r")

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.utterances)

    def pcm(self, index: int) -> np.ndarray:
        """Return the utterance at `index` as on disk: int16 (samples,), a read-only view."""
        utterance = self.utterances[index]
        return self.audio[utterance.offset : utterance.offset + utterance.samples]

    def wav(self, index: int) -> np.ndarray:
        """Return the utterance at `index` as a wav: float32 (samples,), in [-1, 1)."""
        return self.pcm(index).astype(np.float32) / np.float32(32768)

    def require_rate(self, sample_rate: int) -> None:
        """Raise `ConfigurationError` where the store is not at the rate of a model, Hz."""
        if self.sample_rate != sample_rate:
            raise ConfigurationError(
                f"{self.path}: holds {self.sample_rate} Hz and the model takes {sample_rate} Hz; prepare the corpus at"
                " the model's rate"
            )

    def by_speaker(self, indices: Iterable[int]) -> dict[str, list[int]]:
        """Return indices of utterances by speaker, in the order given."""
        found: dict[str, list[int]] = defaultdict(list)
        for index in indices:
            found[self.utterances[index].speaker].append(index)
        return found

    def indices(self, split: str) -> np.ndarray:
        """Return the indices of a split's utterances.

        Parameters
        ----------
        split : {"train", "valid", "test"}
            The split.

        Returns
        -------
        ndarray of int64, shape (utterances of the split,)
            Ascending.

        Raises
        ------
        CorpusError
            If `split` is none of the three.
        """
        if split not in manifest.SPLITS:
            raise CorpusError(f"split {split!r} is none of {', '.join(manifest.SPLITS)}")
        return np.array([i for i, u in enumerate(self.utterances) if u.split == split], np.int64)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from None


def _parse(path: Path, text: str, columns: Sequence[str], root: Path) -> list[StoredUtterance]:
    """Read the lines of a store's manifest and check that the utterances lie end to end."""
    lines = text.removesuffix("\n").split("\n")
    if lines[0].split("\t") != list(columns):
        raise CorpusError(f"{path}: the first line is not that of a store's manifest")
    utterances = []
    end = 0
    for number, line in enumerate(lines[1:], 2):
        try:
            row = dict(zip(columns, line.split("\t"), strict=True))
            utterance = StoredUtterance(
                corpus=row["corpus"],
                speaker=row["speaker"],
                utterance=row["utterance"],
                split=row["split"],
                offset=int(row["offset"]),
                samples=int(row["samples"]),
                start_s=float(row["start_s"]),
                labels=root / row["labels"] if row["labels"] else None,
                path=root / row["path"],
                text=row["text"],
                original=_original(row, root) if "digest" in row else None,
            )
        except ValueError as error:
            raise CorpusError(f"{path}, line {number}: {error}") from None
        if utterance.offset != end or utterance.samples < 1:
            raise CorpusError(
                f"{path}, line {number}: {utterance.samples} samples at {utterance.offset}, "
                f"expected at least one at {end}"
            )
        end += utterance.samples
        utterances.append(utterance)
    return utterances


def _original(row: Mapping[str, str], root: Path) -> manifest.Original:
    extent = None
    if row["container"]:
        extent = manifest.Extent(root / row["container"], int(row["begin"]), int(row["size"]))
    return manifest.Original(root / row["path"], extent, int(row["start"]), row["digest"])
