import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from vqspeech.cli import export
from vqspeech.corpus.store import PackedStore
from vqspeech.models.autoencoder import Autoencoder

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (the extra `onnx`)")
pytest.importorskip("onnxscript", reason="needs onnxscript (the extra `onnx`)")


def test_a_split_is_encoded_alike(
    run, mini_store: Path, tiny_model: Autoencoder, tmp_path: Path
) -> None:
    """Every code of the split is counted, none differs; the file is kept without --force."""
    outcome = run("export", "--onnx", "tiny.onnx", "--check", mini_store)
    assert outcome.status == 0, outcome.err
    store = PackedStore(mini_store)
    lengths = [store.utterances[i].samples for i in store.indices("test").tolist()]
    frames = sum(-(-samples // tiny_model.hop) for samples in lengths)
    assert f"{len(lengths)} recordings, {frames:,} codes, 0 differ" in outcome.out
    before = Path("tiny.onnx").read_bytes()
    assert "--force" in run("export", "--onnx", "tiny.onnx").error
    assert Path("tiny.onnx").read_bytes() == before


def test_codes_that_differ_are_counted_with_their_margin(
    mini_store: Path, tiny_model: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that calls every code by the next number is found out, frame by frame."""

    def answer(_names: object, given: dict) -> list:
        return [(tiny_model.encode(given["wav"]).numpy() + 1) % tiny_model.codebook_size]

    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *_, **__: SimpleNamespace(run=answer)
    )
    line = export._compare(tiny_model, tmp_path / "none.onnx", PackedStore(mini_store), "test")
    found = re.search(
        r"([\d,]+) codes, ([\d,]+) differ .*\((.*)%\); largest margin .* ([\d.e+-]+),", line
    )
    assert found, line
    assert found[1] == found[2]
    assert float(found[3]) == 100
    assert float(found[4]) > 0


def test_a_model_without_codes_is_one_line(run, continuous_model_file: Path) -> None:
    """The model is named, and no file appears."""
    error = run("export", "--onnx", "a.onnx", "--model", continuous_model_file).error
    assert error.startswith(f"{continuous_model_file}: the model has no codes")
    assert not Path("a.onnx").exists()
