"""The models that come with the package: files beside this one, found by name.

A model is ``NAME.safetensors`` with its card ``NAME.md``, which ``recipes/pretrained`` writes; a prior over its codes
is ``NAME-prior.safetensors``. Where a model is asked for, a file of that name comes first; a shipped name stands
alone, without folder and suffix; ``owner/name`` without a folder ``owner`` is a repository of `vqspeech.models.hub`.
"""

import os
from pathlib import Path

from vqspeech.errors import ModelFileError
from vqspeech.models import hub

NAMES = ("vctk", "phoneme25")
"""What a release ships."""

DEFAULT = NAMES[0]
"""The model that the commands use when none is named."""

LARGEST = 8_000_000
"""Bytes of a shipped model at most."""

PRIORS = ("vctk",)
"""Models that a release ships a prior for."""

LARGEST_PRIOR = 4_000_000
"""Bytes of a shipped prior at most."""

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the models that this installation holds, the default one first."""
    return [name for name in NAMES if (FOLDER / f"{name}.safetensors").is_file()]


def path(name: str) -> Path:
    """Return the file of a shipped model.

    Raises
    ------
    ModelFileError
        No model of that name is shipped, or this installation lacks it.
    """
    if name not in NAMES:
        raise ModelFileError(
            f"{name}: no such model file, and no model that comes with vqspeech ({', '.join(NAMES)})"
        )
    return _installed(f"{name}.safetensors", "name a model file, with --model or in VQSPEECH_MODEL")


def card(name: str) -> str:
    """Return the card of a model, Markdown: data, training, scores, failures, what it is not for.

    That is ``NAME.md`` beside its file, or the card of its repository.

    Raises
    ------
    ModelFileError
        There is no such model, or it has no card.
    """
    if name not in NAMES:
        if (file := find(name)).is_file() and (text := hub.card_of(file)) is not None:
            return text
        raise ModelFileError(
            f"{name}: no card beside it; the models that come with vqspeech have one ({', '.join(NAMES)})"
        )
    return _installed(f"{name}.md", "install vqspeech again").read_text(encoding="utf-8")


def find(name_or_path: str | Path) -> Path:
    """Return the file that a person means: one that is there, else the model of that name, shipped or on the Hub.

    Parameters
    ----------
    name_or_path : str or Path
        ``vctk``, ``owner/name``, or the path of a model file. What else has a folder or a suffix, and every `Path`, is
        a path, and is returned whether or not it is there.

    Raises
    ------
    ConfigurationError
        A repository is named, and huggingface_hub is not installed.
    ModelFileError
        A bare name that is neither a file nor a shipped model, or one that this installation lacks; a repository that
        cannot be had.
    """
    file = Path(name_or_path)
    if _on_hub(name_or_path):
        return hub.fetch(str(name_or_path))
    is_path = file.suffix or os.sep in os.fspath(name_or_path) or str(file) in (".", "..")
    return file if is_path or file.is_file() else path(str(file))


def _on_hub(name: str | Path) -> bool:
    return isinstance(name, str) and not Path(name).is_file() and hub.is_repository(name)


def prior_beside(model: Path) -> Path:
    """Return where the prior of a model file lies, if it has one: ``model-prior.safetensors`` beside it."""
    return model.with_name(f"{model.stem}-prior.safetensors")


def find_prior(name_or_path: str | Path) -> Path:
    """Return the prior that a person means: a file that is there, else that of the shipped model of that name.

    Parameters
    ----------
    name_or_path : str or Path
        ``vctk``, ``owner/name``, or the path of a prior; what is a path is as for `find`.

    Raises
    ------
    ConfigurationError
        As `find` raises it.
    ModelFileError
        A bare name that is neither a file nor a shipped model, or one that has no prior in this installation.
    """
    file = find(name_or_path)
    name = str(name_or_path)
    if _on_hub(name_or_path):
        prior = prior_beside(file)
        if not prior.is_file():
            raise ModelFileError(f"{name}: this repository has no {prior.name}")
        return prior
    if file != FOLDER / f"{name}.safetensors":
        return file
    if name not in PRIORS:
        raise ModelFileError(f"{name}: no prior comes with this model; train one, or name its file")
    return _installed(prior_beside(file).name, "name the file of a prior")


def _installed(name: str, advice: str) -> Path:
    file = FOLDER / name
    if not file.is_file():
        raise ModelFileError(f"{file}: missing from this installation of vqspeech; {advice}")
    return file
