"""VCTK, the CSTR voice cloning corpus: listing a tree, and fetching one.

Two layouts are in circulation and recognised by their folders:

- 0.92: ``wav48_silence_trimmed/p225/p225_001_mic1.flac`` and ``_mic2``, ``txt/p225/p225_001.txt``
- 0.80: ``wav48/p225/p225_001.wav``, ``txt/p225/p225_001.txt``

Phone times may be in ``lab/p225/p225_001.lab``; the corpus itself has none. Known defects, each listed as `skipped`:

- p315 has no texts in 0.92, and a few utterances of others have none: without the text, a sentence that all speakers
  read cannot be kept out of the other splits. (A tree without any text at all is used; recordings numbered alike then
  share a split.)
- p280 has no second microphone, p362 only a part of his; so have a few utterances of others.
- p376_295 is bad in 0.80: in some copies a ``.raw`` file.
- Texts without a recording: each speaker read more than was kept.

Other files (logs, ``speaker-info.txt``) are ignored.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from vqspeech.corpus.beside import Folders, look_beside, read_text
from vqspeech.corpus.manifest import Listing, Skipped, Utterance
from vqspeech.errors import CorpusError

URL = "https://datashare.is.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip"
SHA256 = "f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c"

_FOLDER_092, _FOLDER_080 = "wav48_silence_trimmed", "wav48"
_BAD_080 = {"p376_295"}
_SOUNDS = re.compile(r"wav\d+(_.*)?$", re.IGNORECASE)


def find_layout(root: Path) -> tuple[Path, str] | None:
    """Find a VCTK tree up to two folders below or above `root`: the tree and ``"0.92"`` or ``"0.80"``, or None."""
    root = Path(root)
    below = _folders(root)
    around = [root, *below, *(deeper for folder in below for deeper in _folders(folder))]
    inside = root.absolute()
    around += [place.parent for place in (inside, inside.parent) if _SOUNDS.match(place.name)]
    for tree in around:
        if found := _sounds(tree):
            return tree, found[1]
    return None


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, in order."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        return [Path(e.path) for e in entries if e.is_dir() and not e.name.startswith(".")]
    except OSError:
        return []


def _sounds(tree: Path) -> tuple[Path, str] | None:
    """Return the folder of a tree that holds its recordings, whatever its case and rate, and the version."""
    folders = {folder.name.lower(): folder for folder in _folders(tree)}
    for name, version in ((_FOLDER_092, "0.92"), (_FOLDER_080, "0.80")):
        if name in folders:
            return folders[name], version
    # Copies at another rate, such as wav16; other corpora may have such a folder, but no texts beside it.
    for name, folder in folders.items():
        if "txt" in folders and _SOUNDS.match(name):
            first = next((path for speaker in _folders(folder) for path in speaker.iterdir()), None)
            mics = first is not None and first.stem.endswith(("_mic1", "_mic2"))
            return folder, "0.92" if mics else "0.80"
    return None


def list_vctk(root: Path, mic: str = "mic1") -> Listing:
    """List the recordings of a VCTK tree.

    Parameters
    ----------
    root : Path
        The tree, a folder up to two above it, or its folder of recordings; or a speaker's folder in that, for that
        speaker alone.
    mic : {"mic1", "mic2"}
        The microphone; 0.80 only has mic1.

    Returns
    -------
    Listing

    Raises
    ------
    CorpusError
        If there is no such tree, or it has no recordings of that microphone.
    """
    layout = find_layout(root)
    if layout is None:
        raise CorpusError(f"{root}: neither {_FOLDER_092} (0.92) nor {_FOLDER_080} (0.80) is in it")
    tree, version = layout
    if mic not in ("mic1", "mic2"):
        raise CorpusError(f"microphone {mic!r} is none of mic1, mic2")
    if version == "0.80" and mic != "mic1":
        raise CorpusError(f"{tree}: VCTK 0.80 has one microphone; leave {mic} out")
    skipped: list[Skipped] = []
    sounds, _ = _sounds(tree) or (tree, "")
    recordings = dict(
        _recordings_092(sounds, mic, skipped)
        if version == "0.92"
        else _recordings_080(sounds, skipped)
    )
    texts = {path.stem: path for path in _texts(tree)}
    utterances, folders = [], Folders()
    only = Path(root).absolute()
    for name, path in recordings.items():
        if only.parent == sounds.absolute() and not path.absolute().is_relative_to(only):
            continue
        speaker = path.parent.name
        text = read_text(texts[name], skipped) if name in texts else ""
        if texts and not text:
            skipped.append(
                Skipped(path, "no text: its sentence cannot be kept out of other splits")
            )
            continue
        labels = tree / "lab" / speaker / f"{name}.lab"
        # Aligners also leave their files beside the recordings.
        found = labels if labels.is_file() else look_beside(path, [], folders).labels
        utterances.append(Utterance("vctk", speaker, name, path, "", found, text))
    if not utterances:
        raise CorpusError(f"{tree}: VCTK {version} without any {mic} recording that can be used")
    known = {utterance.utterance for utterance in utterances} | {s.path.name for s in skipped}
    skipped += [
        Skipped(path, "a text without a recording")
        for name, path in texts.items()
        if only.parent != sounds.absolute()
        and not any(candidate in known for candidate in _names(name, mic))
    ]
    return Listing(f"VCTK {version}", tree, utterances, skipped)


def download(dest: Path) -> Path:
    """Fetch VCTK 0.92 (11 GB), check its SHA-256, and unpack it to ``dest/VCTK-Corpus-0.92``, which is returned.

    A broken download is resumed by the next call where the server supports that. The archive stays beside the tree.
    `CorpusError` if it cannot be fetched, is not the expected archive, or would write outside its folder.
    """
    from vqspeech.corpus.archive import extract, fetch

    dest = Path(dest)
    tree = dest / "VCTK-Corpus-0.92"
    if tree.is_dir():
        return tree
    return extract(fetch(URL, dest, SHA256), tree)


def _names(name: str, mic: str) -> tuple[str, ...]:
    """Return the possible names of a text's recording."""
    other = "mic2" if mic == "mic1" else "mic1"
    return (name, f"{name}_{mic}.flac", f"{name}_{other}.flac", f"{name}.wav", f"{name}.raw")


