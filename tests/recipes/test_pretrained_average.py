"""The mean of several models' decoders."""

from copy import deepcopy
from pathlib import Path

import average
import pytest
import torch

from vqspeech.errors import VqspeechError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, read_header, samples_learned, save_model


def _shifted(
    model: Autoencoder, by: float, path: Path, samples: int, before: int = 1_000_000
) -> Path:
    """Write the model with `by` added to the weights of its decoder."""
    other = deepcopy(model)
    with torch.no_grad():
        for weight in other.decoder.parameters():
            weight += by
    save_model(other, path, {"samples_seen": samples, "samples_seen_before": before, "steps": 7})
    return path


def test_the_mean_of_three(tiny_model: Autoencoder, tmp_path: Path) -> None:
    """Each has the same share of the decoder; codes are as they were; the header sums up what went on side by side."""
    files = [
        _shifted(tiny_model, by, tmp_path / f"{samples}.safetensors", samples, before)
        for by, samples, before in (
            (1.0, 400_000, 600_000),
            (-4.0, 4_500_000, 1_000_000),
            (6.0, 3_000_000, 1_000_000),
        )
    ]
    out = tmp_path / "mean.safetensors"
    average.average(files, out)
    mean = load_model(out)
    for name, weight in tiny_model.state_dict().items():
        learned = name in dict(tiny_model.decoder.named_parameters(prefix="decoder"))
        torch.testing.assert_close(mean.state_dict()[name], weight + 1 if learned else weight)
    training = read_header(out)["training"]
    assert samples_learned(training) == 8_500_000
    assert training["steps"] == 14
    assert training["mean_of_weights_after"] == "1.0, 4.0, 5.5 M samples"


def test_other_codes_are_refused(tiny_model: Autoencoder, tmp_path: Path) -> None:
    """A decoder of other codes is not averaged, and nothing is written."""
    first = _shifted(tiny_model, 1, tmp_path / "first.safetensors", 1)
    other = deepcopy(tiny_model)
    with torch.no_grad():
        next(other.encoder.parameters()).add_(1)
    save_model(other, tmp_path / "other.safetensors")
    with pytest.raises(VqspeechError, match=r"other\.safetensors: differs from .*first"):
        average.average([tmp_path / "other.safetensors", first], tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
