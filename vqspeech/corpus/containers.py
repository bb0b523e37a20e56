"""Recordings in tars: WebDataset tars and shards of Lhotse Shar, listed as a corpus in place, or read one by one.

A tar is not compressed, so that each recording is some bytes of it in a row. Beside a recording ``KEY.flac`` of a
WebDataset tar ``KEY.json`` names ``speaker``, and if known ``text`` and ``split``, or ``KEY.txt`` the text; of Shar
the cuts do.
"""

import gzip
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vqspeech import audio
from vqspeech.corpus.manifest import SPLITS, Extent, Listing, Skipped, Utterance
from vqspeech.corpus.places import opened
from vqspeech.corpus.units import Sound, sound_of_bytes
from vqspeech.errors import ConfigurationError, CorpusError

SPEAKER_KEYS = ("speaker", "speaker_id")
"""Fields of a recording's description that name who speaks."""


class _Member(NamedTuple):
    """A recording of a tar, and what is said of it."""

    key: str
    name: str
    extent: Extent
    fields: dict[str, Any]


def find_containers(folder: Path) -> Listing | None:
    """List a folder of Lhotse Shar, or of tars; None where it is neither.

    Raises `CorpusError` as `list_tars` and `list_shar` do.
    """
    if cuts := sorted(path for path in folder.iterdir() if is_cuts(path.name)):
        return list_shar(cuts)
    tars = sorted(path for path in folder.iterdir() if path.name.lower().endswith(".tar"))
    return list_tars(tars) if tars else None


def is_cuts(name: str) -> bool:
    """Tell whether the name of a file is that of the cuts of a shard of Lhotse Shar."""
    return name.startswith("cuts.") and name.endswith((".jsonl", ".jsonl.gz"))


def list_tars(tars: list[Path]) -> Listing:
    """List WebDataset tars, at least one, as a corpus.

    Parameters
    ----------
    tars : list of Path
        Uncompressed, of one folder.

    Returns
    -------
    Listing
        Recordings without a speaker are skipped.

    Raises
    ------
    CorpusError
        A tar cannot be read, or is damaged.
    """
    members = (member for tar in tars for member in _recordings(tar))
    return _listing("WebDataset tars", tars[0].parent, members)


def list_shar(cuts: list[Path]) -> Listing:
    """List shards of Lhotse Shar, named by their cuts, at least one, as a corpus; see `list_tars`."""

    def members() -> Iterator[_Member]:
        for path in cuts:
            known = {cut["id"]: cut for cut in _cuts(path)}
            for member in _recordings(Path(recordings_of(str(path)))):
                # the manifest of the recording lies in the tar, too: its cut says more
                said = known.get(member.key, {}).get("supervisions", [{}])
                yield member._replace(fields={k: v for s in said for k, v in s.items() if v})

    return _listing("Lhotse Shar", cuts[0].parent, members())


def recordings_of(cuts: str) -> str:
    """Return the path of the tar with the recordings of a shard, by that of its cuts."""
    folder, slash, name = cuts.rpartition("/")
    number = name.removeprefix("cuts").removesuffix(".gz").removesuffix(".jsonl")
    return f"{folder}{slash}recording{number}.tar"


def _cuts(path: Path) -> list[dict[str, Any]]:
    try:
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        cuts = [json.loads(line) for line in text.decode("utf-8").splitlines() if line.strip()]
        if not all(isinstance(cut.get("id"), str) for cut in cuts):
            raise ValueError("a cut without an id")
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, EOFError, AttributeError) as error:
        raise CorpusError(f"{path}: not a file of cuts ({error})") from None
    return cuts


