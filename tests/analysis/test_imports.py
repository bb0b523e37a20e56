import subprocess
import sys
from pkgutil import iter_modules

import pytest

from vqspeech import metrics


def loaded_by(code: str) -> set[str]:
    """Return the modules that a new Python has loaded once it has run this."""
    command = [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("vqspeech.report.analysis", {"torch", "matplotlib", "librosa", "soundfile", "sklearn"}),
        ("vqspeech.evaluation.judges", {"torch", "librosa", "resemblyzer", "jiwer"}),
        ("vqspeech.evaluation.judges", {"faster_whisper", "speechmos", "onnxruntime"}),
        ("vqspeech.cli.analyze", {"torch", "matplotlib", "numpy"}),
        ("vqspeech.cli.evaluate", {"torch", "librosa", "numpy"}),
        ("vqspeech.corpus.prepare", {"espeakng_loader"}),
        ("vqspeech.sampling.cuda", {"triton"}),
    ],
)
def test_importing_brings_nothing_heavy(module: str, heavy: set[str]) -> None:
    """Pages, stores and verbs need numpy at most; other libraries are loaded when called for."""
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert heavy.isdisjoint(loaded)


def test_scores_need_numpy_alone() -> None:
    """All but dynamic time warping, which is compiled by numba."""
    found = {name for _, name, _ in iter_modules(metrics.__path__, "vqspeech.metrics.")}
    loaded = loaded_by(f"import {', '.join(found - {'vqspeech.metrics.dtw'})}")
    assert found - loaded == {"vqspeech.metrics.dtw"}
    assert loaded.isdisjoint({"torch", "numba", "scipy", "sklearn", "librosa", "matplotlib"})


def test_loading_brings_no_compiler() -> None:
    """sympy and numba come in with `torch.compile` and the metrics, and take longer than the model itself."""
    loaded = loaded_by("import vqspeech; vqspeech.load('vctk')")
    assert "vqspeech.models.autoencoder" in loaded
    assert loaded.isdisjoint({"sympy", "numba", "librosa"})
