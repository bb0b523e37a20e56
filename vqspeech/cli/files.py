"""Which sound files a person named, and where outputs go: inside the output folder, never over an existing file.

A file given by itself is written by its name; a file found in a given folder keeps its path below that folder.
"""

import logging
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from vqspeech.audio.header import STANDARD_INPUT, UNREAD_SUFFIXES
from vqspeech.cli.streams import require_standard_output
from vqspeech.corpus.manifest import Skipped
from vqspeech.errors import ConfigurationError, VqspeechError

log = logging.getLogger("vqspeech")

STANDARD_OUTPUT = Path("/dev/stdout")
"""Where sound goes for ``--out -``; no sound file is called that, for want of a suffix."""

_OTHER_SUFFIXES = frozenset(
    {
        *(".csv", ".ctm", ".eaf", ".flac", ".gz", ".h5", ".html", ".json", ".jsonl", ".km", ".lab"),
        *(".md", ".mlf", ".mp3", ".npy", ".npz", ".ogg", ".opus", ".parquet", ".pdf", ".phn"),
        *(".pickle", ".pkl", ".png", ".pt", ".pth", ".safetensors", ".tar", ".textgrid", ".tsv"),
        *(".txt", ".vqc", ".wav", ".xml", ".yaml", ".zip"),
    }
)
"""What ``--out`` ends in where it means a file, whether that can be written or not."""


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
    """List the sound files that `names` mean: files and pipes as they are, folders searched in depth, in order of name.

    ``-`` is standard input. Folders are searched as those of a corpus are: links are followed, hidden files passed
    over; what is left out for another reason is counted in a warning.

    Raises
    ------
    ConfigurationError
        When a name does not exist or a folder holds no sound file.
    """
    sources: list[Source] = []
    for name in names:
        path = Path(name)
        if name == "-":
            sources.append(Source(STANDARD_INPUT, PurePath("stdin")))
        elif path.is_dir():
            sources += _in_folder(path)
        elif os.path.lexists(path) or path == STANDARD_INPUT:
            sources.append(Source(path, PurePath(path.name)))
        else:
            raise ConfigurationError(f"{path}: no such file or folder")
    return sources


def _in_folder(folder: Path) -> list[Source]:
    from vqspeech.corpus.folder import BROKEN, recordings

    skipped: list[Skipped] = []
    paths = list(recordings(folder, skipped))
    # A link to nowhere is a recording that is missing, not something else.
    paths += [entry.path for entry in skipped if entry.reason == BROKEN]
    found = [Source(path, path.relative_to(folder)) for path in paths]
    reasons = Counter(entry.reason for entry in skipped if entry.reason != BROKEN)
    left_out = ", ".join(f"{count} ({reason})" for reason, count in reasons.most_common())
    if not found:
        raise ConfigurationError(
            f"{folder}: no sound file in this folder{f'; left out: {left_out}' if left_out else ''}"
        )
    if left_out:
        log.warning("%s: left out: %s", folder, left_out)
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


def out_file(out: str | None, suffixes: Collection[str], count: int) -> Path | None:
    """Decide whether ``--out`` names a file.

    Parameters
    ----------
    out : str or None
        What ``--out`` said.
    suffixes : collection of str
        Of the formats that can be written.
    count : int
        How many files there will be.

    Returns
    -------
    Path or None
        None where it is a folder.

    Raises
    ------
    ConfigurationError
        When the format cannot be written, the place is not usable, or `count` is not 1.
    """
    if out is None or out.endswith(("/", os.sep)) or (place := Path(out)).is_dir():
        return None
    known = {suffix.lower() for suffix in suffixes}
    suffix = place.suffix.lower()
    if suffix not in known:
        if suffix in _OTHER_SUFFIXES | UNREAD_SUFFIXES:
            raise ConfigurationError(
                f"--out {place}: cannot write {suffix}; choose {', '.join(suffixes)}, or end the"
                " name of a folder with /"
            )
        return None
    if count != 1:
        raise ConfigurationError(f"--out {place} is one file for {count} results: name a folder")
    check_folder(place.parent)
    return place


