"""A study as a page, tables, CSV and JSON: all of it is there, beside its baselines, and the page asks for nothing."""

import base64
import csv
import io
import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pages import Page
from studied import reading_system, studied

from vqspeech.analysis.examples import make_examples
from vqspeech.analysis.material import Material
from vqspeech.analysis.study import SystemStudy, sanity_checks, study_system
from vqspeech.analysis.systems import MFCC, RANDOM
from vqspeech.corpus.store import PackedStore
from vqspeech.metrics.phoneme_scores import PhoneScores
from vqspeech.report.analysis import headlines, tables, to_csv, to_html, to_json, to_markdown
from vqspeech.report.document import Cell
from vqspeech.report.plots import PLOTS, pictures

Studied = tuple[PackedStore, Material, SystemStudy]


@pytest.fixture(scope="module")
def perfect(tmp_path_factory: pytest.TempPathFactory) -> Studied:
    """Codes that are the phones; no pitch, one speaker."""
    return studied(tmp_path_factory.mktemp("r") / "s", lambda phones: phones)


@pytest.fixture(scope="module")
def html(perfect: Studied) -> str:
    """A page of perfect codes, with all pictures and one utterance, whose system has an odd name."""
    store, material, study = perfect
    examples = make_examples({}, [study.system], store, material.labels, [material.scored[0]])
    return to_html(material, [study], {"<b>&": pictures(study)}, examples)


@pytest.fixture(scope="module")
def studies(perfect: Studied) -> list[SystemStudy]:
    """Two systems on one corpus, the second with a bar in its name."""
    store, material, study = perfect
    other = study_system(reading_system("a|b", RANDOM), store, material, pitch={})
    return [study, other]


def test_the_page_asks_for_nothing(html: str) -> None:
    """No link, no frame, no address: pictures and sound are data, and a policy forbids the rest."""
    Page(html).asks_for_nothing()


def test_sound_on_the_page_is_the_recording(html: str) -> None:
    """What an audio element holds is a wav file of the utterance's length and samples."""
    (audio,) = Page(html).of("audio")
    kind, _, content = audio["src"].partition(";base64,")
    assert kind == "data:audio/wav"
    wav, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="int16")
    assert (len(wav) / rate, rate) == (1.2, 16000)
    assert set(np.unique(wav)) <= {0, 1, 2, 3}


def test_all_can_be_read_without_seeing_it(html: str) -> None:
    """Pictures have words, players and drawings labels, heads of tables a scope, the page a language."""
    page = Page(html)
    assert len(page.of("img")) == len(PLOTS)
    assert all(image["alt"] for image in page.of("img"))
    assert all(player["aria-label"] for player in page.of("audio"))
    assert all(drawing["aria-label"] for drawing in page.of("svg"))
    assert all(head["scope"] in ("col", "row") for head in page.of("th"))
    assert page.of("html") == [{"lang": "en"}]
    assert page.of("label")[0]["for"] == page.of("select")[0]["id"]


def test_names_are_text_not_markup(html: str) -> None:
    """A name with letters that mean something in HTML is shown as it is."""
    assert "<b>&" not in html.replace("&lt;b&gt;&amp;", "")
    assert "&lt;b&gt;&amp;" in html


def test_every_table_and_the_corpus_are_on_the_page(html: str, studies: list[SystemStudy]) -> None:
    """It opens with headline figures and utterances; no score is left out; nothing reads nan."""
    assert "8 utterances of the test split" in html
    order = [html.index(f"<{part}") for part in ('dl class="headlines"', "svg", "audio", "table")]
    assert order == sorted(order)
    # and that of the systems
    assert len(Page(html).of("table")) == len(tables(studies)) + 1
    text = re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL)
    assert "nan" not in text.split()
    assert "100.0 %" in text


def test_codes_have_the_colour_of_their_phone(html: str) -> None:
    """With perfect codes the row of codes repeats the row of phones."""
    fills = re.findall(r'y="(\d+)" width="([\d.]+)" height="26" fill="([^"]+)"', html)
    rows = [[fill[1:] for fill in fills if fill[0] == top] for top in sorted({f[0] for f in fills})]
    assert len(rows) == 2
    assert rows[0] == rows[1]
    assert len({colour for _, colour in rows[0]}) == 4


def test_headlines_are_those_of_the_tables_beside_their_baselines(perfect: Studied) -> None:
    """Accuracy, ABX and rate of a model; k-means of MFCC stands beside it, and has none of its own."""
    _, _, study = perfect
    mfcc = replace(study, system=replace(study.system, name="mfcc", kind=MFCC))
    found = headlines([study, mfcc])
    assert list(found) == ["reading"]
    accuracy, abx, rate = found["reading"]
    cells = {table.title: table.rows["reading"] for table in tables([study])}
    chance = study.policies["without_silence"].chance
    assert accuracy == ("phone accuracy", "100.0 %", f"chance {100 * chance:.1f} %, mfcc 100.0 %")
    assert abx[0] == "ABX error, within speakers"
    assert cells["ABX error between phones"]["codes, within speakers"].text.startswith(abx.text)
    unigram = cells["Rate of the codes"]["bit/s, unigram"].value
    assert rate == ("rate of the codes", f"{unigram:.0f} bit/s", "at most 300 bit/s")


