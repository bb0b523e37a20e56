import numpy as np

from vqspeech.evaluation.figures import Figures, summarise
from vqspeech.evaluation.judging import ROWS, TOGETHER, Group, Judged
from vqspeech.evaluation.report import EXCERPT_S, Example, choose_examples, to_html
from vqspeech.evaluation.study import Evaluation
from vqspeech.evaluation.tables import tables, to_json, to_markdown
from vqspeech.evaluation.trials import CONVERSION, Plan, Trial

RATE = 8000


def judged(group: str, number: int, transcript: str = "hello") -> Judged:
    """A conversion of which everything but the words is unknown."""
    trial = Trial(CONVERSION, group, number, "a", "b", None)
    figures = {row: Figures(transcript=transcript, words=1) for row in ROWS if row != "real"}
    return Judged(trial, f"u{number}", "<Hello> & goodbye", "", figures)


def evaluation(trials: tuple[Judged, ...], measured: dict[str, str]) -> Evaluation:
    """Put trials into one group."""
    rows = {row: summarise([of.figures[row] for of in trials if row in of.figures]) for row in ROWS}
    facts = {"name": "m", "parameters": 1, "frame_rate_hz": 25.0, "codebook_size": 2}
    return Evaluation(
        model=facts | {"speakers": ["b"]},
        corpus="made",
        sample_rate=RATE,
        plan=Plan("test", tuple(of.trial for of in trials), {"b": (0,)}, ("c",), ()),
        sampling={"engine": "native"},
        measured=measured,
        likelihood=None,
        groups=(Group(CONVERSION, TOGETHER, rows),),
        trials=trials,
        phones={},
        sound_s=3.0,
        took_s=2.0,
        remarks=("<b>said</b>",),
    )


def test_examples_are_the_first_of_each_group() -> None:
    """As many of each as wanted, in the order of the groups."""
    trials = [judged(group, i) for i, group in enumerate("xxyxy")]
    assert choose_examples(trials, 2) == [0, 1, 2, 4]
    assert choose_examples(trials, 0) == []


def test_names_and_transcripts_are_text_not_markup() -> None:
    """Whatever a corpus or a recogniser writes is shown as it is, in tables and beside players."""
    of = judged("x", 0, transcript="<script>alert(1)</script>")
    wavs = {"source": np.zeros(RATE, np.float32), "made": np.zeros(9 * RATE, np.float32)}
    page = to_html(evaluation((of,), {"words": "a parrot"}), [Example(of, wavs)])
    assert "<script>alert" not in page
    assert "&lt;Hello&gt; &amp; goodbye" in page
    assert "&lt;b&gt;said&lt;/b&gt;" in page
    assert page.count("<audio") == 2
    # 16-bit samples in base64: what is longer than an excerpt was cut.
    assert len(page) < 40_000 + (1 + EXCERPT_S) * RATE * 2 * 4 / 3


def test_columns_are_of_those_who_judged() -> None:
    """A judge that is left out has no column; a row that has no recordings is left out too."""
    (table,) = tables(evaluation((judged("x", 0),), {"words": ""}))
    assert table.columns == ("number", "word error")
    assert list(table.rows) == ["source untouched", "µ-law round trip of the source", "converted"]
    assert table.rows["converted"][1].text == "0.0 %"
    (table,) = tables(evaluation((judged("x", 0),), {"speakers": "", "quality": ""}))
    assert table.columns[:4] == ("number", "to target", "to source", "nearest is target")
    assert table.rows["converted"][3].beside == "chance 100.0 %"


def test_speed_speakers_and_judges_are_told() -> None:
    """The text above the tables says what a figure is worth; JSON holds no NaN."""
    found = evaluation((judged("x", 0),), {"speakers": "d-vectors"})
    text = to_markdown(found)
    assert "1.50 times real time" in text
    assert "1 more with less than 5 s" in text
    assert "speakers by d-vectors" in text
    assert text.endswith("- <b>said</b>\n")
    assert "NaN" not in to_json(found)
