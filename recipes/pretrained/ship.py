"""Put a trained model, or a prior over its codes, into the package, in fp16, with what it was trained on and scores.

Ship a model, evaluate what was shipped, then ship that once more with its scores: weights that are in fp16 already
stay as they are. ``card.py`` writes the card from the file.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, VqspeechError, exit_status
from vqspeech.jobs.atomic import write_atomically
from vqspeech.models import pretrained
from vqspeech.models.checkpoint import (
    load_model,
    load_prior,
    read_header,
    read_prior_header,
    save_model,
    save_prior,
)
from vqspeech.models.prior import check_fits

RECORDING_KEYS = {"utterance", "source", "file", "path"}
"""An object with one of these is about one recording."""

DIGITS = 5
"""Significant digits of a score that are kept."""


def minutes(store: PackedStore) -> dict[str, dict[str, float]]:
    """Return the minutes of the train split by corpus and speaker, silence at both ends left out."""
    samples: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for utterance in store.utterances:
        if utterance.split == "train":
            samples[utterance.corpus][utterance.speaker] += utterance.samples
    return {
        corpus: {
            speaker: round(count / store.sample_rate / 60, 2)
            for speaker, count in sorted(speakers.items())
        }
        for corpus, speakers in sorted(samples.items())
    }


def compact(value: Any) -> Any:
    """Return scores without lists of single recordings, numbers rounded to `DIGITS` digits."""
    if isinstance(value, Mapping):
        return {key: compact(item) for key, item in value.items() if not _recordings(item)}
    if isinstance(value, list):
        return [compact(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _recordings(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, Mapping) and RECORDING_KEYS & item.keys() for item in value)
    )


def _load_scores(path: Path) -> Mapping[str, Any]:
    """Read ``evaluation.json`` as ``vqspeech evaluate`` writes it."""
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VqspeechError(
            f"{path}: {error}; evaluate the shipped model again, or ship without --evaluation"
        ) from None
    if not isinstance(scores, Mapping):
        raise VqspeechError(f"{path}: {type(scores).__name__} found, expected an object of scores")
    return scores


def _training(header: Mapping[str, Any], store: Path | None) -> dict[str, Any]:
    """How it was trained, with the minutes of each speaker, without folders of the machine it was done on."""
    training = json.loads(json.dumps(header["training"]))
    named = training.get("config", {}).get("data", {}).get("store")
    # what was shipped before names its store without the folder it was in
    if store is None and named and "minutes" not in training and Path(named).is_dir():
        store = Path(named)
    if store is not None:
        training["minutes"] = minutes(PackedStore(store))
    if "config" in training:
        training["config"] = _without_folders(training["config"])
    return training


def _without_folders(settings: Any) -> Any:
    """Leave of paths their last part: where they lay concerns one machine."""
    if isinstance(settings, Mapping):
        return {key: _without_folders(value) for key, value in settings.items()}
    return PurePath(settings).name if isinstance(settings, str) else settings


def ship(
    model: str | Path,
    name: str,
    *,
    evaluation: Path | None = None,
    store: Path | None = None,
    folder: Path | None = None,
) -> Path:
    """Write the file of a shipped model.

    Parameters
    ----------
    model : str or Path
        A trained model, or the shipped one again.
    name : str
        Its name, one of `vqspeech.models.pretrained.NAMES`.
    evaluation : Path, optional
        JSON of its scores, kept under ``scores.evaluation`` without what is about single recordings; those of an
        earlier call are kept without it.
    store : Path, optional
        What it was trained on; the store that the model itself names by default, where that is there.
    folder : Path, optional
        Where shipped models lie: the package's own folder by default.

    Returns
    -------
    Path
        The file; one that was there is replaced.

    Raises
    ------
    ConfigurationError
        No model of that name is shipped.
    VqspeechError
        Model, store or scores cannot be read, or the file would be larger than `pretrained.LARGEST`; what
        was there is untouched.
    """
    if name not in pretrained.NAMES:
        raise ConfigurationError(f"{name!r}: shipped models are {', '.join(pretrained.NAMES)}")
    header, save = read_header(model), partial(save_model, load_model(model))
    out = (folder or pretrained.FOLDER) / f"{name}.safetensors"
    _write(out, pretrained.LARGEST, save, _training(header, store), _scores(header, evaluation))
    return out


def ship_prior(
    prior: str | Path,
    name: str,
    *,
    evaluation: Path | None = None,
    store: Path | None = None,
    folder: Path | None = None,
) -> Path:
    """Write the file of a shipped prior beside that of its model; see `ship`.

    Raises
    ------
    ConfigurationError
        No prior is shipped for a model of that name.
    VqspeechError
        As `ship` raises it, or the prior was trained on other codes than those of the shipped model.
    """
    if name not in pretrained.PRIORS:
        raise ConfigurationError(
            f"{name!r}: models with a shipped prior are {', '.join(pretrained.PRIORS)}"
        )
    header, loaded = read_prior_header(prior), load_prior(prior)
    save = partial(save_prior, loaded)
    beside = (folder or pretrained.FOLDER) / f"{name}.safetensors"
    check_fits(loaded, load_model(beside))
    out, largest = pretrained.prior_beside(beside), pretrained.LARGEST_PRIOR
    _write(out, largest, save, _training(header, store), _scores(header, evaluation))
    return out


def _scores(header: Mapping[str, Any], evaluation: Path | None) -> dict[str, Any]:
    added = {} if evaluation is None else {"evaluation": compact(_load_scores(evaluation))}
    return dict(header["scores"]) | added


def _write(
    out: Path,
    largest: int,
    save: Callable[..., None],
    training: Mapping[str, Any],
    scores: Mapping[str, Any],
) -> None:
    """Put a file in fp16 into its place, if it is not too large for that."""
    with tempfile.TemporaryDirectory() as scratch:
        half = Path(scratch) / out.name
        save(half, training, scores, half=True)
        size = half.stat().st_size
        if size > largest:
            raise VqspeechError(
                f"{out.name}: {size:,} bytes in fp16, and what is shipped has {largest:,} at most;"
                " train a narrower one"
            )
        write_atomically(out, lambda file: shutil.copyfile(half, file))


@exit_status("ship")
def main() -> None:
    """Parse, ship, say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="a trained model file, or NAME once more")
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(pretrained.NAMES)}")
    parser.add_argument("--evaluation", type=Path, metavar="FILE", help="evaluation.json")
    parser.add_argument(
        "--store", type=Path, metavar="DIR", help="what it was trained on (default: as it says)"
    )
    parser.add_argument("--prior", action="store_true", help="MODEL is a prior over its codes")
    args = parser.parse_args()
    put, read, largest = (
        (ship_prior, read_prior_header, pretrained.LARGEST_PRIOR)
        if args.prior
        else (ship, read_header, pretrained.LARGEST)
    )
    out = put(args.model, args.name, evaluation=args.evaluation, store=args.store)
    header = read(out)
    size = out.stat().st_size
    print(f"{out}: {size:,} bytes of {largest:,}, scores {sorted(header['scores'])}")
    if "minutes" not in header["training"]:
        print("minutes of each speaker are not in it: name what it was trained on with --store")


if __name__ == "__main__":
    sys.exit(main())
