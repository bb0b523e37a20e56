"""What an archive holds is listed and read alike, however it is kept."""

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from vqspeech import audio
from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.prepare import find_corpus, prepare
from vqspeech.corpus.sources import list_units, read_unit
from vqspeech.corpus.store import PackedStore
from vqspeech.corpus.units import Unit
from vqspeech.errors import AudioError, ConfigurationError, CorpusError

RATE = 16000


@pytest.fixture
def folder(tmp_path: Path, record: Callable[..., Path]) -> Path:
    """Return a folder of three recordings of two speakers."""
    for seed, name in enumerate(("ann/a.wav", "ann/b.wav", "bob/deep/c.flac")):
        record(tmp_path / "sound" / name, seconds=0.1 + 0.05 * seed, seed=seed)
    return tmp_path / "sound"


def heard(source: str | Path, split: str | None = None) -> dict[str, tuple[str, np.ndarray]]:
    """Return speaker and sound of each utterance by its id."""
    found = {}
    for unit in list_units(str(source), split):
        for sound in read_unit(Unit(*json.loads(json.dumps(astuple(unit))))):
            assert sound.id not in found
            found[sound.id] = (sound.speaker, np.concatenate(list(sound.blocks(RATE))))
    return found


def assert_same(found: dict, expected: dict) -> None:
    assert list(found) == list(expected)
    for name, (speaker, wav) in expected.items():
        assert found[name][0] == speaker
        np.testing.assert_array_equal(found[name][1], wav)


@pytest.fixture
def expected(folder: Path) -> dict[str, tuple[str, np.ndarray]]:
    return {
        f"{name.removesuffix('.wav').removesuffix('.flac')}": (
            name[:3],
            audio.read(folder / name, RATE),
        )
        for name in ("ann/a.wav", "ann/b.wav", "bob/deep/c.flac")
    }


def test_a_folder(folder: Path, expected: dict) -> None:
    """Ids are paths without suffix, the first folder is the speaker, and seconds those of the headers."""
    assert_same(heard(folder), expected)
    for unit in list_units(str(folder)):
        assert unit.seconds == pytest.approx(len(expected[unit.id][1]) / RATE)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_recordings_of_one_name_have_two_ids(folder: Path, scheme: str) -> None:
    """a.wav and a.flac in one folder are two utterances; no id comes twice, behind a URL neither."""
    shutil.copy(folder / "bob/deep/c.flac", folder / "ann/a.flac")
    shutil.copy(folder / "bob/deep/c.flac", folder / "ann/a-wav.flac")
    ids = [unit.id for unit in list_units(f"{scheme}{folder}")]
    assert ids == ["ann/a-wav", "ann/a", "ann/a-wav_", "ann/b", "bob/deep/c"]


def test_a_url_of_a_file_system_of_fsspec(folder: Path, expected: dict) -> None:
    """A folder by its URL is the same folder."""
    assert_same(heard(f"file://{folder}"), expected)


def test_what_cannot_be_used_is_listed(folder: Path) -> None:
    """Broken links, other formats and names with tabs are units too, refused with a reason."""
    (folder / "ann/z.wav").symlink_to("nowhere.wav")
    (folder / "ann/y.m4a").write_bytes(b"x")
    shutil.copy(folder / "ann/a.wav", folder / "ann/tab\t.wav")
    reasons = {Path(u.path).name: u.reason for u in list_units(str(folder)) if u.kind == "refused"}
    assert reasons == {
        "z.wav": "a broken link",
        "y.m4a": ".m4a is not read; convert it to wav or flac",
        "tab\t.wav": "a name with a tab or a line break",
    }


def test_a_store(people: Path, tmp_path: Path) -> None:
    """A split of a store, or all of it, is what the store holds."""
    store = PackedStore(prepare(list_folder(people), tmp_path / "store", workers=0))
    assert len(heard(store.path)) == len(store)
    found = heard(store.path, "test")
    assert len(found) == len(store.indices("test")) > 0
    for index in store.indices("test").tolist():
        u = store.utterances[index]
        np.testing.assert_array_equal(found[f"{u.speaker}/{u.utterance}"][1], store.wav(index))


def test_manifests(folder: Path, expected: dict, tmp_path: Path) -> None:
    """A table of this package, with seconds, and one of fairseq, whose first line is the folder."""
    own = tmp_path / "own.tsv"
    rows = ["speaker\tutterance\tpath\tseconds\tsplit"]
    rows += [
        f"{n[:3]}\t{n[4:]}\tsound/{n}{'.flac' if 'c' in n else '.wav'}\t9\ttrain" for n in expected
    ]
    own.write_text("\n".join([*rows, rows[1]]) + "\n")
    units = list(list_units(str(own)))
    assert [unit.seconds for unit in units[:3]] == [9, 9, 9]
    assert "a second time on line 5" in units[3].reason
    own.write_text("\n".join(rows) + "\n")
    assert_same(heard(own), expected)
    with pytest.raises(ConfigurationError, match="no recording"):
        list(list_units(str(own), "test"))
    fairseq = tmp_path / "train.tsv"
    lines = [f"{n}{'.flac' if 'c' in n else '.wav'}\t{len(w)}" for n, (_, w) in expected.items()]
    fairseq.write_text("\n".join([str(folder), *lines]) + "\n")
    assert_same(heard(fairseq), expected)