def _recordings(path: Path) -> Iterator[_Member]:
    """Find the recordings of a tar, with what the ``.json`` and ``.txt`` of the same key say."""
    found: list[_Member] = []
    fields: dict[str, Any] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                key, _, suffix = member.name.rpartition(".")
                if found and found[0].key != key:
                    yield from (of._replace(fields=fields) for of in found)
                    found, fields = [], {}
                if f".{suffix.lower()}" in audio.SUFFIXES:
                    extent = Extent(path, member.offset_data, member.size)
                    found.append(_Member(key, member.name, extent, {}))
                elif suffix in ("json", "txt"):
                    content = tar.extractfile(member).read()  # type: ignore[union-attr]
                    fields |= _said(content, suffix)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (tarfile.TarError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CorpusError(f"{path}: not a whole uncompressed tar ({reason})") from None
    yield from (of._replace(fields=fields) for of in found)


def _said(content: bytes, suffix: str) -> dict[str, Any]:
    try:
        text = content.decode("utf-8")
        found = {"text": text} if suffix == "txt" else json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _listing(kind: str, folder: Path, members: Iterator[_Member]) -> Listing:
    listing = Listing(f"{kind} in {folder.name}", folder)
    seen: set[tuple[str, str]] = set()
    for member in members:
        path = member.extent.file / member.name
        speaker = _speaker(member.fields)
        name = member.key.removeprefix(f"{speaker}/").replace("/", "-")
        reason = "" if speaker else "no speaker is named"
        if not reason and (speaker, name) in seen:
            reason = f"{speaker}/{name} a second time"
        if reason:
            listing.skipped.append(Skipped(path, reason))
            continue
        seen.add((speaker, name))
        text = " ".join(str(member.fields.get("text") or "").split())
        split = member.fields.get("split")
        split = split if split in SPLITS else ""
        listing.utterances.append(
            Utterance(folder.name, speaker, name, path, split, None, text, member.extent)
        )
    return listing


def sounds_of_tar(path: str) -> Iterator[Sound]:
    """Read the recordings of a WebDataset tar, a path or URL, one after the other.

    The ``.json`` of the same key may name the speaker.

    Raises
    ------
    CorpusError
        The tar is damaged: where the damage is come to.
    """
    key, speaker = "", ""
    waiting: list[Sound] = []
    with opened(path) as file:
        try:
            with tarfile.open(fileobj=file, mode="r|*") as tar:
                for member in tar:
                    if not member.isfile():
                        continue
                    folder, separator, last = member.name.rpartition("/")
                    stem, _, suffix = last.partition(".")
                    if folder + separator + stem != key:
                        yield from (sound._replace(speaker=speaker) for sound in waiting)
                        key, speaker, waiting = folder + separator + stem, "", []
                    if f".{suffix.rpartition('.')[2].lower()}" in audio.SUFFIXES:
                        content = tar.extractfile(member).read()  # type: ignore[union-attr]
                        name = f"{key}-{len(waiting)}" if waiting else key
                        waiting.append(sound_of_bytes(name, "", f"{path}/{member.name}", content))
                    elif suffix == "json":
                        speaker = _speaker(_said(tar.extractfile(member).read(), suffix))  # type: ignore[union-attr]
        except (tarfile.TarError, EOFError, ValueError) as error:
            yield from (sound._replace(speaker=speaker) for sound in waiting)
            reason = " ".join(str(error).split())
            raise CorpusError(
                f"{path}: the tar is damaged ({reason}); what follows is lost"
            ) from None
    yield from (sound._replace(speaker=speaker) for sound in waiting)


def _speaker(fields: dict[str, Any]) -> str:
    return next((str(value) for key in SPEAKER_KEYS if (value := fields.get(key))), "")


def sounds_of_shar(path: str) -> Iterator[Sound]:
    """Read the recordings of a shard of Lhotse Shar, named by its cuts, one after the other; see `sounds_of_tar`."""
    try:
        from lhotse import CutSet
    except ImportError:
        raise ConfigurationError(
            f"{path}: Lhotse Shar needs lhotse: pip install 'vqspeech[formats]'"
        ) from None
    tar = recordings_of(path)
    try:
        for cut in CutSet.from_shar({"cuts": [path], "recording": [tar]}):
            of = cut.recording.sources[0].source if cut.has_recording else b""
            speakers = [s.speaker for s in cut.supervisions if s.speaker]
            yield sound_of_bytes(cut.id, speakers[0] if speakers else "", f"{tar}/{cut.id}", of)
    except GeneratorExit:
        raise
    except Exception as error:
        # tarfile, gzip, json and lhotse raise a dozen types for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CorpusError(
            f"{path}: the shard is damaged ({reason}); what follows is lost"
        ) from None
