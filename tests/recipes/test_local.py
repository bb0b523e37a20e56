import json
import math
from pathlib import Path

import convert_pairs
import encode_split
import numpy as np
import pytest
import report
import soundfile

import vqspeech
from vqspeech.codes import files as codesfile
from vqspeech.corpus.prepare import find_corpus, prepare
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import VqspeechError
from vqspeech.models.checkpoint import save_model

PITCH_HZ = {"ann": 230.0, "bea": 205.0, "carl": 95.0, "dan": 120.0}


def buzz(f0_hz: float, duration_s: float, seed: int) -> np.ndarray:
    """A sum of harmonics with some noise: voiced, at a known pitch."""
    time = np.arange(round(duration_s * 16000)) / 16000
    tone = sum(np.sin(2 * math.pi * f0_hz * k * time) / k for k in range(1, 9))
    return 0.2 * tone + 0.002 * np.random.default_rng(seed).normal(size=len(time))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PackedStore:
    """A store of four buzzing speakers who all read the same six sentences."""
    folder = tmp_path_factory.mktemp("buzz")
    for name, f0_hz in PITCH_HZ.items():
        (folder / "in" / name).mkdir(parents=True)
        for i in range(6):
            path = folder / "in" / name / f"s{i}.wav"
            soundfile.write(path, buzz(f0_hz, 0.3 + 0.02 * i, i), 16000)
            path.with_suffix(".txt").write_text(f"sentence number {'abcdef'[i]}")
    return PackedStore(prepare(find_corpus(folder / "in"), folder / "store", workers=0))


