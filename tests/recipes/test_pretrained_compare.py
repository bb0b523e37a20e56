"""Comparing settings of training: a row for each variant, judged by what it was trained for."""

import sys
from pathlib import Path

import compare
import pytest
import soundfile
import torch

from vqspeech.corpus.prepare import find_corpus, prepare
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import save_model
from vqspeech.models.config import ModelConfig

SMALL = (
    "model.dim=8 model.encoder.strides=[4,4] model.encoder.channels=[8,16] model.encoder.dilations=[1]"
    " model.bottleneck.codebook_size=16 data.segment=640 data.crop=320 spectral.segment=640 spectral.batch=2"
    " init_wavenet= spectral.channels=8 model.decoder.dilations=[1,2] model.decoder.residual_channels=8"
    " model.decoder.gate_channels=8 model.decoder.skip_channels=8 model.decoder.condition_channels=8"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of two speakers with phone labels, one recording in each split."""
    folder = tmp_path_factory.mktemp("compare")
    corpus = folder / "corpus"
    corpus.mkdir()
    rows = ["speaker\tutterance\tpath\tsplit\tlabels"]
    draw = torch.Generator().manual_seed(0)
    for speaker in ("ann", "bob"):
        for split in ("train", "valid", "test"):
            name = f"{speaker}_{split}"
            noise = 0.1 * torch.randn(6000, generator=draw)
            soundfile.write(corpus / f"{name}.wav", noise.numpy(), 16000)
            (corpus / f"{name}.lab").write_text("0 1500000 aa\n1500000 3750000 s\n")
            rows.append(f"{speaker}\t{name}\t{name}.wav\t{split}\t{name}.lab")
    (corpus / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return prepare(find_corpus(corpus), folder / "store", workers=1, top_db=None, progress=False)


def _rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *argv: str) -> list:
    monkeypatch.setattr(sys, "argv", ["compare.py", "--seconds", "0.2", *argv])
    assert compare.main() == 0
    return [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]


def test_codes_are_judged_by_phones(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a model the spectral head trains encoder and codebook."""
    rows = _rows(monkeypatch, capsys, "--store", str(store), SMALL, f"{SMALL} perturb.share=0")
    assert len(rows) == 2
    assert all(int(steps) > 0 and "map accuracy" in found for _, steps, found in rows)
    assert "perturb.share=0" in rows[1][0]


def test_decoders_are_judged_by_likelihood(
    store: Path,
    tmp_path: Path,
    tiny_config: ModelConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a model a new decoder is trained on its codes, which stay as they are."""
    model = tmp_path / "model.safetensors"
    save_model(Autoencoder(tiny_config, ["ann", "bob"]), model)
    ((_, steps, found),) = _rows(
        monkeypatch, capsys, "--store", str(store), "--codes", str(model), SMALL
    )
    assert int(steps) > 0
    assert "nats, codes shuffled" in found


def test_unknown_setting_is_one_line(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What train would refuse is refused here."""
    monkeypatch.setattr(sys, "argv", ["compare.py", "--store", str(store), "data.bar=1"])
    assert compare.main() == 1
    assert "data.bar: no such setting" in capsys.readouterr().err
