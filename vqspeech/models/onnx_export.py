"""Encoder and codebook as an ONNX graph: codes where torch does not run.

The graph maps ``wav``, float32, (batch, samples), of any length from one sample, to ``codes``, int64, (batch, frames),
frames = ceil(samples / hop). Its metadata are strings: ``format``, ``model``, ``sample_rate`` in Hz, ``hop`` and
``context`` (before, after) in samples, ``codebook_size``, ``codebook``, the id of the codebook.
"""

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from vqspeech.errors import ConfigurationError
from vqspeech.jobs.atomic import write_file
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.nn.bottleneck import DiscreteBottleneck
from vqspeech.nn.vq import NearestNeighbour

FORMAT = "vqspeech-onnx 1"


def scores(quantizer: DiscreteBottleneck, z_e: Tensor) -> Tensor:
    """Score every code for every frame; the code of a frame is the first of the highest score.

    Parameters
    ----------
    quantizer : DiscreteBottleneck
        The bottleneck of a model.
    z_e : Tensor
        float32, (batch, dim, frames).

    Returns
    -------
    Tensor
        float32, (batch, frames, codebook_size): of vector quantizers ``z_e . e - |e|^2 / 2``, which is highest where
        ``|z_e - e|`` is lowest; of the others log-probabilities, nats.
    """
    if isinstance(quantizer, NearestNeighbour):
        codebook = quantizer.codebook
        return z_e.transpose(1, 2) @ codebook.T - 0.5 * codebook.pow(2).sum(1)
    return quantizer.posterior.log_probabilities(z_e)  # type: ignore[attr-defined]


class _Coder(nn.Module):
    """From waveforms to codes, in one pass."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.encoder, self.quantizer = model.encoder, model.quantizer

    def forward(self, wav: Tensor) -> Tensor:
        return scores(self.quantizer, self.encoder(wav)).argmax(-1)


def export_onnx(model: Autoencoder, path: str | Path, name: str) -> None:
    """Write encoder and codebook of a model as ONNX.

    Parameters
    ----------
    model : Autoencoder
        On the CPU, in evaluation mode.
    path : str or Path
        Where; an existing file is replaced when the new one is complete.
    name : str
        What the model is called; goes into the metadata.

    Raises
    ------
    ConfigurationError
        The packages that write ONNX are not installed.
    VqspeechError
        The model has no codes.
    """
    metadata = {
        "format": FORMAT,
        "model": name,
        "sample_rate": str(model.sample_rate),
        "hop": str(model.hop),
        "context": "{} {}".format(*model.encoder.context),
        "codebook_size": str(model.codebook_size),
        "codebook": str(model.codebook_id),
    }
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "writing ONNX needs onnx and onnxscript: pip install 'vqspeech[onnx]'"
        ) from None
    # Sizes of 1 would be taken for constants.
    example = torch.zeros(2, 2 * model.hop + 1)
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    try:
        # It tells of operators of torchvision.
        exporter.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Coder(model),
                (example,),
                input_names=["wav"],
                output_names=["codes"],
                dynamic_shapes={"wav": sizes},
                dynamo=True,
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
    assert program is not None
    graph = program.model_proto
    for value, names in ((graph.graph.input[0], "samples"), (graph.graph.output[0], "frames")):
        for size, text in zip(value.type.tensor_type.shape.dim, ("batch", names), strict=True):
            size.dim_param = text
    onnx.helper.set_model_props(graph, metadata)
    onnx.checker.check_model(graph)
    write_file(Path(path), graph.SerializeToString())