def test_scrambled_codes_raise_an_alarm(tmp_path: Path) -> None:
    """Codes in the wrong order are named in a box above all tables, and wherever the numbers are."""
    _, material, study = studied(tmp_path / "s", lambda phones: phones.reshape(-1, 2).T.ravel())
    page = to_html(material, [study], {}, [])
    assert page.index('role="alert"') < page.index("<table")
    found = sanity_checks(study)
    assert page.count("no better than shuffled codes") == len(found) == 2
    assert found[0] in to_markdown(material, [study])
    assert found[0] in json.loads(to_json([study]))["reading"]["sanity_checks"]


def test_without_pictures_and_utterances_the_page_is_whole(perfect: Studied) -> None:
    """Sections without content are left out, with their links."""
    _, material, study = perfect
    page = to_html(material, [study], {}, [])
    assert [a["href"] for a in Page(page).of("a")] == ["#scores", "#systems", "#measured"]
    assert 'role="alert"' not in page
    assert len(tables([study])) == page.count('class="sortable"')


def test_json_has_a_key_for_each_system_and_every_score(studies: list[SystemStudy]) -> None:
    """Names are the keys; both policies hold every field of the scores; values survive."""
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
    assert read["reading"]["sanity_checks"] == []


def test_no_score_of_a_study_is_left_out_of_json(perfect: Studied) -> None:
    """Every field of a study is read, but for what the scores were made from."""
    study = perfect[2]
    read = set()

    class Watched:
        def __getattr__(self, name: str) -> object:
            read.add(name)
            return getattr(study, name)

    to_json([Watched()])
    assert {field.name for field in fields(SystemStudy)} - read == {"aligned", "speakers"}


def test_json_has_null_where_there_is_no_value(studies: list[SystemStudy]) -> None:
    """One speaker alone has no probe; JSON has no word for nan but null."""
    text = to_json(studies)
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert read["reading"]["speaker_probe"]["accuracy"] is None
    assert read["reading"]["abx"]["across_codes"]["interval"] == [None, None]


def test_csv_has_a_row_for_each_system_and_policy(studies: list[SystemStudy]) -> None:
    """Each row has every column; an interval is two; what has no value is empty."""
    rows = list(csv.DictReader(io.StringIO(to_csv(studies))))
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


def test_tables_have_a_cell_for_each_column_and_a_row_for_each_system(
    studies: list[SystemStudy],
) -> None:
    """No table has a hole, and every one has both systems."""
    for table in tables(studies):
        assert list(table.rows) == ["reading", "a|b"]
        assert {tuple(cells) for cells in table.rows.values()} == {table.columns}


def test_every_score_stands_beside_its_baseline(studies: list[SystemStudy]) -> None:
    """Whatever has a value and is a score, not a count, has something beside it."""
    for table in tables(studies):
        for column, cell in table.rows["reading"].items():
            if column != "codes/s" and not math.isnan(cell.value):
                assert cell.beside, (table.title, column)


def test_markdown_is_well_formed_and_says_what_was_measured(
    perfect: Studied, studies: list[SystemStudy]
) -> None:
    """Rows of a table have as many cells as its head; corpus, minutes and phones are told; no nan."""
    text = to_markdown(perfect[1], studies)
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
    assert len(blocks) == len(tables(studies))
    for lines in blocks:
        assert len(lines) == 4
        assert len({line.count("|") for line in lines}) == 1


def test_codes_cost_what_the_prior_says_beside_baselines(studies: list[SystemStudy]) -> None:
    """A prior of one bit a code, on a decoder of two bits a sample: by hand, beside those that know less."""
    study = studies[0]
    rate, hop = study.system.sample_rate, study.system.hop
    study = replace(study, system=replace(study.system, sample_bits=2.0))
    known = replace(study, cost=replace(study.cost, prior=1.0))

    def rate_of(study: SystemStudy) -> list[Cell]:
        (table,) = (of for of in tables([study]) if of.title == "Rate of the codes")
        return list(table.rows["reading"].values())

    cells = rate_of(known)
    assert [cell.beside for cell in cells[:4:3]] == ["3.00 a code", "1.00 a code"]
    assert [cells[0].value, cells[3].value] == [3 * rate / hop, rate / hop]
    assert cells[4].value == 2 + 1 / hop
    assert cells[4].beside.startswith(f"uniform {2 + 3 / hop:.4f}, unigram ")
    assert [cell.text for cell in rate_of(study)][3:] == ["-", "-"]
    read = json.loads(to_json([known]))["reading"]["code_cost"]
    assert read["prior"]["bound_bits_per_sample"] == 2 + 1 / hop
    assert read["uniform"]["bits_per_code"] == 3
