"""Average the decoders of models that one training went through, each from the end of a stretch with falling rates.

Such weights lie in one valley, and their mean is often nearer to its floor than any of them (Izmailov et al. 2018,
arXiv 1803.05407). Encoder and codebook must be the same, so that codes stay as they are.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vqspeech.errors import VqspeechError, exit_status
from vqspeech.models.checkpoint import load_model, read_header, samples_learned, save_model

SUMMED = ("steps", "skipped_steps", "samples_seen", "seconds")
"""Of trainings beside each other."""


def average(models: Sequence[str | Path], out: Path) -> None:
    """Write a model whose decoder is the mean of others.

    Parameters
    ----------
    models : sequence of str or Path
        Files, or names of shipped models. Samples, steps and time of those that went on from one count of samples, the
        largest, are summed: they were trained beside each other. The rest of what is told of training is that of the
        one with the most samples.
    out : Path
        Where to write; an existing file is replaced when the new one is complete.

    Raises
    ------
    VqspeechError
        A file cannot be read or written, or two models differ in more than the weights of the decoder.
    """
    last = models[-1]
    mean = load_model(last)
    learned = dict(mean.decoder.named_parameters(prefix="decoder"))
    fixed = {name: of for name, of in mean.state_dict().items() if name not in learned}
    for count, path in enumerate(models[:-1], 2):
        other = load_model(path)
        weights = other.state_dict()
        if (
            other.config != mean.config
            or other.speakers != mean.speakers
            or not all(torch.allclose(weights[name], of) for name, of in fixed.items())
        ):
            raise VqspeechError(f"{path}: differs from {last} in more than the decoder's weights")
        with torch.no_grad():
            for name, weight in learned.items():
                weight.lerp_(weights[name], 1 / count)
    trainings = [read_header(path)["training"] for path in dict.fromkeys(models)]
    save_model(mean, out, _training(sorted(trainings, key=samples_learned)))


def _training(trainings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is told of training, that with the most samples last."""
    before = [of.get("samples_seen_before", 0) for of in trainings]
    beside = [of for of, count in zip(trainings, before, strict=True) if count == max(before)]
    counts = ", ".join(f"{samples_learned(of) / 1e6:.1f}" for of in trainings)
    sums = {key: sum(of[key] for of in beside) for key in SUMMED if all(key in of for of in beside)}
    return {**trainings[-1], **sums, "mean_of_weights_after": f"{counts} M samples"}


@exit_status("average")
def main() -> None:
    """Parse, average, say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="files, or names of shipped models"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="what to write")
    args = parser.parse_args()
    average(args.models, args.out)
    print(args.out)


if __name__ == "__main__":
    sys.exit(main())
