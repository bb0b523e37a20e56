"""The end of a run: every shard is there, and tables of the whole are written."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqspeech.codes import km
from vqspeech.corpus.manifest import printable, write_table
from vqspeech.errors import VqspeechError
from vqspeech.jobs.atomic import write_file
from vqspeech.sharding.plan import FAILURES, JOINED, SHARDS, TOTAL, WARNED, Plan

_NAMED = 10


@dataclass(frozen=True)
class Total:
    """What a run made.

    Attributes
    ----------
    shards, utterances, failures, codes : int
        Counts.
    hours : float
        Of speech.
    """

    shards: int
    utterances: int
    failures: int
    codes: int
    hours: float


def finish(plan: Plan) -> Total:
    """Check that every shard is there and write ``failures.tsv``, ``warned.tsv`` and, last, ``total.json``.

    Of the format km the shards are joined too: ``codes.km``, ``codes.tsv`` and what belongs to them.

    Raises
    ------
    VqspeechError
        When shards are missing or damaged, with their numbers.
    """
    if missing := plan.missing():
        numbers = ", ".join(map(str, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
        raise VqspeechError(
            f"{plan.folder}: {len(missing)} of {len(plan.shards)} shards are not there ({numbers}); run again"
            " without --merge to make them"
        )
    _write_rows(plan, FAILURES, ("id", "path", "reason"), "failures")
    _write_rows(plan, WARNED, ("path", "warning"), "warned")
    if plan.settings.kind == "km":
        km.join(sorted((plan.folder / SHARDS).glob("*.km")), plan.folder / JOINED)
    utterances = failures = codes = 0
    seconds = 0.0
    for of in _markers(plan):
        utterances += of["utterances"]
        failures += len(of["failures"])
        codes += of["codes"]
        seconds += of["seconds"]
    total = Total(len(plan.shards), utterances, failures, codes, seconds / 3600)
    text = json.dumps({"settings": vars(plan.settings), **vars(total)}, indent=1) + "\n"
    write_file(plan.folder / TOTAL, text)
    return total


def _markers(plan: Plan) -> Iterator[dict[str, Any]]:
    for number in range(len(plan.shards)):
        yield json.loads(plan.marker(number).read_text(encoding="utf-8"))


def _write_rows(plan: Plan, name: str, columns: tuple[str, ...], key: str) -> None:
    """Write a table of what the markers have under a key; none where they have nothing."""
    path: Path = plan.folder / name
    path.unlink(missing_ok=True)
    if any(of[key] for of in _markers(plan)):
        rows = (row for of in _markers(plan) for row in of[key])
        write_table(path, columns, ([printable(field) for field in row] for row in rows))
