"""The files of models and priors: portable and self-describing, never half there.

Such a file is safetensors: the weights, and one metadata entry ``vqspeech`` holding JSON with the keys ``format``,
``version``, ``config``, ``speakers``, ``training`` and ``scores``, and ``weights``, the precision they are kept in.
Loading executes nothing from it. Where a file is read, the name of a shipped model does as well.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vqspeech.errors import ConfigurationError, ModelFileError
from vqspeech.jobs.atomic import write_atomically
from vqspeech.models import pretrained
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.config import ModelConfig
from vqspeech.models.prior import Prior, PriorConfig

KEYS = ("format", "version", "config", "speakers", "training", "scores")

MISFITS = (ConfigurationError, ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError)
"""What building a model of a configuration from elsewhere may raise."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    name : str
        What people call its content.
    format, version
        What its header says.
    config : type
        What its entry ``config`` is made into.
    whole : tuple of str
        Beginnings of the keys that are not kept in half precision.
    """

    name: str
    format: str
    version: int
    config: type[ModelConfig] | type[PriorConfig]
    whole: tuple[str, ...]


MODEL = Kind("model", "vqspeech-model", 1, ModelConfig, ("bottleneck.", "decoder.pitch.voices"))
PRIOR = Kind("prior", "vqspeech-prior", 1, PriorConfig, ("unigram",))


def save_model(
    model: Autoencoder,
    path: str | Path,
    training: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
) -> None:
    """Write a model file.

    Parameters
    ----------
    model : Autoencoder
        What to write.
    path : str or Path
        Where; an existing file is replaced when the new one is complete.
    training, scores : mapping, optional
        How it was trained and what it scores, as JSON values.
    half : bool
        Keep the weights of encoder and decoder in fp16: half the size, rounded to 11 bits. The bottleneck is kept
        as it is: which of two codes is nearer must not hang on their rounding, and running sums over running
        counts, both of which may be tiny, give its codes when training goes on.

    Raises
    ------
    ModelFileError
        The file cannot be written, for want of space for example.
    """
    _save(MODEL, model, Path(path), training, scores, half)


def save_prior(
    prior: Prior,
    path: str | Path,
    training: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
) -> None:
    """Write the file of a prior; see `save_model`, all of whose arguments mean the same here."""
    _save(PRIOR, prior, Path(path), training, scores, half)


def _save(
    kind: Kind,
    content: Autoencoder | Prior,
    path: Path,
    training: Mapping[str, Any] | None,
    scores: Mapping[str, Any] | None,
    half: bool,
) -> None:
    header = {
        "format": kind.format,
        "version": kind.version,
        "config": asdict(content.config),
        "speakers": list(content.speakers),
        "training": dict(training or {}),
        "scores": dict(scores or {}),
        "weights": "float16" if half else "float32",
    }
    metadata = {"vqspeech": json.dumps(header, default=list)}
    tensors = {k: v.detach().cpu().contiguous() for k, v in content.state_dict().items()}
    if half:
        tensors = {k: v if k.startswith(kind.whole) else _halved(v) for k, v in tensors.items()}
    try:
        write_atomically(path, lambda file: save_file(tensors, file, metadata))
    except SafetensorError as error:
        raise ModelFileError(f"{path}: could not be written ({error})") from None


def _halved(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    # a weight beyond 65504 would come back as infinity
    return half if half.isfinite().all() else tensor


def read_header(path: str | Path) -> dict[str, Any]:
    """Read what a model file says of itself, without its weights.

    Parameters
    ----------
    path : str or Path
        The file, or the name of a model, as `load_model` takes it.

    Returns
    -------
    dict
        Keys ``format``, ``version``, ``config``, ``speakers``, ``training``, ``scores``, and ``weights`` in files
        written since there is a choice.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, of another kind or of a newer version.
    """
    return _read_header(MODEL, pretrained.find(path))


def samples_learned(training: Mapping[str, Any]) -> int:
    """Samples learned from in all, those of the models it began from among them, by the ``training`` of a header."""
    return int(training.get("samples_seen", 0)) + int(training.get("samples_seen_before", 0))


def read_prior_header(path: str | Path) -> dict[str, Any]:
    """Read what the file of a prior says of itself; see `read_header` and, for names, `load_prior`."""
    return _read_header(PRIOR, pretrained.find_prior(path))


def _read_header(kind: Kind, path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelFileError(f"{path}: no such {kind.name} file")
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("vqspeech")
        header = json.loads(text) if text is not None else None
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise ModelFileError(
            f"{path}: not a whole safetensors file ({error}); is it a vqspeech {kind.name} file?"
        ) from None
    found = header.get("format") if isinstance(header, dict) else None
    others = {other.format: other.name for other in (MODEL, PRIOR) if other is not kind}
    if isinstance(found, str) and found in others:
        raise ModelFileError(f"{path}: a {others[found]}, where a {kind.name} is expected")
    if not isinstance(header, dict) or found != kind.format:
        raise ModelFileError(f"{path}: a safetensors file, but not one that vqspeech wrote")
    if header.get("version") != kind.version:
        raise ModelFileError(
            f"{path}: format version {header.get('version')!r} found, {kind.version} expected;"
            " another version of vqspeech wrote it"
        )
    missing = [key for key in KEYS if key not in header]
    if missing:
        raise ModelFileError(f"{path}: its header has no {', '.join(missing)}")
    return header


class _Unfilled(TorchFunctionMode):
    """Passes over the filling of new tensors: on the meta device it would import torch's compiler, for a second."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return args[0] if args else given["tensor"]
        if function in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return function(*args, **given)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build models without memory for their weights: what fits and what does not is found before it is taken."""
    with torch.device("meta"), _Unfilled():
        yield


def _load(kind: Kind, make: Callable[[Any, list[str]], Any], path: Path) -> Any:
    """Make what a file describes, without memory, then give it the weights of the file."""
    header = _read_header(kind, path)
    config, speakers = header["config"], header["speakers"]
    names = {field.name for field in fields(kind.config)}
    if not isinstance(config, dict) or set(config) != names:
        found = sorted(config) if isinstance(config, dict) else config
        raise ModelFileError(f"{path}: config has {found}, expected {sorted(names)}")
    if not isinstance(speakers, list) or not all(isinstance(name, str) for name in speakers):
        raise ModelFileError(f"{path}: speakers is not a list of names")
    try:
        with shapes_only():
            module = make(kind.config(**config), speakers)
    except MISFITS as error:
        reason = " ".join(str(error).split())
        raise ModelFileError(f"{path}: its config describes no {kind.name}: {reason}") from None
    _fill(kind, module, path)
    return module.eval()


def _fill(kind: Kind, module: nn.Module, path: Path) -> None:
    expected = module.state_dict()
    with safe_open(path, "pt") as file:
        found = set(file.keys())
        for key in sorted(found | set(expected)):
            if key not in expected:
                raise ModelFileError(
                    f"{path}: key {key} found, the {kind.name} has none of that name"
                )
            if key not in found:
                raise ModelFileError(f"{path}: key {key} missing")
            shape = tuple(file.get_slice(key).get_shape())
            if shape != tuple(expected[key].shape):
                raise ModelFileError(
                    f"{path}: key {key} has shape {shape}, expected {tuple(expected[key].shape)}"
                )
        tensors = {key: file.get_tensor(key).to(expected[key].dtype) for key in expected}
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelFileError(f"{path}: key {key} holds values that are not finite numbers")
    module.load_state_dict(tensors, assign=True)


def load_model(path: str | Path) -> Autoencoder:
    """Load a model, in evaluation mode, on the CPU, its weights in float32.

    Parameters
    ----------
    path : str or Path
        The file, the name of a shipped model, ``"vctk"``, or a repository of the Hugging Face Hub, ``"owner/name"``.

    Returns
    -------
    Autoencoder
        The model.

    Raises
    ------
    ModelFileError
        The file is missing, damaged or foreign, or its weights do not fit its configuration; the message names
        the first key, what was found and what was expected.
    """
    return _load(MODEL, Autoencoder, pretrained.find(path))


def load_prior(path: str | Path) -> Prior:
    """Load a prior, in evaluation mode, on the CPU, its weights in float32.

    Parameters
    ----------
    path : str or Path
        The file, or the name of a model, for the prior that comes with it: ``"vctk"``, ``"owner/name"``.

    Returns
    -------
    Prior
        The prior.

    Raises
    ------
    ModelFileError
        As `load_model` raises it.
    """
    return _load(PRIOR, Prior, pretrained.find_prior(path))