def _texts(tree: Path) -> list[Path]:
    """Return the files of texts of a tree, in order."""
    return [
        path
        for folder in _folders(tree)
        if folder.name.lower() == "txt"
        for path in sorted(folder.glob("*/*.[tT][xX][tT]"))
        if not path.name.startswith(".")
    ]


def _speakers(folder: Path, skipped: list[Skipped]) -> Iterator[tuple[str, list[Path]]]:
    """Yield each speaker's name and the files in that folder, in order."""
    for speaker in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            names = sorted(name for name in os.listdir(speaker) if not name.startswith("."))  # noqa: PTH208
            yield speaker.name, [speaker / name for name in names]
        except OSError as error:
            skipped.append(Skipped(speaker, f"the folder cannot be read ({error.strerror})"))


def _recordings_092(sounds: Path, mic: str, skipped: list[Skipped]) -> Iterator[tuple[str, Path]]:
    """Yield name and file of each recording of a microphone; skip those only the other one has."""
    for _, paths in _speakers(sounds, skipped):
        names = {path.name for path in paths}
        for path in paths:
            name, _, which = path.stem.rpartition("_")
            if path.suffix.lower() not in (".flac", ".wav") or which not in ("mic1", "mic2"):
                continue
            if which == mic:
                yield name, path
            elif f"{name}_{mic}{path.suffix}" not in names:
                skipped.append(Skipped(path, f"no {mic} recording"))


def _recordings_080(sounds: Path, skipped: list[Skipped]) -> Iterator[tuple[str, Path]]:
    """Yield name and file of each recording; skip the known bad ones."""
    for _, paths in _speakers(sounds, skipped):
        for path in paths:
            if path.stem in _BAD_080:
                skipped.append(Skipped(path, "known to be bad in VCTK 0.80"))
            elif path.suffix.lower() == ".wav":
                yield path.stem, path
            elif path.suffix.lower() == ".raw":
                skipped.append(Skipped(path, "a .raw file without a header"))
