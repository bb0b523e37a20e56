"""From a listing to a packed store: in parallel, in parts, so that a killed run can be resumed.

The utterances are cut into parts of equal count. Each worker process reads, trims and packs one part at a time into
``out/parts``, atomically. When all parts exist they are joined to `store.AUDIO`, the tables are written, `store.INDEX`
last, and the parts are removed. The bytes do not depend on workers, kills or the time of day.
"""

import hashlib
import io
import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vqspeech import audio
from vqspeech.corpus import containers, mini, sources, store, vctk
from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.manifest import (
    DIGEST_DIGITS,
    Listing,
    Skipped,
    Utterance,
    printable,
    read_manifest,
    split_listing,
    write_table,
)
from vqspeech.corpus.parts import Part, pack_all
from vqspeech.errors import CorpusError
from vqspeech.jobs.atomic import write_file
from vqspeech.jobs.lock import only_run
from vqspeech.jobs.progress import Progress

PARTS = "parts"
UTTERANCES_PER_PART = 32


def find_corpus(path: Path, mic: str = "mic1") -> Listing:
    """Recognise the kind of corpus at `path`, and list it.

    Parameters
    ----------
    path : Path
        A manifest (``.tsv``; of Lhotse ``.jsonl`` or ``.jsonl.gz``; Parquet with a column of paths), a WebDataset tar,
        or a folder: with a ``manifest.tsv``, the miniature corpus, a VCTK tree, speakers' folders, Lhotse Shar, or
        tars; tried in this order.
    mic : {"mic1", "mic2"}
        The microphone, for VCTK 0.92.

    Returns
    -------
    Listing

    Raises
    ------
    CorpusError
        If it is none of these, or a prepared store; or from the listing function.
    """
    path = Path(path)
    if path.is_file():
        if path.suffix.lower() == ".tsv":
            return read_manifest(path)
        if path.name.lower().endswith((".jsonl", ".jsonl.gz", ".parquet")):
            return sources.list_files(path)
        if path.suffix.lower() == ".tar":
            return containers.list_tars([path])
        raise CorpusError(
            f"{path}: neither a folder nor a tar nor a manifest (.tsv, Lhotse .jsonl or .jsonl.gz, .parquet)"
        )
    if not path.is_dir():
        raise CorpusError(f"{path}: no such folder or manifest")
    if (path / store.INDEX).is_file():
        raise CorpusError(f"{path}: a prepared store already; use it as it is")
    if (path / store.MANIFEST).is_file():
        return read_manifest(path / store.MANIFEST)
    if (path / mini.MARKER).is_file():
        return mini.list_mini(path)
    if vctk.find_layout(path):
        return vctk.list_vctk(path, mic)
    listing = list_folder(path)
    if listing.utterances:
        return listing
    if found := containers.find_containers(path):
        return found
    raise CorpusError(
        f"{path}: no manifest.tsv, no VCTK tree (wav48, wav48_silence_trimmed), "
        f"no speaker/utterance{audio.SUFFIXES[0]}, no tar"
    )


def prepare(
    listing: Listing,
    out: Path,
    *,
    sample_rate: int = 16000,
    top_db: float | None = 40.0,
    workers: int = 2,
    progress: bool = True,
    force: bool = False,
    in_place: bool = False,
) -> Path:
    """Pack a corpus into a store that training reads without loading it.

    Recordings are converted to mono 16-bit at `sample_rate`. Silence at the edges is trimmed (a margin of 0.1 s stays),
    pauses inside are kept. Unreadable recordings are skipped and listed. A killed call is resumed from its finished
    parts; a finished store of the same sources and settings is returned at once.

    Parameters
    ----------
    listing : Listing
        Utterances to pack; those without a split get one.
    out : Path
        The store's folder, made if needed.
    sample_rate : int, default=16000
        Hz.
    top_db : float or None, default=40.0
        Edges whose level is this much below the loudest 25 ms are trimmed; None keeps them.
    workers : int, default=2
        Processes; 0 or 1 works in this one.
    progress : bool, default=True
        Show progress on standard error.
    force : bool, default=False
        Replace a store of other sources or settings.
    in_place : bool, default=False
        Write no samples: the store reads them from the recordings, which must stay as and where they are.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    CorpusError
        If `out` is another store and `force` is false, has other content, cannot be written or lacks the room, if no
        utterance can be read, or a worker dies.
    """
    out = Path(out)
    listing = split_listing(_nameable(listing))
    if not listing.utterances:
        raise CorpusError(f"{listing.root}: no utterance that can be used in {listing.kind}")
    plan = _fingerprint(listing, sample_rate, top_db, in_place)
    if (out / store.INDEX).is_file():
        if _stated_plan(out) == plan:
            shutil.rmtree(out / PARTS, ignore_errors=True)
            return out
        if not force:
            raise CorpusError(
                f"{out}: holds a store of other sources or settings; name another folder, or --force"
            )
    try:
        with only_run(out):
            parts = _start(listing, out, plan, sample_rate, top_db, in_place)
            _work(parts, workers, progress)
            _join(listing, parts, out, plan, sample_rate, in_place)
            shutil.rmtree(out / PARTS)
    except OSError as error:
        raise CorpusError(f"{out}: cannot be written ({error.strerror or error})") from None
    return out


