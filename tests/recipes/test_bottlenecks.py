"""Probes of one run and the page of several, on a corpus of buzzing speakers whose phones are their pitch."""

import json
import math
from pathlib import Path

import compare_bottlenecks
import numpy as np
import probe_latents
import pytest
import soundfile

from vqspeech.corpus.prepare import find_corpus, prepare
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models.checkpoint import save_model
from vqspeech.models.config import BOTTLENECKS, DISCRETE
from vqspeech.training.validate import HeldOut

RATE = 16000
PHONES = {"aa": 300.0, "s": 3000.0, "pau": 0.0, "iy": 900.0}


def write_utterance(path: Path, level: float, seed: int, labels: bool) -> None:
    """Tones of 50 ms, one for each phone, in an order of its own; silence is silent."""
    rng = np.random.default_rng(seed)
    phones = rng.permutation(list(PHONES) * 3)
    time = np.arange(RATE // 20) / RATE
    tones = [np.sin(2 * math.pi * PHONES[phone] * time) for phone in phones]
    wav = level * np.concatenate(tones) + 0.003 * rng.normal(size=len(time) * len(phones))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, RATE)
    path.with_suffix(".txt").write_text(f"sentence {'abcdefghijkl'[seed % 12]}")
    if labels:
        lines = [f"{i * 500_000} {(i + 1) * 500_000} {phone}" for i, phone in enumerate(phones)]
        path.with_suffix(".lab").write_text("\n".join(lines) + "\n")


