import json
import math
import os
import re
from pathlib import Path

import pytest
from judged_corpus import RATE, fake_judges, pack, write_corpus
from labelled_store import Spoken, write_store
from pages import Page

from vqspeech.corpus.store import PackedStore
from vqspeech.evaluation import encoded as recordings
from vqspeech.evaluation import judges as bench
from vqspeech.models.checkpoint import load_model
from vqspeech.models.prior import Prior
from vqspeech.nn.encoder import Encoder
from vqspeech.training.validate import scorable

pytest.importorskip("jiwer", reason="needs jiwer (the extra `eval`)")
pytest.importorskip("num2words", reason="needs num2words (the extra `eval`)")

OUTPUTS = ["evaluation.html", "evaluation.json", "evaluation.md"]

QUICK = ("--utterances", 1, "--likelihood-seconds", 0.1, "--targets", "p225")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(write_corpus(tmp_path_factory.mktemp("evaluate") / "corpus")).path


@pytest.fixture(autouse=True)
def judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges who need no package sit."""
    monkeypatch.setattr(bench, "check_judges", lambda without, recogniser: None)
    monkeypatch.setattr(bench, "open_judges", lambda without, recogniser, threads: fake_judges())


def test_prints_tables_and_writes_all_files(run, store: Path, tmp_path: Path) -> None:
    """What is printed is in evaluation.md; all recordings of each kind are in the tables with their baselines."""
    printed = run("evaluate", "--corpus", store, "--out", "a/b", *QUICK).printed
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == OUTPUTS
    text = (tmp_path / "a/b/evaluation.md").read_text()
    assert text in printed
    for name in ("source untouched", "real target", "µ-law round trip of the source", "converted"):
        assert f"| {name} |" in text
    assert "| unigram |" in text
    for title in (
        "Likelihood and codes",
        "Rate of the codes",
        "Reconstructions",
        "Parallel conversions",
        "Conversions",
    ):
        assert f"## {title}" in text
    assert "nan" not in re.findall(r"\w+", text)
    assert "times real time" in text
    assert "no phone labels" in text


def test_the_form_of_the_json_is_stable(run, store: Path, tmp_path: Path) -> None:
    """Programs find the same keys: a name that changes here breaks them."""
    assert run("evaluate", "--corpus", store, "--out", "out", *QUICK).status == 0
    found = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert list(found) == [
        *("model", "corpus", "sample_rate", "split", "sampling", "judges", "centroids"),
        *("likelihood", "codes", "contour", "groups", "phones", "speed", "utterances", "remarks"),
    ]
    assert list(found["judges"]) == ["speakers", "words", "pitch", "quality", "distortion"]
    group, utterance = found["groups"][0], found["utterances"][0]
    assert list(group["rows"]) == ["source", "real", "mulaw", "made"]
    assert set(group["rows"]["made"]) == {
        *("recordings", "to_target", "to_source", "nearest_is_target", "nearest_interval"),
        *("word_error", "word_error_interval", "words", "f0_hz", "semitones", "pitched"),
        *("unvoiced", "overall", "signal", "background", "mcd_db"),
        *("strength", "jitter", "hnr_db", "f0_correlation", "spread"),
    }
    assert {"kind", "group", "utterance", "source", "target", "text", "rows"} <= set(utterance)
    assert utterance["rows"]["made"]["transcript"] == "hello world"
    assert found["likelihood"]["codebook_size"] == 16
    assert set(found["codes"]) >= {"decoder_bits_per_sample", "uniform", "unigram", "bigram"}
    assert found["codes"]["uniform"] == {
        "bits_per_code": 4,
        "bits_per_second": 4000,
        "bits_per_sample": 4 / 16,
        "bound_bits_per_sample": found["likelihood"]["bits_per_sample"] + 4 / 16,
    }
    assert found["centroids"]["speakers"] == ["p225", "p226", "stranger"]
    assert found["speed"]["sound_s"] > 0


@pytest.mark.parametrize("pitch", ["source", "predicted"])
def test_a_model_that_takes_pitch_says_what_its_contour_costs(
    run, store: Path, tmp_path: Path, voiced_model_file: Path, pitch: str
) -> None:
    """Beside the rate of codes alone; conversions are made with the contour that is asked for."""
    asked = ("--corpus", store, "--model", voiced_model_file, "--pitch", pitch, "--out", "out")
    printed = run("evaluate", *asked, *QUICK).printed
    assert "codes with contour, bit/s" in printed
    found = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert found["sampling"]["pitch"] == pitch
    assert found["contour"]["symbols"] > 0
    assert found["contour"]["bigram"]["bits_per_second"] > 0
    error = run("evaluate", "--corpus", store, "--pitch", pitch, *QUICK).error
    assert "takes no pitch" in error


def test_a_prior_has_a_row(
    run, store: Path, tiny_prior: Prior, tiny_prior_file: Path, foreign_prior: Path, tmp_path: Path
) -> None:
    """What it says of the test split, told who speaks, is in table and JSON; a prior of other codes is refused."""
    arguments = ("evaluate", "--corpus", store, *QUICK, "--prior")
    printed = run(*arguments, tiny_prior_file, "--out", "out").printed
    assert "| learned prior |" in printed
    model, packed = load_model(os.environ["VQSPEECH_MODEL"]), PackedStore(store)
    nats, codes = 0.0, 0
    for index in scorable(packed, "test", model.speakers):
        found = tiny_prior.nll(model.encode(packed.wav(index)), packed.utterances[index].speaker)
        nats, codes = nats + float(found.sum()), codes + len(found)
    cost = json.loads((tmp_path / "out/evaluation.json").read_text())["codes"]
    assert cost["codes"] == codes
    assert cost["prior"]["bits_per_code"] == pytest.approx(nats / codes / math.log(2))
    assert "codebook ffffffffffffffff" in run(*arguments, foreign_prior).error


def test_pairs_go_across_pitch_alone(run, store: Path, tmp_path: Path) -> None:
    """Conversions of low voices to high ones and back take the place of all groups; targets cannot be named too."""
    wanted = ("evaluate", "--corpus", store, "--pairs", 2, "--likelihood-seconds", 0.1)
    assert run(*wanted, "--out", "out", "--keep-audio").printed
    found = json.loads((tmp_path / "out/evaluation.json").read_text())
    trials = [(of["kind"], of["source"], of["target"]) for of in found["utterances"]]
    assert trials == [("conversions", "p226", "p225"), ("conversions", "p225", "p226")]
    for of in found["utterances"]:
        assert of["rows"]["source"]["semitones"] is not None
    assert len(list((tmp_path / "out/audio/conversions").glob("*-made.wav"))) == 2
    assert "--targets" in run(*wanted, "--targets", "p225").error


def test_codes_are_left_out_when_not_wanted(run, store: Path, tmp_path: Path) -> None:
    """Without codes nothing is encoded to be counted, and no table says what they cost."""
    printed = run(
        "evaluate", "--corpus", store, *QUICK, "--out", "out", "--without", "codes"
    ).printed
    assert "Rate of the codes" not in printed
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["codes"] is None


def test_the_same_arguments_give_the_same_figures(run, store: Path, tmp_path: Path) -> None:
    """All but the time it took is the same in a second run."""
    found = []
    for out in ("a", "b"):
        assert run("evaluate", "--corpus", store, "--out", out, *QUICK).status == 0
        content = json.loads((tmp_path / out / "evaluation.json").read_text())
        del content["speed"]
        found.append(content)
    assert found[0] == found[1]


def test_each_recording_is_encoded_and_tracked_once(
    run, store: Path, voiced_model_file: Path, monkeypatch
) -> None:
    """For likelihood, codes, contours and conversions together."""
    encoded, tracked = [], []
    forward, track = Encoder.forward, recordings.track

    def counted(self, wav):
        encoded.append(wav.numpy().tobytes())
        return forward(self, wav)

    def watched(wav, sample_rate):
        tracked.append(wav.tobytes())
        return track(wav, sample_rate)

    monkeypatch.setattr(Encoder, "forward", counted)
    monkeypatch.setattr(recordings, "track", watched)
    asked = ("--corpus", store, "--model", voiced_model_file)
    assert run("evaluate", *asked, *QUICK).status == 0
    for found in (encoded, tracked):
        assert len(found) == len(set(found)) > 5


def test_the_page_asks_for_nothing(run, store: Path, tmp_path: Path) -> None:
    """Sound is data, a policy forbids the rest; one example has the source, the real target and what was made."""
    words = ("--without", "likelihood", "--no-phones", "--examples", 1)
    assert run("evaluate", "--corpus", store, "--out", "out", *QUICK, *words).status == 0
    page = Page((tmp_path / "out/evaluation.html").read_text())
    page.asks_for_nothing()
    groups = page.text.count('class="utterance"')
    assert groups > 2
    sounds = page.of("audio")
    assert len(sounds) == 3 * groups
    assert all(str(of["src"]).startswith("data:audio/wav;base64,") for of in sounds)
    assert "hello world" in page.text


def test_nothing_is_written_without_a_place(run, store: Path, tmp_path: Path) -> None:
    """Tables are printed; no file is made."""
    printed = run("evaluate", "--corpus", store, *QUICK).printed
    assert "| converted |" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_is_packed_first(run, tmp_path: Path) -> None:
    """A folder will do; with --out its store stays beside the results, else nothing does."""
    corpus = write_corpus(tmp_path / "corpus", speakers=["p225", "p226"])
    assert run("evaluate", "--corpus", corpus, *QUICK).status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
    assert run("evaluate", "--corpus", corpus, "--out", "out", *QUICK).status == 0
    assert (tmp_path / "out/store/store.json").is_file()


def test_audio_is_kept_when_wanted(run, store: Path, tmp_path: Path) -> None:
    """Each trial leaves its three recordings; the folder is not written over."""
    arguments = ("evaluate", "--corpus", store, "--out", "out", "--keep-audio", *QUICK)
    assert run(*arguments).status == 0
    trials = len(json.loads((tmp_path / "out/evaluation.json").read_text())["utterances"])
    assert len(list((tmp_path / "out/audio").rglob("*.wav"))) == 3 * trials
    for name in OUTPUTS:
        (tmp_path / "out" / name).unlink()
    assert "out/audio exists" in run(*arguments).error
    assert "--out" in run("evaluate", "--corpus", store, "--keep-audio").error


def test_existing_output_is_kept_unless_forced(run, store: Path, tmp_path: Path) -> None:
    """A file that stands in the way is named and left alone; --force replaces it."""
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out/evaluation.md"
    kept.write_text("mine")
    arguments = ("evaluate", "--corpus", store, "--out", "out", *QUICK)
    assert "out/evaluation.md exists" in run(*arguments).error
    assert kept.read_text() == "mine"
    assert run(*arguments, "--force").status == 0
    assert "converted" in kept.read_text()


def test_phones_are_scored_where_there_are_labels(run, tmp_path: Path) -> None:
    """A labelled store has a table of map accuracies, beside k-means of MFCC; --no-phones leaves it out."""
    from labelled_store import lab_of

    codes, labels = [0, 900, 0, 300] * 25, lab_of(["aa", "s", "pau", "iy"] * 25)
    folder = write_store(
        tmp_path / "s", [Spoken("train", codes, labels), Spoken("test", codes, labels)]
    )
    arguments = ("evaluate", "--corpus", folder, "--utterances", 1, "--without", "likelihood")
    printed = run(*arguments).printed
    assert "| k-means of MFCC, 1000 Hz, K 16 | 1000 | 16 |" in printed
    assert "| k-means of MFCC | 25 | 128 |" in printed
    assert "words are left out" in printed
    assert "## Phones" not in run(*arguments, "--no-phones").out


def test_a_model_without_codes_is_judged(run, store: Path, continuous_model_file: Path) -> None:
    """Its likelihood and sound are; codes and phones have dashes and a remark."""
    model = ("--model", continuous_model_file)
    printed = run("evaluate", "--corpus", store, "--out", "found", *model, *QUICK).printed
    assert "1000 latents/s without codes" in printed
    assert "no codes to hold against phones" in printed
    found = json.loads(Path("found/evaluation.json").read_text())
    assert found["model"]["codebook_size"] is None
    assert found["likelihood"]["used_codes"] is None
    assert found["likelihood"]["kl_bits"] > 0


def test_unknown_targets_are_one_line(run, store: Path) -> None:
    """Of speakers that the model does not know, and of those the corpus does not have."""
    assert "'p999'" in run("evaluate", "--corpus", store, "--targets", "p999").error
    assert "no recording of p227" in run("evaluate", "--corpus", store, "--targets", "p227").error


def test_broken_inputs_are_one_line(run, store: Path, tmp_path: Path) -> None:
    """No corpus, an empty split, another rate: each is named."""
    assert "nowhere" in run("evaluate", "--corpus", tmp_path / "nowhere").error
    assert "valid split" in run("evaluate", "--corpus", store, "--split", "valid").error
    slow = write_store(tmp_path / "slow", [Spoken("test", [0], None)], rate=8000)
    assert f"{RATE} Hz" in run("evaluate", "--corpus", slow).error


@pytest.mark.parametrize(
    ("option", "value"),
    [("--without", "taste"), ("--utterances", "-1"), ("--likelihood-seconds", "0")],
)
def test_impossible_options_are_refused(run, store: Path, option: str, value: str) -> None:
    """The option is named."""
    assert option in run("evaluate", "--corpus", store, f"{option}={value}").error


def test_a_missing_judge_is_one_line(run, store: Path, monkeypatch, tmp_path: Path) -> None:
    """The package, the extra and the way without it are named; without it the rest goes on."""
    monkeypatch.undo()
    monkeypatch.setenv("VQSPEECH_MODEL", "unused")
    monkeypatch.setattr(
        bench, "find_spec", lambda name: None if name == "resemblyzer" else object()
    )
    error = run("evaluate", "--corpus", store).error
    assert "resemblyzer is not installed" in error
    assert "vqspeech[eval]" in error
    assert "--without speakers" in error
    bench.check_judges(["speakers"], None)
    assert (
        "tokenizer.json"
        in run(
            "evaluate", "--corpus", store, "--without", "speakers", "--recogniser", tmp_path
        ).error
    )


def test_judges_can_be_left_out(run, store: Path, monkeypatch) -> None:
    """Without any judge nothing is imported for one, and tables have no such columns."""
    monkeypatch.setattr(
        bench, "open_judges", lambda without, *_: bench.Judges(pitch=False, distortion=False)
    )
    names = "likelihood,speakers,words,pitch,quality,distortion"
    printed = run("evaluate", "--corpus", store, *QUICK, "--without", names).printed
    assert "| recording | number |\n" in printed


def test_nothing_to_judge_is_said(run, tmp_path: Path, monkeypatch) -> None:
    """A split in which only one stranger speaks, of whom nothing can be made, gives remarks and no error."""
    folder = write_store(tmp_path / "s", [Spoken("test", [5] * 50, None)])
    printed = run("evaluate", "--corpus", folder).printed
    assert "no reconstructions" in printed
    assert PackedStore(folder).utterances[0].speaker == "s1"
