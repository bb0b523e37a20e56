"""Contents of a corpus: utterances, what was skipped and why, the manifest file, and the splits.

A manifest is a tab-separated UTF-8 file whose first line names the columns. Paths are relative to its folder. Splits
are drawn by sentence: all recordings of a sentence are in the same split.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from vqspeech.errors import CorpusError

SPLITS = ("train", "valid", "test")
COLUMNS = ("corpus", "speaker", "utterance", "path", "rate", "seconds", "split", "labels", "text")
DIGEST_DIGITS = 16
"""Hexadecimal digits kept of the SHA-256 of an utterance's samples."""

_REQUIRED = ("speaker", "utterance", "path")


class Extent(NamedTuple):
    """Where the bytes of a recording lie in a larger file.

    Attributes
    ----------
    file : Path
        A tar.
    begin, size : int
        First byte, and number of bytes.
    """

    file: Path
    begin: int
    size: int

    def read(self) -> bytes:
        """Return the bytes; `CorpusError` where they are not there."""
        try:
            with self.file.open("rb") as file:
                file.seek(self.begin)
                found = file.read(self.size)
        except OSError as error:
            raise CorpusError(f"{self.file}: cannot be read ({error.strerror})") from None
        if len(found) != self.size:
            raise CorpusError(f"{self.file}: ends before byte {self.begin + self.size}")
        return found


class Original(NamedTuple):
    """What an utterance of a store that was prepared in place is read from.

    Attributes
    ----------
    path : Path
        The sound file; of a recording in a tar, the tar and the member.
    extent : Extent or None
        Where in a tar it is.
    start : int
        Its first sample, at the store's rate, that belongs to the utterance.
    digest : str
        First `DIGEST_DIGITS` of the SHA-256, hexadecimal, of the utterance's samples.
    """

    path: Path
    extent: Extent | None
    start: int
    digest: str


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker.

    Attributes
    ----------
    corpus, speaker, utterance : str
        Names that together identify the recording.
    path : Path
        The sound file; of a recording in a tar, the tar and the member.
    split : str
        ``"train"``, ``"valid"``, ``"test"``, or empty while undecided.
    labels : Path or None
        A file of phone times.
    text : str
        The transcript, or empty.
    extent : Extent or None
        Where in a tar the recording is.
    """

    corpus: str
    speaker: str
    utterance: str
    path: Path
    split: str = ""
    labels: Path | None = None
    text: str = ""
    # the fingerprint of a store is made of the other fields' repr
    extent: Extent | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Skipped:
    """A file that was not used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Listing:
    """Recordings found in one place.

    Attributes
    ----------
    kind : str
        Kind of corpus, for messages.
    root : Path
        The folder.
    utterances : list of Utterance
        In a fixed order.
    skipped : list of Skipped
        Left out, with reasons.
    """

    kind: str
    root: Path
    utterances: list[Utterance] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def read_manifest(path: Path) -> Listing:
    """Read a manifest; its splits are kept.

    Parameters
    ----------
    path : Path
        A tab-separated file with at least the columns speaker, utterance and path; corpus, split, labels and text are
        used where present, other columns are ignored.

    Returns
    -------
    Listing

    Raises
    ------
    CorpusError
        If the file cannot be read, is not UTF-8, lacks a column, has an unknown split, or a line has the wrong number
        of fields or an empty name.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from None
    columns = lines[0].rstrip("\r").split("\t")
    if missing := [name for name in _REQUIRED if name not in columns]:
        raise CorpusError(f"{path}: the first line lacks the columns {', '.join(missing)}")
    root = path.parent
    utterances: list[Utterance] = []
    skipped: list[Skipped] = []
    seen: set[tuple[str, str, str]] = set()
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("\t")
        if len(fields) != len(columns):
            raise CorpusError(
                f"{path}, line {number}: {len(fields)} fields where the first line names {len(columns)}"
            )
        row = dict(zip(columns, fields, strict=True))
        if empty := [name for name in _REQUIRED if not row[name]]:
            raise CorpusError(f"{path}, line {number}: the {empty[0]} is empty")
        split = row.get("split", "")
        if split and split not in SPLITS:
            raise CorpusError(
                f"{path}, line {number}: split {split!r} is none of {', '.join(SPLITS)}"
            )
        utterance = Utterance(
            corpus=row.get("corpus", "") or root.name,
            speaker=row["speaker"],
            utterance=row["utterance"],
            path=root / row["path"],
            split=split,
            labels=root / row["labels"] if row.get("labels") else None,
            text=row.get("text", ""),
        )
        key = (utterance.corpus, utterance.speaker, utterance.utterance)
        if key in seen:
            skipped.append(Skipped(utterance.path, f"named a second time on line {number}"))
            continue
        seen.add(key)
        utterances.append(utterance)
    return Listing(f"manifest {path.name}", root, utterances, skipped)


def normalise_sentence(text: str) -> str:
    """Normalise a sentence: letters and digits, casefolded, single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(c if c.isalnum() else "" if c in "'’" else " " for c in folded)  # noqa: RUF001
    return " ".join(kept.split())


