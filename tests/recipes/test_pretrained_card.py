"""The program that writes the cards of shipped models."""

import sys
from pathlib import Path

import card
import pytest

from vqspeech.models import pretrained


def test_the_command(
    shipped_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without names it writes the cards of all models that are there; a missing model is one line."""
    monkeypatch.setattr(sys, "argv", ["card.py"])
    assert card.main() == 0
    assert capsys.readouterr().out == f"{shipped_folder / 'vctk.md'}\n"
    assert "\n## Architecture\n" in pretrained.card("vctk")
    monkeypatch.setattr(sys, "argv", ["card.py", "phoneme25"])
    assert card.main() == 1
    error = capsys.readouterr().err
    assert "phoneme25.safetensors" in error
    assert len(error.splitlines()) == 1