def _start(
    listing: Listing,
    out: Path,
    plan: str,
    sample_rate: int,
    top_db: float | None,
    in_place: bool,
) -> list[Part]:
    """Make or reuse the folder of parts, and return the parts."""
    folder = out / PARTS
    stated = folder / "plan"
    if out.is_dir() and not stated.is_file() and not (out / store.INDEX).is_file():
        foreign = [path.name for path in out.iterdir() if path.name != PARTS]
        if foreign:
            raise CorpusError(f"{out}: holds other files ({foreign[0]}, ...); name a new folder")
    if not stated.is_file() or stated.read_text(encoding="utf-8") != plan:
        # The index goes first: from here on the old store is incomplete.
        (out / store.INDEX).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stated.write_text(plan, encoding="utf-8")
    sources = [(utterance.path, utterance.extent) for utterance in listing.utterances]
    return [
        Part(
            folder / f"{first // UTTERANCES_PER_PART:06d}.i16",
            tuple(sources[first : first + UTTERANCES_PER_PART]),
            sample_rate,
            top_db,
            in_place,
        )
        for first in range(0, len(sources), UTTERANCES_PER_PART)
    ]


def _work(parts: Sequence[Part], workers: int, progress: bool) -> None:
    """Pack every missing part."""
    missing = [part for part in parts if not part.path.with_suffix(".json").is_file()]
    total = sum(len(part.sources) for part in parts)
    stream = None if progress else io.StringIO()
    with Progress(total, "utterances", "prepare", stream=stream) as bar:
        bar.update(total - sum(len(part.sources) for part in missing))
        for count in pack_all(missing, min(workers, len(missing))):
            bar.update(count)


def _join(
    listing: Listing,
    parts: Sequence[Part],
    out: Path,
    plan: str,
    sample_rate: int,
    in_place: bool,
) -> None:
    """Join the parts and write the tables, the index last."""
    described = [
        json.loads(part.path.with_suffix(".json").read_text(encoding="utf-8")) for part in parts
    ]
    found = [row for rows in described for row in rows]
    skipped = list(listing.skipped)
    rows: list[tuple[object, ...]] = []
    warned: list[Skipped] = []
    repeated = _repeated(listing, found)
    offset = 0
    for utterance, row in zip(listing.utterances, found, strict=True):
        if reason := row.get("reason") or repeated.get(utterance):
            skipped.append(Skipped(utterance.path, reason))
            continue
        warned += [Skipped(utterance.path, text) for text in row.get("warnings", [])]
        of_utterance = _row(utterance, row, listing.root, offset, sample_rate)
        rows.append(of_utterance + (_place(utterance, row, listing.root) if in_place else ()))
        offset += row["samples"]
    _write_list(out / store.SKIPPED, skipped)
    (out / store.WARNED).unlink(missing_ok=True)
    if warned:
        _write_list(out / store.WARNED, warned)
    if not rows:
        raise CorpusError(
            f"{listing.root}: none of {len(found)} recordings can be read; "
            f"{out / store.SKIPPED} says why (first: {found[0]['reason']})"
        )
    if in_place:
        (out / store.AUDIO).unlink(missing_ok=True)
    else:
        kept = [utterance not in repeated for utterance in listing.utterances]
        _join_samples(parts, described, kept, out)
    columns = (*store.COLUMNS, *store.PLACES) if in_place else store.COLUMNS
    write_table(out / store.MANIFEST, columns, rows)
    index = {
        "format": store.FORMAT,
        "version": store.VERSION,
        "sample_rate": sample_rate,
        "samples": offset,
        "utterances": len(rows),
        "root": str(listing.root.resolve()),
        "corpus": listing.kind,
        "manifest_sha256": hashlib.sha256((out / store.MANIFEST).read_bytes()).hexdigest(),
        "plan_sha256": plan,
        **({"in_place": True} if in_place else {}),
    }
    text = json.dumps(index, ensure_ascii=False, indent=1) + "\n"
    write_file(out / store.INDEX, text)


