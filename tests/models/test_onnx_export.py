"""The exported graph gives torch's codes, says what it is, and is written whole or not at all."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.config import DISCRETE
from vqspeech.models.onnx_export import FORMAT, export_onnx, scores


def noise(*shape: int) -> torch.Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", DISCRETE)
def test_the_code_of_a_frame_is_that_of_the_highest_score(
    kind: str, tiny_of_kind: Callable[[str], Autoencoder]
) -> None:
    """Of every bottleneck with codes; with random weights more than one of them occurs."""
    model = tiny_of_kind(kind)
    with torch.inference_mode():
        z_e = model.encoder(noise(2, 800))
        codes = model.quantizer.encode(z_e)
        assert torch.equal(scores(model.quantizer, z_e).argmax(-1), codes)
    assert len(codes.unique()) > 1


# One whose codes are the nearest, one whose codes are the likeliest.
@pytest.mark.parametrize("kind", ["vq_ema", "gumbel"])
def test_codes_are_those_of_torch_at_any_length(
    kind: str, tiny_of_kind: Callable[[str], Autoencoder], tmp_path: Path
) -> None:
    """One recording or several, a whole number of frames or not, down to one sample; metadata tell what they are of."""
    pytest.importorskip("onnxscript", reason="needs onnxscript (the extra `onnx`)")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    model = tiny_of_kind(kind)
    export_onnx(model, tmp_path / "coder.onnx", "tiny")
    session = onnxruntime.InferenceSession(tmp_path / "coder.onnx")
    for shape in [(1, 1), (1, 15), (1, 16), (1, 17), (2, 160), (3, 20_001)]:
        wav = noise(*shape)
        (codes,) = session.run(None, {"wav": wav.numpy()})
        assert codes.dtype == "int64"
        assert codes.tolist() == model.encode(wav).tolist()
    assert session.get_modelmeta().custom_metadata_map == {
        "format": FORMAT,
        "model": "tiny",
        "sample_rate": "16000",
        "hop": "16",
        "context": "{} {}".format(*model.encoder.context),
        "codebook_size": "16",
        "codebook": model.codebook_id,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["coder.onnx"]


def test_a_model_without_codes_is_refused(
    tiny_of_kind: Callable[[str], Autoencoder], tmp_path: Path
) -> None:
    """The line says that the bottleneck is continuous, and nothing is written."""
    with pytest.raises(VqspeechError, match="'gaussian' is continuous"):
        export_onnx(tiny_of_kind("gaussian"), tmp_path / "coder.onnx", "tiny")
    assert not list(tmp_path.iterdir())


def test_without_the_packages_one_line_says_what_to_install(
    tiny_model: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'vqspeech\[onnx\]'"):
        export_onnx(tiny_model, tmp_path / "coder.onnx", "tiny")