def sound_outputs(
    stems: Sequence[Path],
    speakers: Sequence[str],
    out: str | None,
    failures: "Failures",
    *,
    force: bool,
    sources: Iterable[Path] = (),
) -> list[Path | None]:
    """Decide where the sound goes, for every stem and every speaker in turn.

    Parameters
    ----------
    stems : sequence of Path
        Place of each recording below the output folder, without suffix.
    speakers : sequence of str
        Names; they go into the names of the files.
    out : str or None
        What ``--out`` said.
    failures : Failures
        Gets the reason why an output cannot be written.
    force, sources
        See `refused`.

    Returns
    -------
    list of Path or None
        ``len(stems) * len(speakers)``, none outside the folder; None in place of an output that cannot be written, and
        for ``--out -`` `STANDARD_OUTPUT`.

    Raises
    ------
    ConfigurationError
        When one file is named for several outputs, its format is unknown, or a name leads outside the folder; when
        standard output would get several recordings or is a terminal.
    """
    from vqspeech.audio import SUFFIXES

    count = len(stems) * len(speakers)
    if out != "-":
        if file := out_file(out, SUFFIXES, count):
            return usable([file], failures, force=force, sources=sources)
        place = Path(out) if out is not None else Path()
        check_folder(place)
        outputs = [inside(place, f"{stem}-{who}.wav") for stem in stems for who in speakers]
        return usable(outputs, failures, force=force, sources=sources)
    if count != 1:
        raise ConfigurationError(f"--out - is one recording, not {count}: name a folder")
    require_standard_output()
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
    """Refuse, before any work, outputs that belong together and of which one cannot be written; see `refused`.

    Raises
    ------
    ConfigurationError
        Naming the first such output.
    """
    for reason in refused(outputs, force=force, sources=sources).values():
        raise ConfigurationError(reason)


def usable(
    outputs: Sequence[Path], failures: "Failures", *, force: bool, sources: Iterable[Path] = ()
) -> list[Path | None]:
    """Return the outputs with None for each that cannot be written, whose reason goes to `failures`; see `refused`."""
    reasons = refused(outputs, force=force, sources=sources)
    for path in outputs:
        if path in reasons:
            failures.add(ConfigurationError(reasons[path]))
    return [None if path in reasons else path for path in outputs]


def refused(
    outputs: Sequence[Path], *, force: bool, sources: Iterable[Path] = ()
) -> dict[Path, str]:
    """Find, before any work, the outputs that cannot be written.

    Parameters
    ----------
    outputs : sequence of Path
        Files to be written.
    force : bool
        Whether files that are there may be replaced.
    sources : iterable of Path
        What is read, and never replaced.

    Returns
    -------
    dict of Path to str
        Why: it would replace a source, another output, or, without `force`, anything; it is a folder; its name is
        too long; its folder cannot be made or written to.
    """
    kept = {_real(path) for path in sources}
    reasons: dict[Path, str] = {}
    seen: dict[Path, Path] = {}
    folders: dict[Path, str] = {}
    for path in outputs:
        place = _real(path)
        if path.parent not in folders:
            folders[path.parent] = _why_not_in(path.parent)
        if why := _why_not_named(path) or folders[path.parent]:
            reasons[path] = why
        elif place in kept:
            reasons[path] = f"{path} is itself a source: choose another --out"
        elif place in seen:
            text = f"two outputs would both be {path}: give their sources in separate runs"
            reasons[path] = reasons[seen[place]] = text
        elif path.is_dir():
            reasons[path] = f"{path} is a folder: choose another --out"
        elif os.path.lexists(path) and not force:
            reasons[path] = f"{path} exists: it is kept unless you say --force"
        seen.setdefault(place, path)
    return reasons


def _why_not_in(folder: Path) -> str:
    """Say why nothing can be written in a folder, or nothing."""
    try:
        check_folder(folder)
    except ConfigurationError as error:
        return str(error)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return ""


def _why_not_named(path: Path) -> str:
    """Say why the file system takes no such name, or nothing."""
    standing = path.parent
    while not os.path.isdir(standing) and standing != standing.parent:  # noqa: PTH112
        standing = standing.parent
    try:
        longest, whole = os.pathconf(standing, "PC_NAME_MAX"), os.pathconf(standing, "PC_PATH_MAX")
    except OSError:
        return ""
    for part in path.parts[len(standing.parts) :]:
        if (size := len(os.fsencode(part))) > longest:
            return f"{path}: the name is too long ({size} bytes of {longest} possible)"
    if len(os.fsencode(path)) >= whole:
        return f"{path}: the path is too long ({whole - 1} bytes are possible)"
    return ""


@dataclass
class Failures:
    """What went wrong with single files while the others went on.

    Attributes
    ----------
    attempted : int
        Files that were asked for.
    lines : list of str
        What went wrong.
    failed : int
        How many of the files that concerns.
    """

    attempted: int
    lines: list[str] = field(default_factory=list)
    failed: int = 0

    def add(self, error: VqspeechError | OSError, files: int = 1) -> None:
        """Keep the one line of `error`, for which so many files are not there."""
        text = str(error)
        if isinstance(error, OSError):
            text = f"{error.filename or 'output'}: cannot be written ({error.strerror or error})"
        self.lines.append(text)
        self.failed += files

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
            f"{self.failed} of {self.attempted} files were not {task}; they are listed above"
        )
