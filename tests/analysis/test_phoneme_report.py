import json
from dataclasses import fields
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from labelled_store import ReadingModel, Spoken, lab_of, write_store

from vqspeech.analysis.phoneme_report import code_order, heat_map, to_json, to_markdown
from vqspeech.analysis.phoneme_scores import PhoneScores
from vqspeech.analysis.phoneme_study import PhonemeStudy, study_phonemes
from vqspeech.corpus.store import PackedStore


@pytest.fixture
def study(tmp_path: Path) -> PhonemeStudy:
    """Four used codes of eight, one unknown label, one bad file, no speech in a second utterance."""
    utterances = [
        Spoken("train", [6, 6, 1, 4, 4], lab_of(["aa", "aa", "s", "pau", "pau"])),
        Spoken("test", [6, 1, 1, 4, 0], lab_of(["aa", "s", "pau", "pau", "click"])),
        Spoken("test", [4, 2], lab_of(["pau", "s"])),
        Spoken("test", [0], "bad"),
    ]
    store = PackedStore(write_store(tmp_path / "store", utterances))
    return study_phonemes(ReadingModel(), store)


def test_json_holds_every_score_under_both_policies(study: PhonemeStudy) -> None:
    """Field names are the keys, the values survive, arrays that are for drawing stay out."""
    found = json.loads(to_json(study))
    names = {field.name for field in fields(PhoneScores)}
    assert set(found["with_silence"]) == set(found["without_silence"]) == names
    assert found["with_silence"]["map_accuracy"] == study.with_silence.map_accuracy
    assert found["mapping"][6] == "aa"
    assert len(found["mapping"]) == found["codebook_size"] == 8
    assert found["unmapped"] == {"click": 1}
    assert "counts" not in found


def test_json_has_no_nan(tmp_path: Path) -> None:
    """What has no value is null, which every JSON reader knows."""
    silent = [
        Spoken("train", [0, 1], lab_of(["aa", "pau"])),
        Spoken("test", [1, 1], lab_of(["pau", "pau"])),
    ]
    study = study_phonemes(ReadingModel(), PackedStore(write_store(tmp_path / "s", silent)))
    text = to_json(study)
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert found["without_silence"]["map_accuracy"] is None
    assert found["with_silence"]["map_accuracy_interval"] == [None, None]
    assert "nan" not in to_markdown(study)


def test_table_puts_baselines_beside_every_score(study: PhonemeStudy) -> None:
    """Each accuracy row has chance and the control; what was left out is told."""
    text = to_markdown(study)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| map accuracy")
    ]
    of = study.with_silence
    assert [row[1] for row in rows] == ["with", "without"]
    assert rows[0][2].startswith(f"{100 * of.map_accuracy:.1f} %")
    assert rows[0][3] == f"{100 * of.chance:.1f} %"
    assert rows[0][4].startswith(f"{100 * of.shuffled:.1f} %")
    assert "for labels outside the phone set: 1 (`click`)." in text
    assert "Label files not read: 1; first: " in text


def test_table_is_well_formed(study: PhonemeStudy) -> None:
    """All rows of a table have as many cells as its head."""
    tables: list[list[str]] = [[]]
    for line in to_markdown(study).splitlines():
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    tables = [table for table in tables if table]
    assert [len(table) for table in tables] == [12, 6]
    for table in tables:
        assert len({line.count("|") for line in table}) == 1


def test_codes_are_ordered_by_their_phone_the_surest_first(study: PhonemeStudy) -> None:
    """Used codes only: aa is 6 and the unseen 2, s is 1, silence is 4."""
    assert code_order(study).tolist() == [6, 2, 1, 4]


def test_heat_map_draws_each_used_code_as_a_distribution(study: PhonemeStudy) -> None:
    """Columns sum to 1, one each used code; the picture is a PNG."""
    figure = heat_map(study)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn.shape == (40, 4)
    assert drawn.sum(axis=0).tolist() == pytest.approx([1.0] * 4)
    image = BytesIO()
    figure.savefig(image, format="png")
    assert image.getvalue().startswith(b"\x89PNG")
