"""Text and phone times beside a recording, under the names of common tools, in any case.

==================  ================================================================================
phone times         ``.lab`` (HTK, HTS, Festival), ``.TextGrid`` (Praat, Montreal Forced Aligner, WebMAUS),
                    ``.eaf`` (ELAN), ``.phn`` (TIMIT), ``.ctm`` (NIST, Kaldi): the first that exists
text                ``.txt`` (of TIMIT without the two numbers in front), ``.normalized.txt`` (LibriTTS), a
                    ``.lab`` with words and no times (Montreal Forced Aligner), a line of
                    ``READER-CHAPTER.trans.txt`` (LibriSpeech)
==================  ================================================================================
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from vqspeech.corpus.manifest import Skipped

LABEL_SUFFIXES = (".lab", ".textgrid", ".eaf", ".phn", ".ctm")
"""Suffixes in lower case, in order of preference."""

_TWO_NUMBERS = re.compile(r"\s*[\d.]+(?:[eE][-+]?\d+)?\s+-?[\d.]+\s")


class Beside(NamedTuple):
    """Files found beside a recording.

    Attributes
    ----------
    labels : Path or None
        A file of phone times.
    text : str
        The transcript, or empty.
    text_file : Path or None
        Source of the text.
    """

    labels: Path | None
    text: str
    text_file: Path | None


class Folders:
    """Names of files by folder, read on first use."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._names: dict[str, Path] = {}

    def find(self, path: Path, suffix: str) -> Path | None:
        """Return the file beside `path` with its name and another suffix, both in any case."""
        exact = path.with_suffix(suffix)
        if path.parent != self._folder:
            self._folder, self._names = path.parent, _names_in(path.parent)
        found = self._names.get(exact.name.lower())
        return exact if found is not None and exact.is_file() else found


def look_beside(path: Path, skipped: list[Skipped], folders: Folders | None = None) -> Beside:
    """Find the text and phone times of the recording `path`.

    A text that cannot be read is added to `skipped`. `folders`, kept between recordings, reads each folder once.
    """
    folders = folders or Folders()
    found = {suffix: folders.find(path, suffix) for suffix in LABEL_SUFFIXES}
    words = found[".lab"]
    if words is not None and is_transcript(words):
        found[".lab"] = None
    else:
        words = None
    labels = next((place for place in found.values() if place is not None), None)
    named = folders.find(path, ".txt") or folders.find(path, ".normalized.txt") or words
    if named is not None:
        text = read_text(named, skipped)
        if found[".phn"] is not None:
            text = re.sub(r"^\d+ \d+ ", "", text)
        return Beside(labels, text, named)
    chapter = path.with_name(f"{path.stem.rpartition('-')[0]}.trans.txt")
    for line in _lines(chapter):
        name, _, text = line.partition(" ")
        if name == path.stem:
            return Beside(labels, " ".join(text.split()), chapter)
    return Beside(labels, "", None)


def is_transcript(path: Path) -> bool:
    """Whether a ``.lab`` file holds words, as the Montreal Forced Aligner takes them, and no times."""
    try:
        with path.open("rb") as file:
            lines = [line.strip() for line in file.read(4096).decode("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError):
        return False
    lines = [line for line in lines if line]
    # Festival's header ends with a line '#'.
    return bool(lines) and not _TWO_NUMBERS.match(lines[0]) and "#" not in lines


def read_text(path: Path, skipped: list[Skipped]) -> str:
    """Return a transcript file's text on one line; empty if it is missing, or not UTF-8: then added to `skipped`."""
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        skipped.append(Skipped(path, "the text is not UTF-8; the recording is used without it"))
    except OSError as error:
        skipped.append(Skipped(path, f"the text cannot be read ({error.strerror})"))
    return ""


def _names_in(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by their names in lower case."""
    try:
        return {
            name.lower(): folder / name
            for name in sorted(os.listdir(folder))  # noqa: PTH208
            if not name.startswith(".")
        }
    except OSError:
        return {}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