def test_parquet_of_paths_and_of_bytes(folder: Path, expected: dict, tmp_path: Path) -> None:
    """Rows of paths are files; rows of bytes, plain or as datasets keeps them, are read from the table."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    names = ["ann/a.wav", "ann/b.wav", "bob/deep/c.flac"]
    plain = {"id": list(expected), "speaker": [n[:3] for n in names]}
    content = [(folder / name).read_bytes() for name in names]
    paths = plain | {"path": [f"sound/{name}" for name in names], "duration": [1.0, 2.0, 3.0]}
    pq.write_table(pa.table(paths), tmp_path / "paths.parquet")
    assert_same(heard(tmp_path / "paths.parquet"), expected)
    assert [u.seconds for u in list_units(str(tmp_path / "paths.parquet"))] == [1, 2, 3]

    (tmp_path / "tables").mkdir()
    pq.write_table(
        pa.table(plain | {"bytes": content}), tmp_path / "tables/a.parquet", row_group_size=2
    )
    assert_same(heard(tmp_path / "tables"), expected)
    assert [u.index for u in list_units(str(tmp_path / "tables"))] == [0, 1]
    structs = [{"bytes": of, "path": name} for of, name in zip(content, names, strict=True)]
    pq.write_table(pa.table(plain | {"audio": structs}), tmp_path / "tables/a.parquet")
    assert_same(heard(tmp_path / "tables/a.parquet"), expected)


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def test_tars_of_webdataset(folder: Path, expected: dict, tmp_path: Path) -> None:
    """Keys are ids, the speaker is that of the .json of the key, and a tar that breaks off keeps what came before."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in expected:
            suffix = ".flac" if "c" in name else ".wav"
            add(tar, f"{name}.json", json.dumps({"speaker": name[:3]}).encode())
            add(tar, f"{name}{suffix}", (folder / f"{name}{suffix}").read_bytes())
            add(tar, f"{name}.txt", b"no sound")
    assert_same(heard(tmp_path / "a.tar"), expected)
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: len(whole) // 2])
    (unit,) = list_units(str(tmp_path / "a.tar"))
    sounds = read_unit(unit)
    assert next(sounds).id == "ann/a"
    with pytest.raises(CorpusError, match="damaged"):
        list(sounds)


def test_lhotse_shar_and_manifests(folder: Path, expected: dict, tmp_path: Path) -> None:
    """Cuts of whole recordings and of parts, as a manifest beside the files and as Shar with the sound inside."""
    lhotse = pytest.importorskip("lhotse")
    cuts = []
    for name in expected:
        path = folder / f"{name}{'.flac' if 'c' in name else '.wav'}"
        cut = lhotse.Recording.from_file(path, recording_id=name).to_cut()
        cut.id = name
        spoken = lhotse.SupervisionSegment(name, name, 0, cut.duration, speaker=name[:3])
        cut.supervisions = [spoken]
        cuts.append(cut)
    manifest = tmp_path / "all.jsonl.gz"
    lhotse.CutSet.from_cuts(cuts).to_file(manifest)
    assert_same(heard(manifest), expected)

    part = cuts[1].truncate(offset=0.02, duration=0.06, preserve_id=True)
    lhotse.CutSet.from_cuts([part]).to_file(manifest)
    assert_same(heard(manifest), {"ann/b": ("ann", expected["ann/b"][1][320:1280])})

    shar = tmp_path / "shar"
    shar.mkdir()
    lhotse.CutSet.from_cuts(cuts).to_shar(shar, fields={"recording": "flac"}, shard_size=2)
    assert_same(heard(shar), expected)


def test_a_manifest_of_lhotse_is_prepared_like_the_folder(people: Path, tmp_path: Path) -> None:
    """The store has the sound and speakers of the folder; a cut of a part is skipped with its reason."""
    lhotse = pytest.importorskip("lhotse")
    cuts = []
    for u in list_folder(people).utterances:
        cut = lhotse.Recording.from_file(u.path, recording_id=u.utterance).to_cut()
        cut.id = u.utterance
        cut.supervisions = [
            lhotse.SupervisionSegment(cut.id, cut.id, 0, cut.duration, speaker=u.speaker)
        ]
        cuts.append(cut)
    cuts.append(cuts[0].truncate(duration=0.1).with_id("part"))
    lhotse.CutSet.from_cuts(cuts).to_file(tmp_path / "all.jsonl.gz")
    listing = find_corpus(tmp_path / "all.jsonl.gz")
    assert [entry.reason for entry in listing.skipped] == [
        "a part of a recording; write it to a file first"
    ]
    store = PackedStore(prepare(listing, tmp_path / "lhotse", workers=0, progress=False))
    plain = PackedStore(prepare(list_folder(people), tmp_path / "plain", workers=0, progress=False))
    assert [(u.speaker, u.utterance) for u in store.utterances] == [
        (u.speaker, u.utterance) for u in plain.utterances
    ]
    np.testing.assert_array_equal(store.audio, plain.audio)


def test_damage_is_one_line_when_it_is_read(folder: Path, tmp_path: Path) -> None:
    """A file that is no sound is listed like others and refused when it is read, with its path."""
    (folder / "ann/b.wav").write_bytes(b"RIFF")
    (unit,) = [u for u in list_units(str(folder)) if u.id == "ann/b"]
    (sound,) = read_unit(unit)
    with pytest.raises(AudioError, match=r"ann/b\.wav"):
        list(sound.blocks(RATE))
    with gzip.open(tmp_path / "bad.jsonl.gz", "wt") as file:
        file.write("{}\n")
    with pytest.raises(CorpusError, match="line 1: not a cut or recording"):
        list(list_units(str(tmp_path / "bad.jsonl.gz")))
    with pytest.raises(ConfigurationError, match="no such file"):
        list(list_units(str(tmp_path / "none")))
