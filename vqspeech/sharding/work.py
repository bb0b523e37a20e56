"""Making one shard: its recordings are encoded one by one, and its files appear whole, the marker last."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech import audio
from vqspeech.codes import shards
from vqspeech.codes.entry import Entry
from vqspeech.codes.record import CodesRecord, storable
from vqspeech.corpus.sources import read_unit
from vqspeech.corpus.units import Sound
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.jobs.atomic import write_file
from vqspeech.sharding.plan import SHARDS, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from vqspeech.models.autoencoder import Autoencoder

Tell = Callable[[float, float], object]
"""Takes seconds of speech as planned, and as they were, after each unit."""


def encode_shard(
    model: "Autoencoder", plan: Plan, number: int, tell: Tell = lambda planned, found: None
) -> None:
    """Make a shard; a recording that cannot be read goes into the marker, with its reason.

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode.
    plan : Plan
        Of the run.
    number : int
        Of the shard.
    tell : callable, optional
        Takes seconds of speech as planned, and as they were, after each unit.

    Raises
    ------
    OSError
        When the files cannot be written.
    """
    entries: list[Entry] = []
    failures: list[tuple[str, str, str]] = []
    warned: list[tuple[str, str]] = []
    for unit in plan.units(number):
        seconds = 0.0
        try:
            for sound in read_unit(unit):
                try:
                    entry = _encode(model, plan, sound, warned)
                except VqspeechError as error:
                    failures.append(_failure(sound.id, sound.path, error))
                else:
                    entries.append(entry)
                    seconds += entry.record.samples / entry.record.sample_rate
        except ConfigurationError:
            raise
        except VqspeechError as error:
            failures.append(_failure(unit.id, unit.path, error))
        tell(unit.seconds, seconds)
    _write(plan, number, entries, failures, warned)


def _failure(name: str, path: str, error: VqspeechError) -> tuple[str, str, str]:
    return storable(name), storable(path), storable(str(error).removeprefix(f"{path}: "))


def _encode(model: "Autoencoder", plan: Plan, sound: Sound, warned: list[tuple[str, str]]) -> Entry:
    import torch

    samples = 0

    def counted() -> "Iterator[np.ndarray]":
        nonlocal samples
        for block in sound.blocks(model.sample_rate):
            samples += len(block)
            yield block

    with audio.warnings_kept() as warnings:
        codes = torch.cat(list(model.encode_blocks(counted())), -1)
    warned += [(storable(sound.path), text) for text in warnings]
    name = plan.settings.model
    record = CodesRecord.of(model, codes.tolist(), samples, storable(sound.path), name)
    return Entry(storable(sound.id), storable(sound.speaker), record, plan.settings.model_id)


def _write(
    plan: Plan,
    number: int,
    entries: list[Entry],
    failures: list[tuple[str, str, str]],
    warned: list[tuple[str, str]],
) -> None:
    """Write the files of a shard, each whole or not there, and then its marker."""
    folder = plan.folder / SHARDS
    folder.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".vqspeech-", dir=plan.folder))
    files: list[tuple[str, int]] = []
    try:
        if entries:
            shards.write(beside, number, entries, plan.settings.kind, unique=plan.settings.unique)
        for path in sorted(beside.iterdir()):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            files.append((path.name, path.stat().st_size))
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    found = {
        "shard": number,
        "utterances": len(entries),
        "seconds": sum(of.record.samples / of.record.sample_rate for of in entries),
        "codes": sum(len(of.record.codes) for of in entries),
        "files": files,
        "failures": failures,
        "warned": warned,
    }
    write_file(plan.marker(number), json.dumps(found) + "\n")
