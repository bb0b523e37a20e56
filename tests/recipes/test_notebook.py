"""The notebooks: stripped in the repository, and run from top to bottom."""

import re
from pathlib import Path

import pytest

import vqspeech
from vqspeech.corpus.prepare import find_corpus, prepare

nbformat = pytest.importorskip("nbformat", reason="needs nbformat (the extra `notebooks`)")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient (the extra `notebooks`)")

NOTEBOOK = Path(__file__).parents[2] / "recipes/vctk/phonemes.ipynb"
VOICE = NOTEBOOK.with_name("voice.ipynb")


@pytest.mark.parametrize("notebook", [NOTEBOOK, VOICE], ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(notebook: Path) -> None:
    """What a run prints depends on the model, and is not kept."""
    code = [cell for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    assert len(code) > 3
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


def test_the_notebook_of_a_voice_adds_it_to_the_model(
    people: Path, tiny_model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell runs on a tiny model and some noises; codes stay, and the new voice is in the file."""
    store = prepare(find_corpus(people), tmp_path / "store", workers=1, progress=False)
    monkeypatch.setenv("VQSPEECH_MODEL", str(tiny_model_file))
    monkeypatch.setenv("VQSPEECH_STORE", str(store))
    monkeypatch.setenv("VQSPEECH_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("VQSPEECH_STEPS", "4")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(VOICE, 4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert "image/png" in kinds
    assert kinds.count("text/html") >= 2
    printed = "".join(
        output.get("text", "") for output in outputs if output.get("name") == "stdout"
    )
    assert "codes unchanged: True" in printed
    assert len(re.findall(r"[\d.]+ nats a sample", printed)) == 2
    model = vqspeech.load(tmp_path / "run/model.safetensors")
    assert {"p225", "ann", "bob"} <= set(model.speakers)
