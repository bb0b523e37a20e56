"""The notebook: stripped in the repository, and run from top to bottom."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbformat (the extra `notebooks`)")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient (the extra `notebooks`)")

NOTEBOOK = Path(__file__).parents[2] / "recipes/vctk/phonemes.ipynb"


def test_notebook_is_stored_without_outputs() -> None:
    """What a run prints depends on the model, and is not kept."""
    code = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_notebook_runs_and_prints_every_figure_with_its_controls(
    mini_store: Path, tiny_model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell runs on a small model and the miniature corpus; pictures are drawn, shares lie in order."""
    monkeypatch.setenv("VQSPEECH_MODEL", str(tiny_model_file))
    monkeypatch.setenv("VQSPEECH_STORE", str(mini_store))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, 4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    printed = "".join(
        output.get("text", "") for output in outputs if output.get("name") == "stdout"
    )
    found = {
        name: [float(share) for share in re.findall(rf"{name} +([\d.]+)%", printed)]
        for name in (
            "map accuracy",
            "most frequent phone",
            "codes shuffled in time",
            "frames scrambled",
        )
    }
    assert [len(shares) for shares in found.values()] == [2, 2, 1, 1]
    # what random weights say of phones is little, and more than nothing
    assert all(0 < share < 60 for shares in found.values() for share in shares)