def sentence_key(utterance: Utterance) -> str:
    """Return the key shared by utterances of one sentence: the normalised text.

    Without a text it is the utterance's name without the speaker's: recordings numbered alike count as one sentence.
    """
    if sentence := normalise_sentence(utterance.text):
        return f"text {sentence}"
    stem = utterance.utterance.removeprefix(utterance.speaker).lstrip("_-. ")
    return f"name {stem or utterance.utterance}"


def assign_splits(
    utterances: Sequence[Utterance], valid_fraction: float = 0.05, test_fraction: float = 0.05
) -> list[Utterance]:
    """Give every utterance without a split one, so that no sentence is in two; the order of utterances does not matter.

    Sentences are ordered by their hash; the first share goes to test, the next to valid, the rest to train. With three
    sentences or more, valid and test have at least one each. A sentence with a given split in some utterance stays
    there.
    """
    given = {sentence_key(u): u.split for u in reversed(utterances) if u.split}
    keys = {sentence_key(u) for u in utterances} - given.keys()
    order = sorted(
        keys, key=lambda key: hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    )
    least = 1 if len(order) >= 3 else 0
    n_test = max(least if test_fraction > 0 else 0, round(len(order) * test_fraction))
    n_valid = max(least if valid_fraction > 0 else 0, round(len(order) * valid_fraction))
    drawn = {
        key: "test" if rank < n_test else "valid" if rank < n_test + n_valid else "train"
        for rank, key in enumerate(order)
    }
    drawn.update(given)
    return [u if u.split else replace(u, split=drawn[sentence_key(u)]) for u in utterances]


def split_listing(
    listing: Listing, valid_fraction: float = 0.05, test_fraction: float = 0.05
) -> Listing:
    """Give every utterance of a listing a split, and keep the test split's sentences and files to itself.

    Where given splits put a sentence into test and elsewhere, the utterances elsewhere are skipped. The fractions are
    as for `assign_splits`.
    """
    utterances = assign_splits(listing.utterances, valid_fraction, test_fraction)
    tested = {
        key for u in utterances if u.split == "test" for key in (normalise_sentence(u.text), u.path)
    } - {""}
    kept, skipped = [], list(listing.skipped)
    for u in utterances:
        if u.split != "test" and u.path in tested:
            skipped.append(Skipped(u.path, "the same file is in the test split"))
        elif u.split != "test" and normalise_sentence(u.text) in tested:
            skipped.append(Skipped(u.path, "its sentence is read in the test split"))
        else:
            kept.append(u)
    return Listing(listing.kind, listing.root, kept, skipped)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a tab-separated table atomically, `columns` first; fields must not contain tabs or line breaks."""
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(columns) + "\n")
        for row in rows:
            file.write("\t".join(str(field) for field in row) + "\n")
    temporary.replace(path)


def printable(text: str) -> str:
    """Escape characters that a table's field cannot contain."""
    escaped = text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8")
