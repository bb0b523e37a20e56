"""The JSON index of a folder of data, written last: what the folder is, a version, and values of known kinds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqspeech.errors import CorpusError


def read_index(
    path: Path, what: str, named: tuple[str, int], kinds: Mapping[type, str], again: str
) -> dict[str, Any]:
    """Read the index of a folder and check that it has every key with its kind of value.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        The folder in words, for example ``"store of codes"``.
    named : tuple of str and int
        Name and version of the format.
    kinds : mapping of type to str
        Keys, with spaces between them, by the type of their values.
    again : str
        What helps where the folder is not whole.

    Raises
    ------
    CorpusError
        The file is missing or damaged, or of another format or version.
    """
    name, version = named
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CorpusError(
            f"{path.parent}: not a finished {what} ({path.name}: {error.strerror}); {again}"
        ) from None
    except ValueError:
        raise CorpusError(f"{path}: not JSON; {again}") from None
    if not isinstance(index, dict) or index.get("format") != name:
        raise CorpusError(f"{path}: not the index of a {what} (format {name!r} expected)")
    if index.get("version") != version:
        raise CorpusError(
            f"{path}: version {index.get('version')} found, this program reads {version}; {again}"
        )
    for kind, keys in kinds.items():
        for key in keys.split():
            if not isinstance(index.get(key), kind):
                raise CorpusError(
                    f"{path}: {key} is {index.get(key)!r}, expected {kind.__name__}; {again}"
                )
    return index
