"""Any folder of recordings, one sub-folder per speaker.

``speaker/utterance.wav`` (or flac, ogg, opus, mp3), with an optional ``.txt`` (what is said) and
``.lab``, ``.TextGrid`` or ``.ctm`` (phone times) of the same name beside it. Deeper folders are looked into;
the utterance is then named by its whole path below the speaker's folder, joined with ``-``. Names
that start with a dot are passed over.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from vqspeech import audio
from vqspeech.corpus.manifest import Listing, Skipped, Utterance
from vqspeech.soundheader import UNREAD_SUFFIXES

BROKEN = "a broken link"
"""Reason of a recording that is a link to nowhere."""

LABEL_SUFFIXES = (".lab", ".TextGrid", ".ctm")


def list_folder(root: Path) -> Listing:
    """List the recordings below `root`.

    Parameters
    ----------
    root : Path
        A folder of speakers' folders.

    Returns
    -------
    Listing
        In the order of the names. Skipped are: recordings outside any speaker's folder, second
        recordings of the same name, broken links, folders linked in a loop, and texts that are not
        UTF-8.
    """
    root = Path(root)
    name = root.resolve().name or "folder"
    listing = Listing(f"folder of speakers {root}", root)
    seen: set[tuple[str, str]] = set()
    for path in recordings(root, listing.skipped):
        inside = path.relative_to(root).parts
        if len(inside) < 2:
            listing.skipped.append(Skipped(path, "not inside a speaker's folder"))
            continue
        speaker, utterance = inside[0], "-".join((*inside[1:-1], path.stem))
        if (speaker, utterance) in seen:
            listing.skipped.append(Skipped(path, f"{speaker} has another recording {utterance}"))
            continue
        seen.add((speaker, utterance))
        text = read_text(path.with_suffix(".txt"), listing.skipped)
        labels = (path.with_suffix(suffix) for suffix in LABEL_SUFFIXES)
        label = next((candidate for candidate in labels if candidate.is_file()), None)
        listing.utterances.append(Utterance(name, speaker, utterance, path, "", label, text))
    return listing


def read_text(path: Path, skipped: list[Skipped]) -> str:
    """Read what an utterance's text file says, on one line.

    Parameters
    ----------
    path : Path
        The file, which may be absent.
    skipped : list of Skipped
        A file that cannot be read as UTF-8 is added here.

    Returns
    -------
    str
        Empty without a readable file.
    """
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        skipped.append(Skipped(path, "the text is not UTF-8; the recording is used without it"))
    except OSError as error:
        skipped.append(Skipped(path, f"the text cannot be read ({error.strerror})"))
    return ""


def recordings(root: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Find the sound files below a folder, as every command does that is given one.

    Parameters
    ----------
    root : Path
        The folder. Links are followed, but not to a folder above; names that start with a dot are passed over.
    skipped : list of Skipped
        What is left out is added here: loops and broken links, folders that cannot be read, formats that are not.

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
            # Asked of the path, not of the entry, whose answer to a link to itself is an exception.
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