@pytest.fixture(scope="module")
def model_file(
    tiny_model_file: Path, store: PackedStore, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny model's shape with the speakers of the store."""
    path = tmp_path_factory.mktemp("model") / "train/model.safetensors"
    model = vqspeech.Autoencoder(vqspeech.load(tiny_model_file).config, store.speakers)
    save_model(model, path, {"steps": 1234, "samples_seen": 5678, "seconds": 9.0})
    return path


def test_codes_of_a_split_are_those_of_the_model(
    store: PackedStore, model_file: Path, tmp_path: Path
) -> None:
    """One line for each test utterance, readable by vqspeech decode."""
    out = tmp_path / "deep/test.jsonl"
    count = encode_split.encode_split(model_file, store.path, "test", out)
    records = codesfile.read(out)
    model, indices = vqspeech.load(model_file), store.indices("test")
    assert count == len(records) == len(indices) > 0
    for record, index in zip(records, indices, strict=True):
        assert record.codes == model.encode(store.wav(index)).tolist()
        record.require_fit(model)
    with pytest.raises(VqspeechError, match="'dev'"):
        encode_split.encode_split(model_file, store.path, "dev", out)


def test_speakers_are_ordered_by_pitch(store: PackedStore) -> None:
    """The median F0 of each speaker is found within 3 %, lowest first."""
    found = convert_pairs.f0_by_speaker(store, "train")
    assert list(found) == ["carl", "dan", "bea", "ann"]
    for name, f0_hz in found.items():
        assert f0_hz == pytest.approx(PITCH_HZ[name], rel=0.03)


@pytest.mark.parametrize("count", [2, 10])
def test_pairs_cross_from_low_to_high_and_back(store: PackedStore, count: int) -> None:
    """Half of the conversions go up and half down; sources are held out; the most distant targets come first."""
    f0 = dict(sorted(PITCH_HZ.items(), key=lambda item: item[1]))
    pairs = convert_pairs.choose_pairs(store, f0, count)
    assert len(pairs) == count
    test = set(store.indices("test").tolist())
    low = {"carl", "dan"}
    for i, pair in enumerate(pairs):
        assert pair.index in test
        source = store.utterances[pair.index].speaker
        assert (source in low) == (i < count // 2)
        assert (pair.target in low) == (i >= count // 2)
    assert pairs[0].target == "ann"
    assert pairs[count // 2].target == "carl"


def test_one_voice_cannot_be_paired(store: PackedStore) -> None:
    """Fewer than two targets are an error in one line."""
    with pytest.raises(VqspeechError, match="expected 2 or more"):
        convert_pairs.choose_pairs(store, {"ann": 230.0})


def test_conversions_are_written_and_measured(
    store: PackedStore, model_file: Path, tmp_path: Path
) -> None:
    """Source and result lie side by side, equally long; moved is what the three frequencies say."""
    pairs = convert_pairs.choose_pairs(store, dict(sorted(PITCH_HZ.items(), key=lambda i: i[1])), 2)
    made = convert_pairs.convert(vqspeech.load(model_file), store, pairs, PITCH_HZ, tmp_path)
    for conversion, pair in zip(made, pairs, strict=True):
        samples = store.utterances[pair.index].samples
        for name in (conversion.source_file, conversion.converted_file):
            assert soundfile.info(tmp_path / name).frames == samples
        assert conversion.source_file.startswith(f"{conversion.source}_s")
        assert conversion.source_f0_hz == pytest.approx(PITCH_HZ[conversion.source], rel=0.03)
        if conversion.converted_f0_hz is None:
            assert not conversion.moved
        else:
            goal = math.log(conversion.target_f0_hz)
            before = abs(math.log(conversion.source_f0_hz) - goal)
            assert conversion.moved == (abs(math.log(conversion.converted_f0_hz) - goal) < before)


@pytest.fixture
def experiment(tmp_path: Path, model_file: Path) -> Path:
    """The files that the stages before the report leave, with figures that are easy to recognise."""
    metrics = {
        "bits_per_sample": 3.25,
        "shuffled_bits": 3.75,
        "unigram_bits": 5.5,
        "uniform_bits": 8.0,
        "used_codes": 61,
        "perplexity": 43.21,
        "codebook_size": 64,
    }
    phones = {
        "map_accuracy": 0.4321,
        "map_accuracy_interval": [0.41, 0.45],
        "chance": 0.12,
        "shuffled": 0.13,
    }
    unscored = dict.fromkeys(phones) | {"map_accuracy_interval": [None, None]}
    abx = {
        f"{where}_{kind}": {"error": error}
        for where, errors in (("within", (0.36, 0.15)), ("across", (0.41, None)))
        for kind, error in zip(("codes", "vectors"), errors, strict=True)
    }
    model = {"with_silence": phones, "without_silence": unscored, "abx": abx}
    other = {"with_silence": phones | {"map_accuracy": 0.222}, "without_silence": unscored}
    analysis = {
        "model": {"kind": "model", "complaints": ["no better than shuffled codes: 43"], **model},
        "random weights": {"kind": "random weights", "complaints": [], **other},
    }
    conversion = {
        "source": "m1",
        "target": "f1",
        "source_file": "m1_001.wav",
        "converted_file": "m1_001-f1.wav",
        "source_f0_hz": 101.0,
        "target_f0_hz": 210.0,
        "converted_f0_hz": 190.0,
        "moved": True,
    }
    still = conversion | {"converted_f0_hz": None, "moved": False}
    exp = tmp_path / "exp"
    for name, content in (
        ("train/metrics.json", metrics),
        ("converted/conversions.json", [conversion, still]),
        ("analysis/scores.json", analysis),
    ):
        (exp / name).parent.mkdir(parents=True)
        (exp / name).write_text(json.dumps(content))
    (exp / "train/model.safetensors").write_bytes(model_file.read_bytes())
    return exp


def test_every_figure_of_the_report_has_its_baseline_in_the_same_row(experiment: Path) -> None:
    """Likelihood beside uniform, unigram and shuffled; accuracy beside chance and shuffled; moves beside chance."""
    rows = report.compose(experiment).splitlines()

    def row(start: str) -> str:
        (found,) = [line for line in rows if line.startswith(f"| {start}")]
        return found

    for start, figures in {
        "bits per sample": ("3.250", "8 uniform", "5.500 unigram"),
        "what the decoder takes": ("+0.500 bits", "3.750"),
        "codes used": ("61", "64"),
        "perplexity": ("43.2", "64"),
        "phone map accuracy, all": (
            "43.2% [41.0%, 45.0%]",
            "12.0% chance",
            "13.0% codes shuffled",
            "22.2% random weights",
        ),
        "ABX error between phones, within": ("36.0% codes", "15.0% vectors", "50.0% chance"),
        "ABX error between phones, across": ("41.0% codes", "- vectors"),
        "conversions that moved": ("1 of 2", "1 by chance"),
    }.items():
        assert all(figure in row(start) for figure in figures), row(start)
    assert "1,234 steps, 5,678 samples seen" in "\n".join(rows)
    assert "**no better than shuffled codes: 43**" in rows
    assert any("unvoiced" in line and "| no " in line for line in rows)


def test_a_corpus_without_labels_is_reported_without_phones(experiment: Path) -> None:
    """The page says that phones are missing, not a number."""
    (experiment / "analysis/scores.json").unlink()
    text = report.compose(experiment)
    assert "no phone labels" in text
    assert "map accuracy" not in text


@pytest.mark.parametrize("name", ["train/metrics.json", "converted/conversions.json"])
def test_a_missing_or_damaged_file_is_named(experiment: Path, name: str) -> None:
    """The report says which file it wants."""
    (experiment / name).write_text("{")
    with pytest.raises(VqspeechError, match=name):
        report.compose(experiment)
    (experiment / name).unlink()
    with pytest.raises(VqspeechError, match=name):
        report.compose(experiment)
