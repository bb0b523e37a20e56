"""The codes of one recording with their metadata, as JSON, npz and TextGrid."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from vqspeech.errors import CodesError
from vqspeech.labels import textgrid

if TYPE_CHECKING:
    from vqspeech.models.autoencoder import Autoencoder

ID_DIGITS = 8
"""Hexadecimal digits kept of an id."""


@dataclass(frozen=True)
class CodesRecord:
    """The codes of one recording.

    Attributes
    ----------
    file : str
        The recording, as named by the user.
    codes : list of int
        One per frame, in [0, codebook_size).
    hop : int
        Samples per code.
    sample_rate : int
        Hz, of the model; `samples` and `hop` count at this rate.
    samples : int
        Length of the recording; ``len(codes) == ceil(samples / hop)``.
    codebook_size : int
        Number of different codes of the model.
    model : str
        The model, as named by the user.
    codebook : str
        First 8 digits of the id of its codebook; empty where unknown, as in older files.
    """

    file: str
    codes: list[int]
    hop: int
    sample_rate: int
    samples: int
    codebook_size: int
    model: str
    codebook: str = ""

    @classmethod
    def of(
        cls, model: "Autoencoder", codes: list[int], samples: int, file: str, name: str
    ) -> "CodesRecord":
        """Return the record of a recording of `samples` samples that `model` encoded; `file` and `name` name both."""
        return cls(
            file=file,
            codes=codes,
            hop=model.hop,
            sample_rate=model.sample_rate,
            samples=samples,
            codebook_size=model.codebook_size,
            model=name,
            codebook=(model.codebook_id or "")[:ID_DIGITS],
        )

    def to_json(self) -> str:
        """Return the record as one line of JSON, in ASCII."""
        return json.dumps(asdict(self))

    def to_npz(self) -> bytes:
        """Return the record as an npz archive of plain arrays, one for each field."""
        buffer = io.BytesIO()
        fields = asdict(self) | {"codes": np.asarray(self.codes, dtype=np.int64)}
        # A name from a system that is not UTF-8 has surrogates, which an array cannot store.
        fields |= {k: storable(v) for k, v in fields.items() if isinstance(v, str)}
        # numpy.savez takes arrays as keyword arguments, and has a parameter `file`.
        with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
            for key, value in fields.items():
                with archive.open(f"{key}.npy", "w") as entry:
                    np.lib.format.write_array(entry, np.asarray(value), allow_pickle=False)
        return buffer.getvalue()

    def to_textgrid(self) -> str:
        """Return a Praat TextGrid with one interval for each frame, labelled with its code."""
        intervals = [
            (
                frame * self.hop / self.sample_rate,
                min((frame + 1) * self.hop, self.samples) / self.sample_rate,
                str(code),
            )
            for frame, code in enumerate(self.codes)
        ]
        return textgrid.to_textgrid({"codes": intervals}, self.samples / self.sample_rate)

    def require_fit(self, model: "Autoencoder") -> None:
        """Raise `CodesError`, with the first property that differs, where the codes cannot be this model's."""
        for key in ("codebook_size", "hop", "sample_rate"):
            found, expected = getattr(self, key), getattr(model, key)
            if found != expected:
                raise CodesError(
                    f"codes of {self.file}: their {key} is {found}, this model's is {expected};"
                    f" use the model that made them ({self.model})"
                )
        own = (model.codebook_id or "")[:ID_DIGITS]
        if self.codebook not in ("", own):
            raise CodesError(
                f"codes of {self.file}: their codebook is {self.codebook}, this model's is {own};"
                f" use the model that made them ({self.model})"
            )


def storable(text: str) -> str:
    """Return a text in which what is no UTF-8, as in names from a system of another encoding, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def checked(fields: Any, name: str) -> CodesRecord:
    """Make a record of its fields by name; raise `CodesError`, `name` first, where one is missing or impossible."""
    if not isinstance(fields, Mapping):
        raise CodesError(f"{name}: found {type(fields).__name__}, expected an object with codes")
    # files from before codebooks had ids lack this field
    fields = {"codebook": "", **fields}
    for key, kind in CodesRecord.__annotations__.items():
        if key not in fields:
            raise CodesError(f"{name}: {key!r} is missing; expected what vqspeech codes writes")
        value = fields[key]
        if kind is int and not (_is_int(value) and value > 0):
            raise CodesError(f"{name}: {key} is {value!r}, expected a whole number above 0")
        if kind is str and not isinstance(value, str):
            raise CodesError(f"{name}: {key} is {value!r}, expected text")
    if not re.fullmatch(f"([0-9a-f]{{{ID_DIGITS}}})?", fields["codebook"]):
        raise CodesError(
            f"{name}: codebook is {fields['codebook']!r}, expected {ID_DIGITS} hexadecimal digits"
        )
    codes, size = fields["codes"], fields["codebook_size"]
    if not isinstance(codes, list) or not all(map(_is_int, codes)):
        raise CodesError(f"{name}: codes are not a list of whole numbers")
    if codes and not 0 <= min(codes) <= max(codes) < size:
        raise CodesError(
            f"{name}: codes range from {min(codes)} to {max(codes)}, expected 0 to {size - 1}"
        )
    frames = -(-fields["samples"] // fields["hop"])
    if len(codes) != frames:
        raise CodesError(
            f"{name}: {len(codes)} codes, expected {frames} for {fields['samples']} samples"
            f" at hop {fields['hop']}"
        )
    return CodesRecord(**{key: fields[key] for key in CodesRecord.__annotations__})


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
