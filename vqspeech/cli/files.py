"""Which sound files a person named, and where outputs go: inside the output folder, never over an existing file.

A file given by itself is written by its name; a file found in a given folder keeps its path below that folder.
"""

import logging
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from vqspeech.errors import ConfigurationError, VqspeechError

log = logging.getLogger("vqspeech")

STANDARD_OUTPUT = Path("/dev/stdout")
"""Where sound goes for ``--out -``; no sound file is called that, for want of a suffix."""


@dataclass(frozen=True)
class Source:
    """A sound file to work on.

    Attributes
    ----------
    path : Path
        The file.
    mirror : PurePath
        Its place below an output folder, with its own suffix.
    """

    path: Path
    mirror: PurePath


def find_sources(names: Iterable[str]) -> list[Source]:
    """List the sound files that `names` mean: files as they are, folders searched in depth, in order of name.

    Links to folders are not followed, so a loop of links ends.

    Raises
    ------
    ConfigurationError
        When a name does not exist or a folder holds no sound file.
    """
    sources: list[Source] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            found = _in_folder(path)
            if not found:
                raise ConfigurationError(f"{path}: no sound file in this folder")
            sources += found
        elif os.path.lexists(path):
            sources.append(Source(path, PurePath(path.name)))
        else:
            raise ConfigurationError(f"{path}: no such file or folder")
    return sources


def _in_folder(folder: Path) -> list[Source]:
    from vqspeech.audio import SUFFIXES

    found = []
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            path = Path(parent, file)
            if path.suffix.lower() in SUFFIXES:
                found.append(Source(path, path.relative_to(folder)))
    return found


def inside(folder: Path, relative: PurePath | str) -> Path:
    """Return ``folder / relative``, refusing what would lie outside `folder`, by ``..`` or through a link.

    Raises
    ------
    ConfigurationError
        When the result lies outside.
    """
    path = folder / relative
    if "\0" in str(relative) or not _real(path).is_relative_to(_real(folder)):
        raise ConfigurationError(
            f"{str(relative)!r} would be written outside of {folder}: give another name or --out FILE"
        )
    return path


def _real(path: Path) -> Path:
    # Unlike Path.resolve, this has an answer for a loop of links.
    return Path(os.path.realpath(path))


def check_folder(folder: Path) -> None:
    """Refuse an output folder that is a file, or in which nothing can be made.

    Raises
    ------
    ConfigurationError
        When that is so.
    """
    standing = folder
    while not os.path.lexists(standing) and standing != standing.parent:
        standing = standing.parent
    if not standing.is_dir():
        raise ConfigurationError(f"{standing} is not a folder: choose another --out")
    effective = os.access in os.supports_effective_ids
    if not os.access(standing, os.W_OK | os.X_OK, effective_ids=effective):
        raise ConfigurationError(f"{standing}: no permission to write here; choose another --out")


def plan_sounds(stems: Sequence[Path], speakers: Sequence[str], out: str | None) -> list[Path]:
    """Decide where the sound files go, for every stem and every speaker in turn.

    Parameters
    ----------
    stems : sequence of Path
        Place of each recording below the output folder, without suffix.
    speakers : sequence of str
        Names; they go into the names of the files.
    out : str or None
        What ``--out`` said.

    Returns
    -------
    list of Path
        ``len(stems) * len(speakers)`` paths, none outside the folder.

    Raises
    ------
    ConfigurationError
        When one file is named for several outputs, its format is unknown, or a name leads outside the folder.
    """
    from vqspeech.audio import SUFFIXES

    place = Path(out) if out is not None else Path()
    if place.suffix.lower() in SUFFIXES and not place.is_dir():
        if len(stems) * len(speakers) > 1:
            raise ConfigurationError(
                f"--out {place} is one file for {len(stems) * len(speakers)} conversions:"
                " name a folder"
            )
        check_folder(place.parent)
        return [place]
    check_folder(place)
    return [inside(place, f"{stem}-{speaker}.wav") for stem in stems for speaker in speakers]


def sound_outputs(
    stems: Sequence[Path],
    speakers: Sequence[str],
    out: str | None,
    *,
    force: bool,
    sources: Iterable[Path] = (),
) -> list[Path]:
    """Decide where the sound goes: `STANDARD_OUTPUT` for ``--out -``, else what `plan_sounds` plans.

    Raises
    ------
    ConfigurationError
        When standard output would get several recordings or is a terminal; else as `plan_sounds` and `check_outputs`.
    """
    if out != "-":
        outputs = plan_sounds(stems, speakers, out)
        check_outputs(outputs, force=force, sources=sources)
        return outputs
    if len(stems) * len(speakers) != 1:
        raise ConfigurationError(
            f"--out - is one recording, not {len(stems) * len(speakers)}: name a folder"
        )
    if sys.stdout.isatty():
        raise ConfigurationError(
            "--out -: standard output is a terminal; lead it into a player or a file"
        )
    return [STANDARD_OUTPUT]


def packed(corpus: Path, place: Path, sample_rate: int, *, force: bool) -> Path:
    """Return the store that a person named; a corpus that is none is packed first.

    Parameters
    ----------
    corpus : Path
        A prepared store, or a corpus as ``vqspeech prepare`` takes it.
    place : Path
        Where a store is made.
    sample_rate : int
        Hz, of a store that is made.
    force : bool
        Whether to replace another store in that place.

    Raises
    ------
    CorpusError
        When there is no corpus, or none of it can be read.
    """
    from vqspeech.corpus.prepare import find_corpus, prepare
    from vqspeech.corpus.store import INDEX

    if (corpus / INDEX).is_file():
        return corpus
    return prepare(find_corpus(corpus), place, sample_rate=sample_rate, force=force)


def check_outputs(outputs: Sequence[Path], *, force: bool, sources: Iterable[Path] = ()) -> None:
    """Refuse, before any work, outputs that would replace one another, a source, or (without `force`) anything.

    Raises
    ------
    ConfigurationError
        Naming the first such output.
    """
    kept = {_real(path) for path in sources}
    seen: set[Path] = set()
    for path in outputs:
        place = _real(path)
        if place in kept:
            raise ConfigurationError(f"{path} is itself a source: choose another --out")
        if place in seen:
            raise ConfigurationError(
                f"two outputs would both be {path}: give their sources in separate runs"
            )
        seen.add(place)
        if path.is_dir():
            raise ConfigurationError(f"{path} is a folder: choose another --out")
        if path.exists() and not force:
            raise ConfigurationError(f"{path} exists: it is kept unless you say --force")


@dataclass
class Failures:
    """What went wrong with single files while the others went on."""

    attempted: int
    lines: list[str] = field(default_factory=list)

    def add(self, error: VqspeechError) -> None:
        """Keep the one line of `error`."""
        self.lines.append(str(error))

    def finish(self, task: str) -> None:
        """List the failures, if any, and end with an error that counts them.

        Raises
        ------
        VqspeechError
            When any file failed: the failure itself where only one file was asked for.
        """
        if not self.lines:
            return
        if self.attempted == 1:
            raise VqspeechError(self.lines[0])
        for line in self.lines:
            log.warning("%s", line)
        raise VqspeechError(
            f"{len(self.lines)} of {self.attempted} files were not {task}; they are listed above"
        )
