"""The C++ engine compiles for systems that nobody here has; what comes out is not run."""

import subprocess
import sys
from pathlib import Path

import pytest

CPP = Path(__file__).resolve().parents[2] / "vqspeech/sampling/cpp"


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", ["aarch64-macos", "x86_64-macos", "aarch64-linux-gnu", "x86_64-windows-gnu"]
)
def test_the_engine_compiles_elsewhere(target: str, tmp_path: Path) -> None:
    """Everything but what talks to Python, without a warning, by Clang with the headers of the system."""
    pytest.importorskip("ziglang", reason="needs a compiler for other systems: pip install ziglang")
    for source in sorted(CPP.glob("*.cpp")):
        if source.name == "binding.cpp":
            continue
        command = [sys.executable, "-m", "ziglang", "c++", "-target", target, "-std=c++17"]
        command += ["-Wall", "-Wextra", "-Werror", "-c", str(source), "-o", str(tmp_path / "a.o")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
