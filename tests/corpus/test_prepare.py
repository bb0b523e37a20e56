"""Preparing: the same bytes however it went, nothing lost in silence, nobody's files overwritten."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from one_line import one_line

from vqspeech import audio
from vqspeech.corpus import prepare as module
from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.manifest import Listing, normalise_sentence, read_manifest
from vqspeech.corpus.parts import trim
from vqspeech.corpus.prepare import find_corpus, prepare
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError

RATE = 16000


def _bytes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def _pack(listing: Listing, out: Path, **settings: object) -> PackedStore:
    return PackedStore(prepare(listing, out, workers=1, progress=False, **settings))  # type: ignore[arg-type]


def _skips(store: PackedStore) -> dict[str, str]:
    lines = (store.path / "skipped.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "path\treason"
    return {Path(path).name: reason for path, reason in (line.split("\t") for line in lines[1:])}


def test_store_holds_the_recordings(people: Path, tmp_path: Path) -> None:
    """Untrimmed, an utterance of the store is its file; its line in the manifest says where from."""
    store = _pack(list_folder(people), tmp_path / "store", top_db=None)
    for index, utterance in enumerate(store.utterances):
        np.testing.assert_array_equal(store.wav(index), audio.read(utterance.path))
        assert utterance.start_s == 0
    assert sorted(path.name for path in store.path.iterdir()) == [
        "audio.i16",
        "manifest.tsv",
        "skipped.tsv",
        "store.json",
    ]


def test_other_rates_and_channels_become_mono_at_the_rate(tmp_path: Path) -> None:
    """A stereo file at 48 kHz and a mono one at 8 kHz lie in the store at 16 kHz."""
    (tmp_path / "in/ann").mkdir(parents=True)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (48000, 2))
    soundfile.write(tmp_path / "in/ann/a.wav", noise, 48000)
    soundfile.write(tmp_path / "in/ann/b.flac", noise[:8000, 0], 8000)
    store = _pack(list_folder(tmp_path / "in"), tmp_path / "store", top_db=None)
    assert [u.samples for u in store.utterances] == [RATE, RATE]
    rates = [line.split("\t")[4] for line in (store.path / "manifest.tsv").read_text().splitlines()]
    assert rates == ["rate", "48000", "8000"]


def test_edges_are_trimmed_and_pauses_kept(tmp_path: Path) -> None:
    """Silence before and after goes, but for the margin; the pause in the middle stays; start_s says how much went."""
    folder = tmp_path / "in/ann"
    folder.mkdir(parents=True)
    tone = 0.5 * np.sin(np.arange(RATE // 2))
    hush = 1e-4 * np.random.default_rng(0).standard_normal(RATE)
    wav = np.concatenate([hush, tone, hush, tone, hush])
    audio.write(folder / "a.wav", wav, RATE)
    store = _pack(list_folder(tmp_path / "in"), tmp_path / "store")
    (utterance,) = store.utterances
    assert utterance.start_s == pytest.approx(0.9, abs=0.03)
    assert utterance.samples / RATE == pytest.approx(2.2, abs=0.06)
    start = round(utterance.start_s * RATE)
    whole = audio.read(folder / "a.wav")
    np.testing.assert_array_equal(store.wav(0), whole[start : start + utterance.samples])


@pytest.mark.parametrize("samples", [1, 10, 399, 400, 401, 16000])
def test_trimming_works_at_any_length(samples: int) -> None:
    """A recording that is speech all through loses nothing; one of zeros is empty, without a division by its peak."""
    assert trim(np.full(samples, 0.1, np.float32), RATE, 40) == (0, samples)
    assert trim(np.zeros(samples, np.float32), RATE, 40) == (0, 0)


def test_one_bad_file_does_not_stop_the_others(people: Path, tmp_path: Path) -> None:
    """Empty, foreign, truncated, silent and NaN files are skipped, each with its reason; the rest is packed."""
    bad = people / "dora"
    bad.mkdir()
    (bad / "empty.wav").touch()
    (bad / "text.wav").write_text("once upon a time")
    whole = (people / "ann" / "ann_000.wav").read_bytes()
    (bad / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    audio.write(bad / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(bad / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    store = _pack(list_folder(people), tmp_path / "store")
    assert len(store) == 18
    skips = _skips(store)
    found = {
        name: next(word for word in expected if word in skips[name])
        for name, expected in {
            "empty.wav": ["empty"],
            "text.wav": ["not a sound file"],
            "truncated.wav": ["truncated"],
            "silent.wav": ["silence"],
            "nan.wav": ["NaN"],
        }.items()
    }
    assert len(found) == len(skips) == 5


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    """A corpus of broken files makes no store; the message has the first reason."""
    (tmp_path / "in/ann").mkdir(parents=True)
    (tmp_path / "in/ann/a.wav").touch()
    with pytest.raises(CorpusError, match=r"none of 1 recordings .*empty"):
        _pack(list_folder(tmp_path / "in"), tmp_path / "store")
    assert not (tmp_path / "store/store.json").exists()


def test_train_and_test_share_no_sentence_and_no_file(people: Path, tmp_path: Path) -> None:
    """Although every speaker reads every sentence, those of the test split are read nowhere else."""
    store = _pack(list_folder(people), tmp_path / "store")
    said = {
        split: {normalise_sentence(store.utterances[i].text) for i in store.indices(split)}
        for split in ("train", "valid", "test")
    }
    assert all(said.values())
    assert not said["train"] & said["test"]
    assert not said["train"] & said["valid"]
    assert not said["valid"] & said["test"]
    assert len({u.path for u in store.utterances}) == len(store)


def test_workers_do_not_change_the_bytes(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes and parts of another size leave the same audio and manifest."""
    listing = list_folder(people)
    prepare(listing, tmp_path / "one", workers=1, progress=False)
    monkeypatch.setattr(module, "UTTERANCES_PER_PART", 4)
    prepare(listing, tmp_path / "two", workers=2, progress=False)
    one, two = _bytes(tmp_path / "one"), _bytes(tmp_path / "two")
    assert one.pop("store.json") != two.pop("store.json")
    assert one == two


