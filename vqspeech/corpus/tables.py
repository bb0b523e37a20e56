"""Manifests listed line by line: of this package, of fairseq, and of Lhotse."""

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from vqspeech.corpus.folder import speaker_of
from vqspeech.corpus.places import joined, opened, size_of
from vqspeech.corpus.units import BYTES_PER_SECOND, Unit, seconds_of
from vqspeech.errors import CorpusError


def list_tsv(path: str, split: str | None) -> Iterator[Unit]:
    """List a manifest line by line: that of this package, or fairseq's, whose first line is a folder."""
    with opened(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig") as file:
        try:
            columns = file.readline().rstrip("\r\n").split("\t")
            folder = path.rpartition("/")[0]
            if len(columns) == 1:
                yield from _list_fairseq(file, joined(folder, columns[0]), path)
                return
            if missing := [
                name for name in ("speaker", "utterance", "path") if name not in columns
            ]:
                raise CorpusError(
                    f"{path}: the first line lacks the columns {', '.join(missing)}, and is no folder either"
                )
            taken: set[int] = set()
            for number, line in enumerate(file, 2):
                fields = line.rstrip("\r\n").split("\t")
                if fields == [""]:
                    continue
                if len(fields) != len(columns):
                    raise CorpusError(
                        f"{path}, line {number}: {len(fields)} fields where the first line names {len(columns)}"
                    )
                row = dict(zip(columns, fields, strict=True))
                if split not in (None, row.get("split")):
                    continue
                name = f"{row['speaker']}/{row['utterance']}"
                if corpus := row.get("corpus"):
                    name = f"{corpus}/{name}"
                place = joined(folder, row["path"])
                # Numbers: the names of a large corpus do not fit into memory.
                if (key := hash(name)) in taken:
                    yield Unit(
                        "refused", place, reason=f"{name} is named a second time on line {number}"
                    )
                    continue
                taken.add(key)
                seconds = seconds_of(row.get("seconds"))
                yield Unit(
                    "file",
                    place,
                    name,
                    row["speaker"],
                    seconds or size_of(place) / BYTES_PER_SECOND,
                )
        except UnicodeDecodeError:
            raise CorpusError(f"{path}: not UTF-8 text") from None


def _list_fairseq(lines: Iterable[str], root: str, path: str) -> Iterator[Unit]:
    for number, line in enumerate(lines, 2):
        name, _, samples = line.rstrip("\r\n").partition("\t")
        if not samples.isdigit():
            raise CorpusError(f"{path}, line {number}: not a path and a number of samples")
        inside = PurePosixPath(name)
        speaker = speaker_of(Path(root, name), inside.parts)
        yield Unit(
            "file", joined(root, name), str(inside.with_suffix("")), speaker, int(samples) / 16000
        )


def list_lhotse(path: str) -> Iterator[Unit]:
    """List the cuts or recordings of a Lhotse manifest, line by line."""
    with opened(path) as binary:
        unpacked = gzip.GzipFile(fileobj=binary) if path.endswith(".gz") else binary
        with io.TextIOWrapper(unpacked, "utf-8") as file:
            number = 0
            try:
                for number, line in enumerate(file, 1):  # noqa: B007
                    if line.strip():
                        yield _of_lhotse(json.loads(line), path.rpartition("/")[0])
            except (
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
                EOFError,
                gzip.BadGzipFile,
            ) as error:
                what = " ".join(str(error).split()) or type(error).__name__
                raise CorpusError(
                    f"{path}, line {number}: not a cut or recording ({what})"
                ) from None


def _of_lhotse(fields: dict[str, Any], folder: str) -> Unit:
    name = fields["id"]
    kind = fields.get("type", "Recording")
    if kind not in ("MonoCut", "Recording"):
        return Unit("refused", name, name, reason=f"a {kind}; only cuts of one channel are read")
    cut = kind == "MonoCut"
    recording = fields["recording"] if cut else fields
    sources = recording["sources"]
    if len(sources) != 1 or sources[0]["type"] not in ("file", "url"):
        types = ", ".join(source["type"] for source in sources)
        return Unit("refused", name, name, reason=f"its recording is no single file ({types})")
    place = joined(folder, sources[0]["source"])
    if len(sources[0]["channels"]) != 1:
        return Unit("refused", place, name, reason="one channel of several; write it to a file")
    speakers = [s.get("speaker") for s in fields.get("supervisions", []) if s.get("speaker")]
    speaker = speakers[0] if speakers else ""
    whole_s = float(recording["duration"])
    start_s, seconds = float(fields.get("start", 0.0)), float(fields["duration"])
    if start_s == 0 and abs(seconds - whole_s) < 1 / recording["sampling_rate"]:
        return Unit("file", place, name, speaker, whole_s)
    return Unit("span", place, name, speaker, seconds, start_s=start_s)
