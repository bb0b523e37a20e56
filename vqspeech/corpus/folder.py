"""Any folder of recordings, one sub-folder per speaker.

``speaker/utterance.wav`` (or flac, ogg, opus, mp3), with an optional text and phone times of the same name beside it
(`vqspeech.corpus.beside`). Deeper folders are searched too; the utterance is then named by its whole path below the
speaker's folder, joined with ``-``. Names that start with a dot are ignored.

Trees of LibriSpeech and LibriTTS (``READER/CHAPTER/READER-CHAPTER-NUMBER.flac``) and of TIMIT (``DR1/FCJF0/SA1.WAV``)
are recognised by the names of their files and folders, from any level.
"""

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from vqspeech import audio
from vqspeech.audio.header import UNREAD_SUFFIXES
from vqspeech.corpus.beside import Folders, look_beside
from vqspeech.corpus.manifest import Listing, Skipped, Utterance

BROKEN = "a broken link"
"""Reason for skipping a broken link."""

_FEW_SPEAKERS = 3

_log = logging.getLogger("vqspeech")


def list_folder(root: Path) -> Listing:
    """List the recordings below `root`.

    Parameters
    ----------
    root : Path
        A folder with one folder per speaker.

    Returns
    -------
    Listing
        In order of name. Skipped are: recordings outside any speaker's folder, second recordings of the same name,
        broken links, link loops, other formats, and texts that are not UTF-8.
    """
    root = Path(root)
    name = root.resolve().name or "folder"
    listing = Listing(f"folder of speakers {root}", root)
    seen: set[tuple[str, str]] = set()
    deeper: dict[str, set[str]] = defaultdict(set)
    folders = Folders()
    for path in recordings(root, listing.skipped):
        inside = path.relative_to(root).parts
        if known := of_known_corpus(path):
            speaker, utterance = known
        elif len(inside) < 2:
            listing.skipped.append(Skipped(path, "not inside a speaker's folder"))
            continue
        else:
            speaker, utterance = inside[0], "-".join((*inside[1:-1], path.stem))
            deeper[speaker].add("/".join(inside[1:-1]))
        if (speaker, utterance) in seen:
            listing.skipped.append(Skipped(path, f"{speaker} has another recording {utterance}"))
            continue
        seen.add((speaker, utterance))
        labels, text, _ = look_beside(path, listing.skipped, folders)
        listing.utterances.append(Utterance(name, speaker, utterance, path, "", labels, text))
    _warn_of_levels(root, deeper)
    return listing


def of_known_corpus(path: Path) -> tuple[str, str] | None:
    """Return speaker and utterance where the names are those of LibriSpeech, LibriTTS or TIMIT."""
    *_, upper, lower, _ = ("", "", *path.absolute().parts)
    if upper.isdigit() and lower.isdigit() and re.match(f"{upper}[-_]{lower}[-_]", path.stem):
        return upper, path.stem
    if re.fullmatch(r"dr[1-8]", upper.lower()) and re.fullmatch(r"[fm]\w{3,5}", lower.lower()):
        return lower, path.stem
    return None


def _warn_of_levels(root: Path, deeper: dict[str, set[str]]) -> None:
    """Warn where few speakers are found but the folders below look like the speakers."""
    folders = [folder for found in deeper.values() for folder in sorted(found)]
    if not 0 < len(deeper) <= _FEW_SPEAKERS or "" in folders or len(folders) < 2 * len(deeper):
        return
    speaker, found = next(iter(deeper.items()))
    place = Path(speaker, min(found)).parent
    _log.warning(
        "%s: taken for %d speaker%s (%s), whose recordings lie in %d folders below; if those are the speakers, give"
        " the folder they are in, such as %s",
        root,
        len(deeper),
        "s" if len(deeper) > 1 else "",
        ", ".join(deeper),
        len(folders),
        root / place,
    )


def recordings(root: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Find the sound files below a folder, for every command that takes one.

    Parameters
    ----------
    root : Path
        The folder. Links are followed, except to a folder above; names that start with a dot are ignored.
    skipped : list of Skipped
        Receives loops, broken links, folders that cannot be read, and other formats.

    Yields
    ------
    Path
        In order of name, a folder's own files and folders together.
    """

    def walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            skipped.append(Skipped(folder, f"the folder cannot be read ({error.strerror})"))
            return
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            # By the path: the entry raises for a link to itself.
            if path.is_dir():
                status = path.stat()
                identity = (status.st_dev, status.st_ino)
                if identity in above:
                    skipped.append(Skipped(path, "a link to a folder above it"))
                else:
                    yield from walk(path, above | {identity})
            elif path.suffix.lower() in audio.SUFFIXES:
                if path.is_file():
                    yield path
                else:
                    reason = BROKEN if path.is_symlink() else "not a plain file"
                    skipped.append(Skipped(path, reason))
            elif (suffix := path.suffix.lower()) in UNREAD_SUFFIXES:
                skipped.append(Skipped(path, f"{suffix} is not read; convert it to wav or flac"))

    status = root.stat()
    yield from walk(root, frozenset({(status.st_dev, status.st_ino)}))


def speaker_of(path: Path, inside: tuple[str, ...]) -> str:
    """Return who speaks: of a corpus whose names are known, else the first folder."""
    if known := of_known_corpus(path):
        return known[0]
    return inside[0] if len(inside) > 1 else ""
