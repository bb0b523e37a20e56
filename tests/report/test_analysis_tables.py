import csv
import io
import json
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from studied import reading_system, studied

from vqspeech.analysis.material import Material
from vqspeech.analysis.study import SystemStudy, complaints, study_system
from vqspeech.analysis.systems import RANDOM
from vqspeech.metrics.phoneme_scores import PhoneScores
from vqspeech.report.analysis_tables import tables, to_csv, to_json, to_markdown


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Material, list[SystemStudy]]:
    """Two systems on one corpus, the second with a bar in its name; no pitch, one speaker."""
    store, material, study = studied(tmp_path_factory.mktemp("t") / "s", lambda phones: phones)
    other = study_system(reading_system("a|b", RANDOM), store, material, pitch={})
    return material, [study, other]


def test_json_has_a_key_for_each_system_and_every_score(found) -> None:
    """Names are the keys; both policies hold every field of the scores; values survive."""
    _, studies = found
    read = json.loads(to_json(studies))
    assert list(read) == ["reading", "a|b"]
    names = {field.name for field in fields(PhoneScores)}
    for policy in ("with_silence", "without_silence"):
        assert set(read["reading"][policy]) == names
        assert read["reading"][policy]["map_accuracy"] == 1
    assert read["a|b"]["kind"] == RANDOM
    assert read["reading"]["abx"]["within_codes"]["error"] == 0
    assert read["reading"]["boundaries"]["codes"]["f1"] == 1
    assert read["reading"]["mapping"][:4] == ["aa", "s", "iy", "sil"]
    assert read["reading"]["complaints"] == []


def test_json_has_null_where_there_is_no_value(found) -> None:
    """One speaker alone has no probe; JSON has no word for nan but null."""
    text = to_json(found[1])
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert read["reading"]["speaker_probe"]["accuracy"] is None
    assert read["reading"]["abx"]["across_codes"]["interval"] == [None, None]


def test_csv_has_a_row_for_each_system_and_policy(found) -> None:
    """Each row has every column; an interval is two; what has no value is empty."""
    rows = list(csv.DictReader(io.StringIO(to_csv(found[1]))))
    assert [(row["system"], row["silence"]) for row in rows] == [
        ("reading", "with"),
        ("reading", "without"),
        ("a|b", "with"),
        ("a|b", "without"),
    ]
    assert not any(None in row or None in row.values() for row in rows)
    assert float(rows[0]["map_accuracy_interval_low"]) == 1
    assert float(rows[0]["chance"]) < 0.5
    assert rows[0]["speaker_probe_accuracy"] == ""
    assert float(rows[0]["abx_within_codes_error"]) == 0


def test_tables_have_a_cell_for_each_column_and_a_row_for_each_system(found) -> None:
    """No table has a hole, and every one has both systems."""
    for table in tables(found[1]):
        assert list(table.rows) == ["reading", "a|b"]
        assert {len(cells) for cells in table.rows.values()} == {len(table.columns)}


def test_every_score_stands_beside_its_baseline(found) -> None:
    """Whatever has a value and is a score, not a count, has something beside it."""
    for table in tables(found[1]):
        for column, cell in zip(table.columns, table.rows["reading"], strict=True):
            if column != "codes/s" and not math.isnan(cell.value):
                assert cell.beside, (table.title, column)


def test_markdown_is_well_formed_and_says_what_was_measured(found) -> None:
    """Rows of a table have as many cells as its head; corpus, minutes and phones are told; no nan."""
    text = to_markdown(*found)
    assert "12 utterances of the train split" in text
    assert "8 utterances of the test split" in text
    assert "nan" not in text
    block: list[str] = []
    blocks = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line.replace("\\|", ""))
        elif block:
            blocks.append(block)
            block = []
    assert len(blocks) == len(tables(found[1]))
    for lines in blocks:
        assert len(lines) == 4
        assert len({line.count("|") for line in lines}) == 1


def test_complaints_are_in_the_markdown_and_the_json(tmp_path: Path) -> None:
    """What cannot be meant is said wherever the numbers are."""
    _, material, study = studied(tmp_path / "s", np.zeros_like)
    (first, *_) = complaints(study)
    assert first in to_markdown(material, [study])
    assert first in json.loads(to_json([study]))["reading"]["complaints"]


def test_codes_cost_what_the_prior_says_beside_baselines(found) -> None:
    """A prior of one bit a code, on a decoder of two bits a sample: by hand, beside those that know less."""
    _, (study, _) = found
    rate, hop = study.system.sample_rate, study.system.hop
    study = replace(study, system=replace(study.system, sample_bits=2.0))
    known = replace(study, cost=replace(study.cost, prior=1.0))
    cells = tables([known])[-1].rows["reading"]
    assert [cell.beside for cell in cells[:4:3]] == ["3.00 a code", "1.00 a code"]
    assert [cells[0].value, cells[3].value] == [3 * rate / hop, rate / hop]
    assert cells[4].value == 2 + 1 / hop
    assert cells[4].beside.startswith(f"uniform {2 + 3 / hop:.4f}, unigram ")
    assert [cell.text for cell in tables([study])[-1].rows["reading"][3:]] == ["-", "-"]
    read = json.loads(to_json([known]))["reading"]["code_cost"]
    assert read["prior"]["bound_bits_per_sample"] == 2 + 1 / hop
    assert read["uniform"]["bits_per_code"] == 3
