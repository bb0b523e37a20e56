"""The codes of one utterance of a corpus, as shards of all formats keep them, and runs of equal codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vqspeech.codes.record import CodesRecord, checked, storable
from vqspeech.errors import CodesError


@dataclass(frozen=True)
class Entry:
    """The codes of one utterance of a corpus.

    Attributes
    ----------
    id : str
        Its name in the corpus, which no other utterance has.
    speaker : str
        Who speaks; empty where unknown.
    record : CodesRecord
        The codes; ``record.file`` is the path of the recording.
    model_id : str
        16 hexadecimal digits of the model file; empty where unknown.
    """

    id: str
    speaker: str
    record: CodesRecord
    model_id: str = ""

    def fields(self) -> dict[str, Any]:
        """Return what is kept of an utterance beside its codes, by name."""
        record = self.record
        return {
            "id": storable(self.id),
            "speaker": storable(self.speaker),
            "path": storable(record.file),
            "duration_s": record.samples / record.sample_rate,
            "code_rate_hz": record.sample_rate / record.hop,
            "samples": record.samples,
            "sample_rate": record.sample_rate,
            "hop": record.hop,
            "codebook_size": record.codebook_size,
            "codebook_id": record.codebook,
            "model": storable(record.model),
            "model_id": self.model_id,
        }


class Runs(NamedTuple):
    """Codes of which no two neighbours are equal, uint16, and how many frames each lasts, uint32."""

    codes: np.ndarray
    durations: np.ndarray

    def joined(self) -> np.ndarray:
        """Return the code of each frame, uint16."""
        return np.repeat(self.codes, self.durations)


def find_runs(codes: Sequence[int] | np.ndarray) -> Runs:
    """Return codes without repetition, and their durations in frames."""
    every = np.asarray(codes, np.uint16)
    changes = np.flatnonzero(every[1:] != every[:-1]) + 1
    first = np.concatenate([[0], changes]) if len(every) else changes
    return Runs(every[first], np.diff(first, append=len(every)).astype(np.uint32))


def entry_of(
    fields: dict[str, Any], codes: np.ndarray, durations: np.ndarray | None, where: str
) -> Entry:
    """Make an entry of the fields of an utterance and of its codes as a shard has them.

    Raises
    ------
    CodesError
        When a field is missing or they contradict one another; `where` names the utterance.
    """
    if durations is not None:
        if len(durations) != len(codes):
            raise CodesError(f"{where}: {len(codes)} codes with {len(durations)} durations")
        codes = Runs(codes, durations).joined()
    kept = {"file": "path", "codebook": "codebook_id"}
    record = {"codes": codes.tolist()}
    for name in CodesRecord.__annotations__:
        if name != "codes" and (key := kept.get(name, name)) in fields:
            record[name] = fields[key]
    found = checked(record, where)
    return Entry(
        str(fields.get("id") or found.file),
        str(fields.get("speaker") or ""),
        found,
        str(fields.get("model_id") or ""),
    )