def make_store(folder: Path, labels: bool) -> PackedStore:
    for number, name in enumerate(("ann", "bob", "eve")):
        for i in range(8):
            path = folder / "in" / name / f"{i}.wav"
            write_utterance(path, 0.1 * (number + 1), 12 * number + i, labels)
    return PackedStore(
        prepare(find_corpus(folder / "in"), folder / "store", top_db=None, workers=0)
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PackedStore:
    return make_store(tmp_path_factory.mktemp("tones"), labels=True)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> PackedStore:
    """The same without labels."""
    return make_store(tmp_path_factory.mktemp("unlabelled"), labels=False)


@pytest.fixture
def model_file(tiny_of_kind, tmp_path: Path):
    """Return a function that writes the file of a tiny model of some kind."""

    def write(kind: str, steps: int = 100) -> Path:
        path = tmp_path / f"{kind}-0/model.safetensors"
        path.parent.mkdir()
        save_model(tiny_of_kind(kind), path, {"steps": steps, "seconds": 12.3})
        return path

    return write


def metrics_of(kind: str, **changes: float) -> dict:
    """Figures that are easy to recognise, of codes or of none."""
    discrete = kind in DISCRETE
    values = {
        "split": "test",
        "utterances": 6,
        "seconds": 4.2,
        "nats_per_sample": 2.0,
        "bits_per_sample": 3.25,
        "shuffled_bits": 3.75,
        "unigram_bits": 5.5,
        "uniform_bits": 8.0,
        "kl_bits": None if kind == "none" else 4.0,
        "used_codes": 9 if discrete else None,
        "perplexity": 8.0 if discrete else None,
        "codebook_size": 16 if discrete else None,
    }
    return vars(HeldOut(**values | changes)) | {"steps": 100, "curve": []}


@pytest.mark.parametrize("kind", ["vq", "gaussian"])
def test_latents_are_probed_alike_and_codes_beside(
    store: PackedStore, model_file, kind: str
) -> None:
    """Random weights name tones well above chance; silence does not count; codes have figures of their own."""
    found = probe_latents.probe_model(model_file(kind), store)
    assert (found["kind"], found["hop"], found["frame_rate_hz"]) == (kind, 16, 1000)
    probe = found["phones"]["probe"]
    assert probe["accuracy"] > probe["chance"] + 0.1
    assert probe["shuffled"] < probe["accuracy"] - 0.1
    frames = sum(-(-store.utterances[i].samples // 16) for i in store.indices("test"))
    assert probe["scored_frames"] == pytest.approx(0.75 * frames, rel=0.02)
    speakers = found["speakers"]["means"]
    assert speakers["chance"] == pytest.approx(1 / 3)
    assert speakers["accuracy"] > 0.6
    assert ("map" in found["phones"]) == ("histograms" in found["speakers"]) == (kind == "vq")
    if kind == "vq":
        assert found["phones"]["map"]["map_accuracy"] > found["phones"]["map"]["chance"]


def test_without_labels_speakers_alone_are_probed(silent: PackedStore, model_file) -> None:
    """There is nothing to hold phones against."""
    found = probe_latents.probe_model(model_file("gumbel"), silent)
    assert found["phones"] is None
    assert set(found["speakers"]) == {"means", "histograms"}


def test_another_rate_is_refused(store: PackedStore, tiny_of_kind, tmp_path: Path) -> None:
    """In a line that names both."""
    model = tiny_of_kind("vq")
    object.__setattr__(model.config, "sample_rate", 8000)
    try:
        save_model(model, tmp_path / "m.safetensors")
    finally:
        object.__setattr__(model.config, "sample_rate", 16000)
    with pytest.raises(ConfigurationError, match=r"holds 16000 Hz and .* takes 8000 Hz"):
        probe_latents.probe_model(tmp_path / "m.safetensors", store)


@pytest.fixture
def experiment(store: PackedStore, model_file, tmp_path: Path, monkeypatch) -> Path:
    """The folder that trainings and probes of all kinds leave."""
    for kind in BOTTLENECKS:
        path = model_file(kind)
        change = {"shuffled_bits": 3.252} if kind == "vimco" else {}
        path.with_name("metrics.json").write_text(json.dumps(metrics_of(kind, **change)))
        out = path.with_name("probes.json")
        argv = [
            "probe_latents",
            "--store",
            str(store.path),
            "--model",
            str(path),
            "--out",
            str(out),
        ]
        monkeypatch.setattr("sys.argv", argv)
        assert probe_latents.main() == 0
    argv[3:] = ["--mfcc", str(path), "--out", str(tmp_path / "mfcc.json")]
    monkeypatch.setattr("sys.argv", argv)
    assert probe_latents.main() == 0
    return tmp_path


def cells(page: str, row: str) -> dict[str, str]:
    """Cells of a row of the table, by column."""
    head, _, *rows = [line for line in page.splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in head.strip("|").split("|")]
    (line,) = [line for line in rows if line.strip("| ").startswith(f"{row} ")]
    return dict(zip(names, [cell.strip() for cell in line.strip("|").split("|")], strict=True))


def test_the_page_has_every_figure_of_every_run(experiment: Path, monkeypatch) -> None:
    """Rates by hand: 1000 codes a second of 4 bits, of entropy 3, of 4 bits from the prior; dashes where none is."""
    names = [f"{kind}-0" for kind in BOTTLENECKS]
    monkeypatch.setattr("sys.argv", ["compare_bottlenecks", str(experiment), *names])
    assert compare_bottlenecks.main() == 0
    page = (experiment / "bottlenecks.md").read_text()
    vq = cells(page, "vq-0")
    assert vq["bits a sample"] == "3.250"
    assert vq["shuffled"] == "3.750"
    assert vq["gap"] == "+0.500"
    assert vq["with the rate"] == "3.500"
    assert (vq["log2 K, bit/s"], vq["entropy, bit/s"], vq["KL, bit/s"]) == ("4000", "3000", "4000")
    assert vq["codes used"] == "9 of 16"
    assert vq["training, s"] == "12"
    assert "%" in vq["phones, map"]
    gaussian, none = cells(page, "gaussian-0"), cells(page, "none-0")
    assert gaussian["KL, bit/s"] == "4000"
    assert gaussian["with the rate"] == "3.500"
    assert none["KL, bit/s"] == none["with the rate"] == "-"
    for row in (gaussian, none):
        for column in ("log2 K, bit/s", "entropy, bit/s", "codes used", "phones, map"):
            assert row[column] == "-"
        assert "%" in row["phones, probe"]
    assert cells(page, "levels alone")["bits a sample"] == "5.500"
    assert cells(page, "chance")["speaker, means"] == "33.3 %"
    assert cells(page, "chance")["phones, map"] == cells(page, "chance")["phones, probe"] != "-"
    assert "%" in cells(page, "MFCC")["phones, probe"]
    assert cells(page, "MFCC")["speaker, means"] == "-"
    assert "(bottlenecks.png)" in page
    assert (experiment / "bottlenecks.png").read_bytes().startswith(b"\x89PNG")
    runs = json.loads((experiment / "bottlenecks.json").read_text())["runs"]
    assert [run["name"] for run in runs] == names
    assert all(run["gap_bits"] == pytest.approx(run["shuffled_bits"] - 3.25) for run in runs)


def test_a_decoder_that_ignores_its_latents_is_told(experiment: Path) -> None:
    """Of all runs the one without a gap is named, with what is left of it."""
    rows = [compare_bottlenecks.read_run(experiment / f"{kind}-0") for kind in BOTTLENECKS]
    mfcc = json.loads((experiment / "mfcc.json").read_text())
    page = compare_bottlenecks.compose("tones", rows, metrics_of("vq"), mfcc)
    told = [line for line in page.splitlines() if "ignores its latents" in line]
    assert told == [
        "**vimco-0: its decoder ignores its latents.** Shuffled in time they cost +0.002 bits a sample."
    ]


def test_a_page_without_phones(experiment: Path) -> None:
    """Dashes for phones, and a picture of speakers alone."""
    for path in (*experiment.glob("*/probes.json"), experiment / "mfcc.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"phones": None}))
    rows = [compare_bottlenecks.read_run(experiment / f"{kind}-0") for kind in ("vq", "none")]
    mfcc = json.loads((experiment / "mfcc.json").read_text())
    page = compare_bottlenecks.compose("tones", rows, metrics_of("vq"), mfcc)
    assert cells(page, "vq-0")["phones, map"] == cells(page, "chance")["phones, probe"] == "-"
    compare_bottlenecks.plot(rows, metrics_of("vq"), mfcc)


def test_a_missing_file_is_one_line(experiment: Path) -> None:
    """Which, and what to do."""
    (experiment / "vq-0/probes.json").unlink()
    with pytest.raises(VqspeechError, match=r"vq-0/probes\.json.*again"):
        compare_bottlenecks.read_run(experiment / "vq-0")
