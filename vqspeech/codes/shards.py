"""Codes of many utterances in one shard, in the formats of other tools, written and read.

============ ======================================= ============================================================
format       files of shard 17                       read by
============ ======================================= ============================================================
parquet      ``codes-000017.parquet``                pyarrow, datasets, Spark, Ray Data
km           ``codes-000017.km``, ``.tsv``           fairseq, ESPnet: one line of codes for each row of the table
shar         ``cuts.000017.jsonl.gz``,               Lhotse, NeMo: cuts with ``codes``, a TemporalArray
             ``codes.000017.tar``
webdataset   ``codes-000017.tar``                    WebDataset: ``KEY.npy`` and ``KEY.json``
============ ======================================= ============================================================

With `unique`, equal codes that follow one another are written once, and how many they were is written beside them
(``durations``, of km in a file ``.dur``). Reading gives the codes as they were.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from vqspeech.codes import km, parquet, shar, webdataset
from vqspeech.codes.entry import Entry
from vqspeech.errors import CodesError, ConfigurationError

LARGEST_CODEBOOK = 1 << 16
"""Largest codebook: a code is a uint16."""


class Format(NamedTuple):
    """How the shards of one format are written and read.

    Attributes
    ----------
    suffix : str
        What the file that is named to read a shard ends in.
    extra : str
        Extra of this package that the format needs, or empty.
    packages : tuple of str
        Packages of that extra.
    write : callable
        Takes a folder, the number of the shard, its entries, and whether runs are written once.
    read : callable
        Takes that file and returns the entries.
    """

    suffix: str
    extra: str
    packages: tuple[str, ...]
    write: Callable[[Path, int, Sequence[Entry], bool], None]
    read: Callable[[Path], list[Entry]]


FORMATS = {
    "parquet": Format(".parquet", "formats", ("pyarrow",), parquet.write, parquet.read),
    "km": Format(".km", "", (), km.write, km.read),
    "shar": Format(".jsonl.gz", "formats", ("lhotse",), shar.write, shar.read),
    "webdataset": Format(".tar", "", (), webdataset.write, webdataset.read),
}
"""The formats by name."""


def require_installed(name: str) -> None:
    """Check that what a format needs is installed.

    Raises
    ------
    ConfigurationError
        Naming the extra to install.
    """
    from importlib.util import find_spec

    of = FORMATS[name]
    if missing := [package for package in of.packages if find_spec(package) is None]:
        raise ConfigurationError(
            f"the format {name} needs {missing[0]}: pip install 'vqspeech[{of.extra}]'"
        )


def write(
    folder: Path, number: int, entries: Sequence[Entry], kind: str, *, unique: bool = False
) -> None:
    """Write one shard.

    Parameters
    ----------
    folder : Path
        Where; it exists.
    number : int
        Of the shard, from 0.
    entries : sequence of Entry
        In order; at least one.
    kind : str
        One of `FORMATS`.
    unique : bool
        Whether runs of equal codes are written once, with their durations.

    Raises
    ------
    CodesError
        When a codebook has more than 65,536 codes.
    ConfigurationError
        When a package that the format needs is not installed.
    """
    require_installed(kind)
    for entry in entries:
        if entry.record.codebook_size > LARGEST_CODEBOOK:
            raise CodesError(
                f"codes of {entry.record.file}: codebook_size is {entry.record.codebook_size},"
                f" a shard holds codes below {LARGEST_CODEBOOK}"
            )
    FORMATS[kind].write(folder, number, entries, unique)


def is_shard(path: Path) -> bool:
    """Whether the name of a file is that of a shard of codes."""
    return path.name.lower().endswith(tuple(of.suffix for of in FORMATS.values()))


def read(path: Path) -> list[Entry]:
    """Read a shard; of shar its file of cuts is named.

    Raises
    ------
    CodesError
        When it is missing, of no known format, damaged, or contradicts itself.
    ConfigurationError
        When a package that the format needs is not installed.
    """
    if not path.is_file():
        raise CodesError(f"{path}: no such file")
    for name, of in FORMATS.items():
        if path.name.lower().endswith(of.suffix):
            require_installed(name)
            return of.read(path)
    suffixes = ", ".join(of.suffix for of in FORMATS.values())
    raise CodesError(f"{path}: not a shard of codes, which ends in {suffixes}")
