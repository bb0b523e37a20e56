"""Cards: every figure of the file's header, with its baselines, and all that a person must be told."""

import re
import shutil
from pathlib import Path

import pytest

from vqspeech.errors import VqspeechError
from vqspeech.models import pretrained
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import save_model, save_prior
from vqspeech.models.prior import Prior
from vqspeech.report.card import write_card

WORDS = Path(__file__).resolve().parents[2] / "recipes/pretrained"
HELD_OUT = {
    "split": "test",
    "utterances": 7,
    "seconds": 90.0,
    "nats_per_sample": 2.0,
    "bits_per_sample": 2.885,
    "shuffled_bits": 3.885,
    "unigram_bits": 7.5,
    "uniform_bits": 8.0,
    "used_codes": 15,
    "perplexity": 9.5,
    "codebook_size": 16,
}
TRAINING = {
    "steps": 12345,
    "samples_seen": 57_600_000,
    "seconds": 7200.0,
    "hardware": "1 x a machine",
    "minutes": {"corpus/one": {"p225": 1.5}, "corpus/two": {"p225": 0.25, "p226": 2.0}},
    "curve": [
        {"step": 1000 * i, "training_s": 60.0 * i, "nats_per_sample": 4 - i / 50}
        | {key: HELD_OUT[key] for key in HELD_OUT if key.endswith("_bits")}
        | {"used_codes": i, "perplexity": 1.0, "codebook_size": 16}
        for i in range(1, 101)
    ],
}
ACCURACY = {
    "map_accuracy": 0.5,
    "map_accuracy_interval": [0.45, 0.55],
    "chance": 0.1,
    "shuffled": 0.12,
}
EVALUATION = {
    "corpus": "some corpus",
    "sampling": {"temperature": 1.0, "seed": 0},
    "groups": [
        {
            "kind": "conversion",
            "group": "ann to bea",
            "rows": {
                "source": {"recordings": 5, "word_error": 0.05, "word_error_interval": [0.01, 0.1]},
                "real": {"recordings": 0, "word_error": None},
                "made": {
                    "recordings": 5,
                    "word_error": 0.4,
                    "word_error_interval": [0.3, 0.5],
                    "nearest_is_target": 0.8,
                    "nearest_interval": [None, None],
                    "mcd_db": None,
                },
            },
        }
    ],
    "phones": {
        "mine": {
            "codebook_size": 16,
            "frame_rate_hz": 25.0,
            "with_silence": ACCURACY,
            "without_silence": ACCURACY,
        }
    },
    "remarks": ["one is short"],
}


