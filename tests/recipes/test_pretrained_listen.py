"""Models and contours side by side: a row for each, compared utterance by utterance, on a page with sound."""

import json
import sys
from pathlib import Path

import listen
import numpy as np
import pytest
import torch
from judged_corpus import fake_judges, pack, write_corpus

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError
from vqspeech.evaluation.encoded import EncodedStore
from vqspeech.evaluation.trials import make_plan
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import save_model
from vqspeech.training.start import with_contours


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of three speakers who read the same sentences."""
    return pack(write_corpus(tmp_path / "corpus")).path


def test_rows_are_models_with_and_without_pitch_under_several_contours(
    store: Path,
    tiny_model_file: Path,
    voiced_model_file: Path,
    voiced_model: Autoencoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every group has every row; the first is what words are compared with; the page plays the source and all rows."""
    monkeypatch.setattr(listen, "open_judges", lambda *_: fake_judges())
    save_model(with_contours(voiced_model, 8), tmp_path / "drawing.safetensors")
    rows = {
        "before": str(tiny_model_file),
        "drawn": f"{tmp_path}/drawing.safetensors:drawn",
        **{name: f"{voiced_model_file}:{name}" for name in ("predicted", *listen.WRONG)},
    }
    argv = ["--store", store, "--voices", "p225,p226", "--targets", "p225", "--utterances", 2]
    argv += ["--out", tmp_path / "out", *(f"{name}={of}" for name, of in rows.items())]
    monkeypatch.setattr(sys, "argv", ["listen.py", *map(str, argv)])
    assert listen.main() == 0
    text = capsys.readouterr().out
    assert text.rstrip() == (tmp_path / "out/listen.md").read_text().rstrip()
    found = json.loads((tmp_path / "out/listen.json").read_text())
    assert set(found) == {
        *("all", "p225, own voice", "p226, own voice", "p225 to p226", "p226 to p225"),
        "anyone to another voice",
    }
    for lines in found.values():
        assert list(lines) == list(rows)
        assert all(of["points more than the first"] == 0 for of in lines.values())
    page = (tmp_path / "out/listen.html").read_text()
    assert page.count("<audio") == 8 * (len(rows) + 1)


def test_wrong_contours_are_what_they_are_called() -> None:
    """Twice and half the source's, none, and 20 % of noise; unvoiced frames stay unvoiced."""
    contour = torch.where(torch.arange(20000) % 4 > 0, 120.0, 0.0)
    assert torch.equal(listen.WRONG["octave-up"](contour), 2 * contour)
    assert torch.equal(listen.WRONG["octave-down"](contour), contour / 2)
    assert not listen.WRONG["unvoiced"](contour).any()
    noisy = listen.WRONG["noisy"](contour)
    assert torch.equal(noisy > 0, contour > 0)
    assert float((noisy[contour > 0] / 120 - 1).std()) == pytest.approx(0.2, abs=0.01)


def test_another_seed_is_another_take(voiced_model: Autoencoder, store: Path) -> None:
    """And the same one the same, of every row."""
    tracked = EncodedStore(voiced_model, PackedStore(store))
    plan = make_plan(tracked.store, voiced_model.speakers, targets=["p225"], count=1)
    rows = [listen.Row("a", voiced_model, "source"), listen.Row("b", voiced_model, "predicted")]
    first, again, other = (listen.speak(rows, tracked, plan.trials[:1], of) for of in (0, 0, 1))
    for one, same, another in zip(first, again, other, strict=True):
        assert np.array_equal(one, same)
        assert one.shape == another.shape
        assert not np.array_equal(one, another)


def test_words_are_compared_utterance_by_utterance(voiced_model: Autoencoder) -> None:
    """The interval of a difference is that of paired utterances: none where every one loses a word more."""
    from evaluated import judged

    from vqspeech.evaluation.figures import Figures

    def row(more: int) -> list:
        of = [judged("g", number) for number in range(9)]
        for number, one in enumerate(of):
            figures = Figures(transcript="x", edits=number + more, words=10)
            one.figures["made"] = figures  # type: ignore[index]
        return of

    table = listen.table("g", {"first": row(0), "second": row(1)})
    assert table.rows["second"]["points more than the first"].text == "+10.0 [+10.0 to +10.0]"
    low, high = table.rows["second"]["words lost"].text.split("[")[1].rstrip("]").split(" to ")
    assert float(high) - float(low) > 10
    assert np.isclose(table.rows["first"]["words lost"].value, 0.4)


@pytest.mark.parametrize("text", ["vctk", "a=vctk:sung", "a=", "a=nowhere.safetensors"])
def test_a_row_that_is_none_is_one_line(
    text: str, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No name, no such contour, no such model."""
    monkeypatch.setattr(sys, "argv", ["listen.py", "--store", str(store), text])
    assert listen.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
    if "nowhere" not in text:
        with pytest.raises(ConfigurationError):
            listen.Row.parse(text)
