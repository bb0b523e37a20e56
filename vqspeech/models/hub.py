"""Models on the Hugging Face Hub: a repository ``owner/name`` holds ``model.safetensors``, a card, perhaps a prior.

Repositories are kept in the cache of huggingface_hub, which also knows who a person is there (``hf auth login``, or the
variable ``HF_TOKEN``) and where the Hub is (``HF_ENDPOINT``). What is in the cache needs no network.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from vqspeech.errors import ConfigurationError, ModelFileError

MODEL, PRIOR, CARD = "model.safetensors", "model-prior.safetensors", "README.md"
"""What is read of a repository, and written to it."""

HEADER = """---
library_name: vqspeech
pipeline_tag: audio-to-audio
tags:
- vqspeech
- vq-vae
- voice-conversion
---
"""
"""What the Hub wants before a card."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def is_repository(name: str) -> bool:
    """Whether a name can only be that of a repository: ``owner/name``, with no folder called owner here."""
    return (
        bool(_REPOSITORY.fullmatch(name))
        and not name.endswith((".safetensors", ".pt", ".pth"))
        and not os.path.lexists(name.split("/")[0])
    )


@cache
def fetch(repository: str, revision: str | None = None) -> Path:
    """Download model, prior and card of a repository, where they are not in the cache.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    revision : str, optional
        Branch, tag or commit; the newest of the main branch by default.

    Returns
    -------
    Path
        The model file; prior and card are beside it.

    Raises
    ------
    ConfigurationError
        huggingface_hub is not installed.
    ModelFileError
        There is no such repository, it holds no model, or the Hub cannot be reached.
    """
    with _one_line(repository, "no such file here, and a model of the Hugging Face Hub"):
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            repository, revision=revision, allow_patterns=[MODEL, PRIOR, CARD]
        )
    file = Path(folder, MODEL)
    if not file.is_file():
        raise ModelFileError(
            f"{repository}: this repository has no {MODEL}; vqspeech push makes one"
        )
    return file


def upload(repository: str, file: Path, card: str, *, private: bool = False) -> str:
    """Make a repository where there is none, and put a model, its prior and its card into it, as one commit.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    file : Path
        The model file; where ``NAME-prior.safetensors`` is beside it, it goes along.
    card : str
        Markdown.
    private : bool
        Whether a repository that is made is seen by its owner alone.

    Returns
    -------
    str
        Where it is.

    Raises
    ------
    ConfigurationError
        huggingface_hub is not installed, or the name is not that of a repository.
    ModelFileError
        The Hub cannot be reached, or does not let this person write there.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise ConfigurationError(f"{repository!r} is no repository: name it owner/name")
    text = card if card.startswith("---\n") else HEADER + card
    with _one_line(repository, "to send a model to the Hugging Face Hub"):
        from huggingface_hub import CommitOperationAdd, HfApi

        parts = {MODEL: file, PRIOR: file.with_name(f"{file.stem}-prior.safetensors")}
        operations = [CommitOperationAdd(n, path) for n, path in parts.items() if path.is_file()]
        operations.append(CommitOperationAdd(CARD, text.encode()))
        api = HfApi()
        url = api.create_repo(repository, private=private or None, exist_ok=True)
        api.create_commit(repository, operations, commit_message="Model and card from vqspeech")
    return str(url)


def card_of(file: Path) -> str | None:
    """Return the card beside a model file, without what the Hub wants before it: ``README.md`` in a repository."""
    card = file.with_name(CARD) if file.name == MODEL else file.with_suffix(".md")
    if not card.is_file():
        return None
    text = card.read_text(encoding="utf-8")
    return re.sub(r"\A---\n.*?\n---\n", "", text, count=1, flags=re.DOTALL)


@contextmanager
def _one_line(repository: str, wanted: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one line: what was found and what to do."""
    try:
        from huggingface_hub import constants, errors, utils
    except ImportError:
        raise ConfigurationError(
            f"{repository}: {wanted} needs huggingface_hub: pip install 'vqspeech[hub]'"
        ) from None
    utils.disable_progress_bars()
    place = constants.ENDPOINT
    try:
        yield
    except (errors.RepositoryNotFoundError, errors.GatedRepoError):
        raise ModelFileError(
            f"{repository}: neither a file here nor a repository that you may use on {place};"
            " check the name, or log in with: hf auth login"
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelFileError(f"{repository}: {place} has it, but not this revision") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            reason = "you may not write there; log in with: hf auth login"
        else:
            reason = f"{place} answered {status}; try again later"
        raise ModelFileError(f"{repository}: {reason}") from None
    except errors.HFValidationError as error:
        raise ConfigurationError(f"{repository}: {' '.join(str(error).split())}") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        raise ModelFileError(_unreachable(repository, place, error)) from None
    except Exception as error:
        # Errors of transport belong to whichever HTTP library huggingface_hub is built on.
        if not type(error).__module__.startswith(("httpx", "httpcore", "requests")):
            raise
        raise ModelFileError(_unreachable(repository, place, error)) from None


def _unreachable(repository: str, place: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror or error}"
    return (
        f"{repository}: no such file here nor in the cache of models, and {place} cannot be reached;"
        " connect to the network once, or name a model file"
    )
