"""The plan of a run: which recordings make which shard. Every process of a run reads the same one.

A folder of codes holds ``plan.jsonl``, a line for each shard with its units, ``plan.json`` with the position and length
of each line, ``shards/`` and ``done/``, where a marker for each shard is written after its files. Shards are of about
equal duration, whatever their number of recordings. The plan does not depend on who works: one process, the tasks of a
Slurm array and a cluster make the same files.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from vqspeech.codes import km
from vqspeech.corpus.units import Unit
from vqspeech.errors import ConfigurationError
from vqspeech.jobs.atomic import write_atomically, write_file

FORMAT, VERSION = "vqspeech-shards", 1
INDEX, LINES, SHARDS, DONE = "plan.json", "plan.jsonl", "shards", "done"
MODEL = "model.safetensors"
"""Copy of the model, for the machines of a cluster."""

TOTAL, FAILURES, WARNED, JOINED = "total.json", "failures.tsv", "warned.tsv", "codes"
"""Tables of the whole, and the stem of the files that shards of km are joined to."""


@dataclass(frozen=True)
class Settings:
    """What decides the content of the files.

    Attributes
    ----------
    source : str
        Where the recordings are, as `vqspeech.corpus.sources.list_units` takes it.
    split : str or None
        Of a store or manifest.
    model, model_id : str
        Name of the model, and 16 hexadecimal digits of its file.
    kind : str
        Format of the shards.
    unique : bool
        Whether runs of equal codes are written once.
    shard_hours : float
        How much speech a shard has.
    """

    source: str
    split: str | None
    model: str
    model_id: str
    kind: str
    unique: bool
    shard_hours: float


@dataclass(frozen=True)
class Line:
    """A shard in the index: where its line is, and what it has."""

    offset: int
    size: int
    units: int
    seconds: float


class Plan:
    """A plan, opened.

    Parameters
    ----------
    folder : Path
        The folder of codes.

    Attributes
    ----------
    folder : Path
        The same.
    settings : Settings
        Of the run.
    shards : list of Line
        By number.
    digest : str
        SHA-256 of all lines.

    Raises
    ------
    ConfigurationError
        When there is no plan, or one of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / INDEX
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            if (index["format"], index["version"]) != (FORMAT, VERSION):
                raise ValueError("of another version")
            self.settings = Settings(**index["settings"])
            self.shards = [Line(*line) for line in index["shards"]]
            self.digest: str = index["digest"]
        except OSError as error:
            raise ConfigurationError(
                f"{path}: {error.strerror}; a folder of shards of codes is expected"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{path}: not a plan of this program ({error})") from None

    def units(self, number: int) -> list[Unit]:
        """Return what makes a shard."""
        of = self.shards[number]
        with (self.folder / LINES).open("rb") as file:
            file.seek(of.offset)
            return [Unit(*fields) for fields in json.loads(file.read(of.size))]

    def marker(self, number: int) -> Path:
        """Return the path of the marker of a shard."""
        return self.folder / DONE / f"{number:06d}.json"

    def done(self, number: int) -> dict[str, Any] | None:
        """Return what the marker of a shard says, if it is there and its files are as long as it says."""
        try:
            found = json.loads(self.marker(number).read_text(encoding="utf-8"))
            sizes = [(self.folder / SHARDS / name).stat().st_size for name, _ in found["files"]]
        except (OSError, ValueError):
            return None
        return found if sizes == [size for _, size in found["files"]] else None

    def missing(self) -> list[int]:
        """Return the numbers of the shards that are not whole."""
        return [number for number in range(len(self.shards)) if self.done(number) is None]


def make_plan(folder: Path, settings: Settings, units: Iterable[Unit]) -> Plan:
    """Cut units into shards of about equal duration and write the plan; what is there already must be the same.

    Raises
    ------
    ConfigurationError
        When the folder has other content, or the plan of other settings or other recordings.
    """
    if (folder / INDEX).is_file():
        require_same(Plan(folder), settings)
    elif folder.is_dir() and (other := _foreign(folder)):
        raise ConfigurationError(f"{folder} holds other files ({other}): choose another --out")
    lines: list[Line] = []
    digest = hashlib.sha256()

    def save(temporary: Path) -> None:
        offset = 0
        with temporary.open("wb") as file:
            for group in _grouped(units, settings.shard_hours * 3600):
                line = json.dumps([astuple(unit) for unit in group]).encode("ascii") + b"\n"
                file.write(line)
                digest.update(line)
                lines.append(Line(offset, len(line), len(group), sum(u.seconds for u in group)))
                offset += len(line)
        if (folder / INDEX).is_file() and Plan(folder).digest != digest.hexdigest():
            raise ConfigurationError(
                f"{settings.source}: not the recordings that {folder / INDEX} was made of; choose another --out,"
                " or begin anew with --force"
            )

    write_atomically(folder / LINES, save)
    index = {
        "format": FORMAT,
        "version": VERSION,
        "settings": asdict(settings),
        "digest": digest.hexdigest(),
        "shards": [astuple(line) for line in lines],
    }
    write_file(folder / INDEX, json.dumps(index) + "\n")
    return Plan(folder)


def require_same(plan: Plan, settings: Settings) -> None:
    """Raise `ConfigurationError` with the first setting that differs; a model may go by several names."""
    for name, value in asdict(settings).items():
        found = getattr(plan.settings, name)
        if found != value and name != "model":
            raise ConfigurationError(
                f"{plan.folder / INDEX}: made with {name} {found}, asked for {value}; choose another --out, or begin"
                " anew with --force"
            )


def remove(folder: Path) -> None:
    """Remove a plan and all that was made by it; a folder without a plan stays as it is."""
    if (folder / INDEX).is_file():
        (folder / INDEX).unlink()
        for name in (DONE, SHARDS):
            shutil.rmtree(folder / name, ignore_errors=True)
        joined = (f"{JOINED}.km", f"{JOINED}.tsv", f"{JOINED}.ids", f"{JOINED}.dur", *km.COMMON)
        for name in (LINES, MODEL, TOTAL, FAILURES, WARNED, *joined):
            (folder / name).unlink(missing_ok=True)


def _foreign(folder: Path) -> str:
    """Return the name of a file that no unfinished plan left, or an empty one."""
    known = (LINES, DONE, SHARDS)
    names = (path.name for path in folder.iterdir())
    return next((n for n in names if n not in known and not n.startswith(".vqspeech-")), "")


def _grouped(units: Iterable[Unit], seconds: float) -> Iterator[list[Unit]]:
    group: list[Unit] = []
    length = 0.0
    for unit in units:
        # A shard never gets much longer than asked for, unless one recording or container is.
        if group and length + unit.seconds / 2 > seconds:
            yield group
            group, length = [], 0.0
        group.append(unit)
        length += unit.seconds
    if group:
        yield group
