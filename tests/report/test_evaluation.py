import json
from dataclasses import replace
from math import log

import numpy as np
from evaluated import RATE, evaluation, judged

from vqspeech.metrics.rate import code_cost
from vqspeech.report.evaluation import (
    EXCERPT_S,
    Example,
    choose_examples,
    headlines,
    likelihood_table,
    tables,
    to_html,
    to_json,
    to_markdown,
)
from vqspeech.training.validate import HeldOut


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
    assert table.columns == ("number", "word error rate")
    assert list(table.rows) == ["source untouched", "µ-law round trip of the source", "converted"]
    assert table.rows["converted"]["word error rate"].text == "0.0 %"
    (table,) = tables(evaluation((judged("x", 0),), {"speakers": "", "quality": ""}))
    assert table.columns[:4] == ("number", "to target", "to source", "nearest is target")
    assert table.rows["converted"]["nearest is target"].beside == "chance 100.0 %"


def test_headlines_stand_beside_recordings() -> None:
    """Words of conversions beside those of their sources; what was not judged has no headline."""
    trials = (judged("x", 0, transcript="hello"),)
    found = evaluation(
        trials, {"words": ""}, code_cost([], [np.array([0, 1])], 2, hop=4, sample_rate=RATE)
    )
    rows = {row: replace(of, word_error=0.25) for row, of in found.groups[0].rows.items()}
    rows["source"] = replace(rows["source"], word_error=0.125)
    group = replace(found.groups[0], rows=rows)
    assert headlines(replace(found, groups=(group,))) == [
        ("word error rate, conversions", "25.0 %", "recordings 12.5 %"),
        ("rate of the codes", "2000 bit/s", "at most 2000 bit/s"),
    ]


def test_speed_speakers_and_judges_are_told() -> None:
    """The text above the tables says what a figure is worth; JSON holds no NaN."""
    found = evaluation((judged("x", 0),), {"speakers": "d-vectors"})
    text = to_markdown(found)
    assert "1.50 times real time" in text
    assert "1 more with less than 5 s" in text
    assert "speakers by d-vectors" in text
    assert text.endswith("- <b>said</b>\n")
    assert "NaN" not in to_json(found)


def test_the_bound_stands_beside_what_knows_less() -> None:
    """Rows of baselines, and of the prior where there is one; without a likelihood there is no bound."""
    cost = code_cost([], [np.array([0, 1])], 2, hop=4, sample_rate=RATE)
    (table, _) = tables(evaluation((judged("x", 0),), {}, cost))
    assert list(table.rows) == ["uniform", "unigram", "bigram"]
    assert [cell.text for cell in table.rows["uniform"].values()] == [
        "1.000",
        "2000.0",
        "0.2500",
        "-",
    ]
    found = evaluation((judged("x", 0),), {}, replace(cost, prior=0.5))
    likelihood = HeldOut("test", 1, 1.0, 1.0, 1.5, 2.0, 7.0, 8.0, 1.0, 2, 2.0, 2)
    found = replace(found, likelihood=likelihood)
    prior = tables(found)[1].rows["learned prior"].values()
    assert [cell.text for cell in prior] == ["0.500", "1000.0", "0.1250", "1.6250"]
    assert json.loads(to_json(found))["codes"]["prior"]["bound_bits_per_sample"] == 1.625


def test_likelihood_with_contours_is_a_row_of_its_own() -> None:
    """Where it was taken it stands below the model's, in nats and by how much it is above; else there is no row."""
    likelihood = HeldOut("test", 1, 1.0, 1.0, 1 / log(2), 2.0, 7.0, 8.0, 1.0, 2, 2.0, 2)
    assert list(likelihood_table(likelihood).rows)[:2] == ["model", "codes shuffled in time"]
    table = likelihood_table(replace(likelihood, contour_nats=0.9))
    assert list(table.rows)[:2] == ["model", "model, given the contour"]
    row = table.rows["model, given the contour"]
    assert [row[name].text for name in ("nats a sample", "nats above the model")] == [
        "0.900",
        "-0.100",
    ]
    table = likelihood_table(replace(likelihood, contour_nats=0.9, contour_cost_nats=0.02))
    row = table.rows["model, contour and samples"]
    assert row["nats a sample"].text == "0.920"