def _join_samples(
    parts: Sequence[Part],
    described: Sequence[Sequence[dict[str, Any]]],
    kept: Sequence[bool],
    out: Path,
) -> None:
    """Write the samples of the recordings that are kept, end to end."""
    rows = [row for packed in described for row in packed]
    needed = sum(2 * row.get("samples", 0) for row, keep in zip(rows, kept, strict=True) if keep)
    free = shutil.disk_usage(out).free
    if free < needed:
        raise CorpusError(f"{out}: {needed} bytes needed, {free} free on the disk")
    keep = iter(kept)
    temporary = out / f".{store.AUDIO}.partial"
    with temporary.open("wb") as file:
        for part, packed in zip(parts, described, strict=True):
            with part.path.open("rb") as source:
                for row in packed:
                    samples = source.read(2 * row.get("samples", 0))
                    if next(keep):
                        file.write(samples)
    temporary.replace(out / store.AUDIO)


def _write_list(path: Path, entries: Sequence[Skipped]) -> None:
    rows = [(printable(str(entry.path)), printable(entry.reason)) for entry in entries]
    write_table(path, ("path", "reason"), rows)


def _repeated(listing: Listing, found: Sequence[dict[str, Any]]) -> dict[Utterance, str]:
    """Find recordings whose sound is in another split too; the evaluation split keeps it."""
    order = {"test": 0, "valid": 1, "train": 2}
    alike: dict[str, list[Utterance]] = defaultdict(list)
    for utterance, row in zip(listing.utterances, found, strict=True):
        if digest := row.get("sha256"):
            alike[digest].append(utterance)
    reasons = {}
    for utterances in alike.values():
        first = min(utterances, key=lambda u: order[u.split])
        for u in utterances:
            if u.split != first.split:
                reasons[u] = f"the same sound as {first.path}, which is in the {first.split} split"
    return reasons


def _row(
    utterance: Utterance, row: dict[str, Any], root: Path, offset: int, sample_rate: int
) -> tuple[object, ...]:
    """Return a line of the store's manifest; rate is the source's, seconds are those kept."""
    return (
        utterance.corpus,
        utterance.speaker,
        utterance.utterance,
        _relative(utterance.path, root),
        row["rate"],
        f"{row['samples'] / sample_rate:.3f}",
        utterance.split,
        _relative(utterance.labels, root) if utterance.labels else "",
        " ".join(utterance.text.split()),
        offset,
        row["samples"],
        f"{row['start'] / sample_rate:.6f}",
    )


def _place(utterance: Utterance, row: dict[str, Any], root: Path) -> tuple[object, ...]:
    """Return what a line of the manifest of a store prepared in place has besides."""
    of = utterance.extent
    where = ("", 0, 0) if of is None else (_relative(of.file, root), of.begin, of.size)
    return (row["start"], row["sha256"][:DIGEST_DIGITS], *where)


def _relative(path: Path, root: Path) -> str:
    """Return a path below the root relative to it, any other absolute."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path.resolve())


def _nameable(listing: Listing) -> Listing:
    """Skip utterances whose names contain tabs or line breaks."""
    kept, skipped = [], list(listing.skipped)
    for u in listing.utterances:
        names = (u.corpus, u.speaker, u.utterance, str(u.path), str(u.labels or ""))
        if all(printable(name) == name for name in names):
            kept.append(u)
        else:
            skipped.append(Skipped(u.path, "a name with a tab, a line break or no valid UTF-8"))
    return Listing(listing.kind, listing.root, kept, skipped)


def _fingerprint(listing: Listing, sample_rate: int, top_db: float | None, in_place: bool) -> str:
    """Return a digest of everything that determines the store's bytes."""
    digest = hashlib.sha256(
        repr((store.VERSION, sample_rate, top_db, UTTERANCES_PER_PART)).encode()
    )
    if in_place:
        digest.update(b"in place")
    for u in listing.utterances:
        try:
            status = (u.extent.file if u.extent else u.path).stat()
            state = (status.st_size, status.st_mtime_ns)
        except OSError:
            state = (-1, -1)
        found = (u, state, u.extent) if u.extent else (u, state)
        digest.update(repr(found).encode("utf-8", "backslashreplace"))
    for s in listing.skipped:
        digest.update(repr(s).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _stated_plan(out: Path) -> str | None:
    """Return the digest of a finished store."""
    try:
        return json.loads((out / store.INDEX).read_text(encoding="utf-8"))["plan_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
