import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("vqspeech.report.analysis", {"torch", "matplotlib", "librosa", "soundfile", "sklearn"}),
        ("vqspeech.metrics.abx", {"torch", "numba"}),
        ("vqspeech.metrics.probes", {"torch", "sklearn", "scipy"}),
        ("vqspeech.metrics.pitch", {"torch", "librosa"}),
        ("vqspeech.evaluation.judges", {"torch", "librosa", "resemblyzer", "jiwer"}),
        ("vqspeech.evaluation.judges", {"faster_whisper", "speechmos", "onnxruntime"}),
        ("vqspeech.cli.analyze", {"torch", "matplotlib", "numpy"}),
        ("vqspeech.cli.evaluate", {"torch", "librosa", "numpy"}),
        ("vqspeech.corpus.prepare", {"espeakng_loader"}),
        ("vqspeech.sampling.cuda", {"triton"}),
    ],
)
def test_importing_brings_nothing_heavy(module: str, heavy: set[str]) -> None:
    """Pure functions on arrays, stores and packs need numpy alone; other libraries are loaded when called for."""
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert module in loaded
    assert heavy.isdisjoint(loaded)