_SCRIPT = """
import sys, time
from pathlib import Path
from vqspeech import audio
from vqspeech.corpus import parts, prepare

prepare.UTTERANCES_PER_PART = 2
read = audio.read_blocks
def slowly(*args, **named):
    time.sleep(0.05)
    return read(*args, **named)
audio.read_blocks = slowly
prepare.prepare(prepare.find_corpus(Path(sys.argv[1])), Path(sys.argv[2]), workers=1)
"""


def test_killed_and_taken_up_gives_the_same_bytes(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL half-way, run again: the finished parts are used, and every file is that of an unbroken run."""
    monkeypatch.setattr(module, "UTTERANCES_PER_PART", 2)
    listing = find_corpus(people)
    prepare(listing, tmp_path / "whole", workers=1, progress=False)
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", _SCRIPT, str(people), str(out)])
    while len(list(out.glob("parts/*.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "store.json").exists()
    with pytest.raises(CorpusError, match="not a finished store"):
        PackedStore(out)
    done = {path: path.stat().st_mtime_ns for path in out.glob("parts/*.json")}
    assert 3 <= len(done) < 9
    packed = _count_packed(monkeypatch)
    prepare(listing, out, workers=1, progress=False)
    assert packed[0] == 9 - len(done)
    assert _bytes(out) == _bytes(tmp_path / "whole")


def test_stopped_while_joining_gives_the_same_bytes(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped when all but the index is written, a second run reads no recording and ends the same."""
    listing = list_folder(people)
    prepare(listing, tmp_path / "whole", workers=1, progress=False)
    with monkeypatch.context() as broken:
        broken.setattr(module, "write_file", _stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(listing, tmp_path / "stopped", workers=1, progress=False)
    assert not (tmp_path / "stopped/store.json").exists()
    packed = _count_packed(monkeypatch)
    prepare(listing, tmp_path / "stopped", workers=1, progress=False)
    assert packed == [0]
    assert _bytes(tmp_path / "stopped") == _bytes(tmp_path / "whole")


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_changed_recording_is_read_again(people: Path, tmp_path: Path) -> None:
    """Parts left by a stopped run are not used for recordings that changed since."""
    out = tmp_path / "store"
    listing = list_folder(people)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(module, "write_file", _stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(listing, out, workers=1, progress=False)
    path = listing.utterances[0].path
    audio.write(path, np.full(500, 0.25), RATE, force=True)
    np.testing.assert_array_equal(_pack(listing, out).wav(0), np.full(500, 0.25, np.float32))


def _count_packed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    count = [0]
    pack_all = module.pack_all

    def counted(parts: list, workers: int) -> object:
        count[0] += len(parts)
        return pack_all(parts, workers)

    monkeypatch.setattr(module, "pack_all", counted)
    return count


def test_workers_end_with_their_parent(people: Path, tmp_path: Path) -> None:
    """When the parent is killed, its worker processes do not stay behind."""
    # Enough to do that the parent is killed in the midst of it.
    for number in range(4000):
        os.link(people / "ann/ann_000.wav", people / "ann" / f"copy_{number}.wav")
    script = _SCRIPT.replace("workers=1", "workers=2")
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(people), str(out)], start_new_session=True
    )
    try:
        while len(list(out.glob("parts/*.json"))) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
        # With what is left to do they would be busy for two minutes more; the kernel ends them at once.
        until = time.monotonic() + 60
        while _alive(process.pid) and time.monotonic() < until:
            time.sleep(0.05)
        assert _alive(process.pid) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_it_works_from_a_script_without_a_guard(people: Path, tmp_path: Path) -> None:
    """Called at the top of a script, or from standard input, two workers start as well."""
    script = _SCRIPT.replace("workers=1", "workers=2")
    (tmp_path / "script.py").write_text(script)
    for number, source in enumerate([str(tmp_path / "script.py"), "-"]):
        out = tmp_path / str(number)
        command = [sys.executable, source, str(people), str(out)]
        subprocess.run(command, input=script, text=True, check=True, capture_output=True)
        assert len(PackedStore(out)) == 18


def test_worker_that_dies_is_an_error_of_one_line(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a worker process is gone, the message says what to try."""
    monkeypatch.setattr(module, "UTTERANCES_PER_PART", 4)
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(CorpusError, match="--workers 1"):
        prepare(list_folder(people), tmp_path / "store", workers=2, progress=False)


def test_disk_that_fills_up_in_a_worker_is_an_error_of_one_line(
    people: Path, tmp_path: Path
) -> None:
    """A part that cannot be written ends the run with the system's reason, and the store has no index."""
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from vqspeech.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "sys.exit(main(['prepare', '--corpus', sys.argv[1], '--out', sys.argv[2], *sys.argv[3:]]))"
    )
    for workers in ("1", "2"):
        out = tmp_path / workers
        command = [sys.executable, "-c", script, str(people), str(out), "--workers", workers]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert result.stderr == f"vqspeech: {out}: cannot be written (File too large)\n"
        assert not (out / "store.json").exists()


def _alive(leader: int) -> list[int]:
    """Return the processes that a leader started and that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found


def test_finished_store_is_returned_at_once(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same sources and settings a second time read nothing."""
    listing = list_folder(people)
    out = prepare(listing, tmp_path / "store", workers=1, progress=False)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    packed = _count_packed(monkeypatch)
    prepare(listing, out, workers=1, progress=False)
    assert packed == [0]
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_changed_sources_need_force(
    people: Path, tmp_path: Path, record: Callable[..., Path]
) -> None:
    """A store of other sources or settings is kept, until `force` replaces it."""
    store = _pack(list_folder(people), tmp_path / "store")
    before = _bytes(store.path)
    record(people / "ann/ann_100.wav", "Another sentence.", seed=99)
    for settings in ({}, {"top_db": None}):
        with pytest.raises(CorpusError, match="--force"):
            _pack(list_folder(people), store.path, **settings)
    assert _bytes(store.path) == before
    assert len(_pack(list_folder(people), store.path, force=True)) == 19


def test_foreign_folder_is_left_alone(people: Path, tmp_path: Path) -> None:
    """A folder with other files in it is not made a store, not even by force."""
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(CorpusError, match="holds other files"):
        _pack(list_folder(people), tmp_path, force=True)
    assert (tmp_path / "thesis.txt").read_text() == "chapter 1"


def test_read_only_place_is_an_error_of_one_line(
    mini_listing: Listing, read_only_folder: Path
) -> None:
    """Where one may not write, the message says so."""
    with pytest.raises(CorpusError) as error:
        prepare(mini_listing, read_only_folder / "store", workers=1, progress=False)
    assert "Permission denied" in str(error.value)


@pytest.fixture
def mini_listing(people: Path) -> Listing:
    """Return a listing made before the right to write is given up."""
    return list_folder(people)


def test_names_a_table_cannot_hold_are_skipped(
    people: Path, tmp_path: Path, record: Callable[..., Path]
) -> None:
    """Tabs, line breaks and bytes that are no UTF-8 in a name are listed, escaped; other names go through."""
    odd = ["tab\there", "line\nbreak", os.fsdecode(b"caf\xe9")]
    for name in [*odd, "静か な", "-n", "dots..", "a\u2028b"]:
        record(people / "ann" / f"{name}.wav", seconds=0.1)
    store = _pack(list_folder(people), tmp_path / "store")
    assert {u.utterance for u in store.utterances} >= {"静か な", "-n", "dots..", "a\u2028b"}
    assert set(_skips(store)) == {"tab\\there.wav", "line\\nbreak.wav", "caf\\udce9.wav"}


def test_corpus_is_found_by_looking(
    people: Path, tmp_path: Path, record: Callable[..., Path]
) -> None:
    """A manifest, a tree of VCTK, a folder of speakers; in a store or in nothing the message says what is missing."""
    assert find_corpus(people).kind.startswith("folder")
    record(tmp_path / "v/wav48/p225/p225_001.wav")
    assert find_corpus(tmp_path / "v").kind == "VCTK 0.80"
    manifest = tmp_path / "v/manifest.tsv"
    manifest.write_text("speaker\tutterance\tpath\np225\t1\twav48/p225/p225_001.wav\n")
    assert find_corpus(tmp_path / "v").kind == find_corpus(manifest).kind == "manifest manifest.tsv"
    store = _pack(find_corpus(manifest), tmp_path / "store")
    (tmp_path / "empty").mkdir()
    for path, complaint in [
        (store.path, "a prepared store already"),
        (tmp_path / "empty", "no manifest.tsv, no VCTK tree"),
        (tmp_path / "none", "no such folder"),
        (tmp_path / "v/wav48/p225/p225_001.wav", "neither a folder nor a tar nor a manifest"),
    ]:
        with one_line(CorpusError, complaint):
            find_corpus(path)


def test_progress_is_said_without_a_terminal(
    people: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Asked for silence, it is silent."""
    _pack(list_folder(people), tmp_path / "store")
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_real_speech_is_prepared(real_speech: Path, tmp_path: Path) -> None:
    """The real recordings pack whole: every line of their manifest is in the store or among the skipped."""
    listing = read_manifest(real_speech / "manifest.tsv")
    store = PackedStore(prepare(listing, tmp_path / "store", workers=2, progress=False))
    skips = _skips(store)
    assert len(store) + len(skips) == len(listing.utterances)
    assert set(skips.values()) == {"its sentence is read in the test split"}
    assert sum(u.samples for u in store.utterances) / RATE / 60 == pytest.approx(145, abs=5)
    tested = {normalise_sentence(store.utterances[i].text) for i in store.indices("test")} - {""}
    trained = {normalise_sentence(store.utterances[i].text) for i in store.indices("train")}
    assert not tested & trained
    with_labels = [u for u in store.utterances if u.labels]
    assert len(with_labels) > 2000
    assert all(u.labels and u.labels.is_file() for u in with_labels[::100])