def rows(text: str) -> list[list[str]]:
    """Return the cells of all tables."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


@pytest.fixture
def file(tiny_model: Autoencoder, tmp_path: Path) -> Path:
    """A tiny model that was trained and scored, under the name of one that ships."""
    scores = {"held_out": HELD_OUT, "evaluation": EVALUATION}
    save_model(tiny_model, tmp_path / "vctk.safetensors", TRAINING, scores, half=True)
    return tmp_path / "vctk.safetensors"


def card(file: Path) -> str:
    """Return the text of the card of a model."""
    return write_card(file, WORDS).read_text()


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_every_name_has_its_words(tmp_path: Path, tiny_model: Autoencoder, name: str) -> None:
    """The parts all find their places; licences with the notice that must stay, and what it is not for."""
    save_model(tiny_model, tmp_path / f"{name}.safetensors", TRAINING)
    text = card(tmp_path / f"{name}.safetensors")
    assert text.startswith(f"# {name}\n")
    for part in ("What it is for", "Data and licences", "Failures", "What it must not be used for"):
        assert f"\n## {part}\n" in text
    assert "The code must retain the above copyright notice, this list of" in text
    assert "DISCLAIM ALL WARRANTIES" in text
    for needed in ("LibriSpeech", "CC BY 4.0", "CSTR VCTK", "ODC-By 1.0", "consent", "synthetic"):
        assert needed in text
    assert not {"{{", "{%", "\n\n\n"} & set(re.findall(r"\{[{%]|\n{3,}", text))


def test_figures_stand_beside_their_baselines(file: Path) -> None:
    """Held-out likelihood beside shuffled, unigram and uniform, in nats."""
    found = {row[0]: row[1:] for row in rows(card(file))}
    assert found["nats a sample (2.885 bits)"] == [
        "2",
        "2.693 codes shuffled in time, 5.199 unigram, 5.545 uniform",
    ]
    assert found["nats lost when its codes are shuffled in time"][0] == "0.6931"
    assert found["codes used"] == ["15", "16 in the codebook"]


def test_a_prior_is_told_of(file: Path, tiny_prior: Prior) -> None:
    """Its bits stand beside those of simpler models, what it draws beside real speech; without one a line says so."""
    assert "No prior comes with it." in card(file)
    held_out = {"split": "test", "codes": 5000, "sequences": 7, "codes_a_second": 100.0}
    held_out |= {"uniform": 9.0, "unigram": 8.5, "bigram": 5.0, "trigram": 4.5}
    held_out |= {"nobody": 4.25, "prior": 4.0}
    row = {"unigrams": 0.1, "bigrams": 0.2, "coarse_trigrams": 0.3}
    row |= {"spaced_trigrams": 0.4, "judged": 4.5}
    heard = {"recordings": 20, "confidence": -0.5, "error": 0.25, "no_speech": 0.1}
    figures = {
        "held_out": held_out,
        "likeness": {"prior": row},
        "heard": {"prior, decoded": heard | {"words_a_second": 3.0}},
    }
    training = {"steps": 10, "codes_seen": 20, "seconds": 120.0, "hardware": "a machine"}
    path = pretrained.prior_beside(file)
    save_prior(tiny_prior, path, training, {"held_out": held_out})
    assert ["**prior**", "4", "400"] in rows(card(file))
    save_prior(tiny_prior, path, training, {"held_out": held_out, "evaluation": figures})
    found = rows(card(file))
    assert ["bigram", "5", "500"] in found
    assert ["prior", "0.1", "0.2", "0.3", "0.4", "4.5"] in found
    assert ["prior, decoded", "20", "-0.50 ± 0.25", "0.1", "3"] in found
    assert ["trained", "10 steps, 20 codes, 2 minutes on a machine"] in found


def test_an_evaluation_is_laid_out(file: Path) -> None:
    """What was made stands below its source; what nobody measured has no column, nobody no row."""
    text = card(file)
    assert "#### Conversion: ann to bea\n" in text
    found = rows(text)
    at = found.index(["", "recordings", "nearest is target", "word error rate"])
    assert found[at + 2 : at + 4] == [
        ["source untouched", "5", "-", "5.0 % [1, 10]"],
        ["made by the model", "5", "80.0 %", "40.0 % [30, 50]"],
    ]
    assert not any("real target" in row for row in found)
    accuracy = "50.0 % [45, 55] (chance 10.0 %, codes shuffled 12.0 %)"
    assert ["mine", "25", "16", accuracy, accuracy] in found
    assert ["sampling temperature", "1"] in found
    assert "- one is short" in text


def test_likelihood_of_what_is_shipped_comes_first(file: Path, tiny_model: Autoencoder) -> None:
    """An evaluation that has it is believed over the end of training; there is one such table."""
    evaluation = EVALUATION | {"likelihood": HELD_OUT | {"used_codes": 14}}
    save_model(tiny_model, file, TRAINING, {"held_out": HELD_OUT, "evaluation": evaluation})
    assert [row[1] for row in rows(card(file)) if row[0] == "codes used"] == ["14"]


def test_other_scores(file: Path, tiny_model: Autoencoder) -> None:
    """Values of any shape stand under the words that lead to them."""
    scores = {"speed": {"one_core": {"x_real_time": 2.0}}, "note": "a | b", "list": [1, 2.5, None]}
    save_model(tiny_model, file, {}, scores)
    text = card(file)
    for line in (
        "| speed one core x real time | 2 |",
        "| note | a \\| b |",
        "| list | 1, 2.5, - |",
    ):
        assert line in text.splitlines()


def test_training_is_told(file: Path) -> None:
    """Steps, hours of speech, time and hardware."""
    found = {row[0]: row[1] for row in rows(card(file)) if len(row) == 2}
    assert found["steps"] == "12,345"
    assert found["samples seen"] == "57,600,000 (1 hours of speech)"
    assert found["time"] == "2 hours"
    assert found["hardware"] == "1 x a machine"


def test_a_long_curve_is_thinned(file: Path) -> None:
    """A dozen rows at equal distances, the last validation always among them."""
    found = rows(card(file))
    begin = found.index(["step", "hours", "nats", "codes shuffled", "codes used", "perplexity"]) + 2
    table = [row for row in found[begin : begin + 13] if len(row) == 6]
    assert len(table) == 12
    assert table[-1] == ["100,000", "1.667", "2", "2.693", "100 of 16", "1"]
    assert {int(row[0].replace(",", "")) % 9000 for row in table} == {1000}


def test_minutes_of_a_speaker_are_added_up(file: Path) -> None:
    """Parts of one corpus count together; who has none is listed with nothing."""
    text = card(file)
    assert "3.8 of corpus" in text
    begin = rows(text).index(["speaker", "corpus", "minutes"]) + 2
    assert rows(text)[begin : begin + 3] == [
        ["p225", "corpus", "1.75"],
        ["p226", "corpus", "2.00"],
        ["p227", "-", "0.00"],
    ]


def test_a_model_that_says_little(file: Path, tiny_model: Autoencoder) -> None:
    """Without training, minutes and scores the card says that they are not there."""
    save_model(tiny_model, file)
    text = card(file)
    for words in ("p225, p226, p227.", "does not say", "No validation", "not been scored"):
        assert words in text


def test_words_that_do_not_fit(file: Path, tmp_path: Path) -> None:
    """A text that is not there, an unknown part and a missing block are named; no card is written."""
    words = tmp_path / "words"
    words.mkdir()
    for name in ("licences.md", "misuse.md"):
        (words / name).write_text("text")
    for text, expected in (
        ("", r"vctk\.md\.in: no such file"),
        ("{{ scroes }}", r"vctk\.md\.in: 'scroes' is undefined"),
        ('{% extends "card.md" %}', r"vctk\.md\.in: .*summary"),
    ):
        if text:
            (words / "vctk.md.in").write_text(text)
        with pytest.raises(VqspeechError, match=expected):
            write_card(file, words)
    assert not file.with_suffix(".md").exists()


@pytest.mark.parametrize("name", pretrained.names())
def test_a_shipped_card_is_what_its_file_says(name: str, tmp_path: Path) -> None:
    """Written again from the figures in the file, it is the card that ships."""
    for shipped in pretrained.FOLDER.glob(f"{name}*.safetensors"):
        shutil.copy(shipped, tmp_path)
    assert card(tmp_path / f"{name}.safetensors") == pretrained.card(name)
