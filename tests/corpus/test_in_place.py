"""Stores prepared in place, and of tars: the same samples as packed ones, and what happens when a recording changes."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.manifest import Listing
from vqspeech.corpus.prepare import find_corpus, prepare
from vqspeech.corpus.store import AUDIO, PackedStore
from vqspeech.errors import CorpusError


def _store(listing: Listing, out: Path, **settings: object) -> PackedStore:
    return PackedStore(prepare(listing, out, workers=0, progress=False, **settings))  # type: ignore[arg-type]


@pytest.fixture
def mixed(people: Path) -> Path:
    """Return speakers' folders with a flac, another rate, two channels and silence at the edges."""
    rng = np.random.default_rng(0)
    soundfile.write(people / "ann/flac.flac", 0.1 * rng.normal(size=3000), 16000)
    soundfile.write(people / "ann/rate.wav", 0.1 * rng.normal(size=(5000, 2)), 22050)
    edged = np.concatenate([np.zeros(16000), 0.3 * rng.normal(size=8000), np.zeros(9000)])
    soundfile.write(people / "bob/edges.wav", edged, 16000)
    return people


def _same(found: PackedStore, expected: PackedStore) -> None:
    assert [(u.speaker, u.utterance, u.split, u.samples) for u in found.utterances] == [
        (u.speaker, u.utterance, u.split, u.samples) for u in expected.utterances
    ]
    assert len(found.audio) == len(expected.audio)
    for index in range(len(expected)):
        np.testing.assert_array_equal(found.pcm(index), expected.pcm(index))
        assert found.pcm(index).dtype == np.int16


def test_samples_are_those_of_a_packed_store(mixed: Path, tmp_path: Path) -> None:
    """Whole utterances, pieces of them and spans of several, trimmed and converted alike; nothing is written."""
    packed = _store(list_folder(mixed), tmp_path / "packed")
    found = _store(list_folder(mixed), tmp_path / "store", in_place=True)
    assert found.in_place
    assert not packed.in_place
    assert not (found.path / AUDIO).exists()
    assert sum(path.stat().st_size for path in found.path.iterdir()) < 10_000
    _same(found, packed)
    rng = np.random.default_rng(1)
    for begin, end in rng.integers(len(packed.audio) + 1, size=(50, 2)).tolist():
        np.testing.assert_array_equal(found.audio[begin:end], packed.audio[begin:end])


def _tar(path: Path, folder: Path, described: Callable[[str], dict]) -> None:
    with tarfile.open(path, "w") as tar:
        for utterance in list_folder(folder).utterances:
            key = f"{utterance.speaker}/{utterance.utterance}"
            fields = json.dumps(described(utterance.speaker) | {"text": utterance.text}).encode()
            for suffix, content in (
                (".json", fields),
                (utterance.path.suffix, utterance.path.read_bytes()),
            ):
                member = tarfile.TarInfo(key + suffix)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("in_place", [False, True])
def test_tars_are_prepared_like_the_folder(mixed: Path, tmp_path: Path, in_place: bool) -> None:
    """Speakers and texts are those of the .json, and so the splits; a folder of tars and a tar alike."""
    expected = _store(list_folder(mixed), tmp_path / "packed")
    (tmp_path / "tars").mkdir()
    _tar(tmp_path / "tars/a.tar", mixed, lambda speaker: {"speaker": speaker})
    for number, source in enumerate((tmp_path / "tars", tmp_path / "tars/a.tar")):
        found = _store(find_corpus(source), tmp_path / f"s{number}", in_place=in_place)
        _same(found, expected)
        assert [u.text for u in found.utterances] == [u.text for u in expected.utterances]


def test_a_tar_beside_speakers_folders_does_not_hide_them(mixed: Path, tmp_path: Path) -> None:
    """A folder of recordings is one, whatever archive was left in it."""
    _tar(mixed / "backup.tar", mixed, lambda speaker: {"speaker": "backup"})
    assert len(find_corpus(mixed).utterances) == len(list_folder(mixed).utterances) > 0


def test_shards_of_lhotse_are_prepared_like_the_folder(mixed: Path, tmp_path: Path) -> None:
    """The cuts name speakers and texts, the tars beside them hold the sound."""
    lhotse = pytest.importorskip("lhotse")
    cuts = []
    for u in list_folder(mixed).utterances:
        cut = lhotse.Recording.from_file(u.path, recording_id=u.utterance).to_cut()
        cut.id = u.utterance
        said = lhotse.SupervisionSegment(cut.id, cut.id, 0, cut.duration, speaker=u.speaker)
        said.text = u.text
        cut.supervisions = [said]
        if cut.num_channels == 1:
            cuts.append(cut)
    shar = tmp_path / "shar"
    shar.mkdir()
    lhotse.CutSet.from_cuts(cuts).to_shar(shar, fields={"recording": "flac"}, shard_size=7)
    found = _store(find_corpus(shar), tmp_path / "store", in_place=True, top_db=None)
    expected = _store(list_folder(mixed), tmp_path / "packed", top_db=None)
    of = {u.utterance: (u.speaker, u.text, i) for i, u in enumerate(expected.utterances)}
    assert len(found) == len(cuts) == len(expected) - 1
    for index, u in enumerate(found.utterances):
        speaker, text, place = of[u.utterance]
        assert (u.speaker, u.text) == (speaker, text)
        np.testing.assert_array_equal(found.pcm(index), expected.pcm(place))


def test_a_recording_without_a_speaker_is_listed(mixed: Path, tmp_path: Path) -> None:
    """What the store leaves out has a reason; where nothing is left that is said too."""
    _tar(
        tmp_path / "a.tar", mixed, lambda speaker: {"speaker": speaker if speaker != "ann" else ""}
    )
    store = _store(find_corpus(tmp_path / "a.tar"), tmp_path / "store", in_place=True)
    assert store.speakers == ["bob", "çelik"]
    assert "a.tar/ann/ann_000.wav\tno speaker is named" in (store.path / "skipped.tsv").read_text()


@pytest.mark.parametrize("where", ["a.tar", "folder"])
def test_a_recording_that_changed_is_refused(mixed: Path, tmp_path: Path, where: str) -> None:
    """Other samples, a file cut short or away: one line that names the recording, when it is read."""
    _tar(tmp_path / "a.tar", mixed, lambda speaker: {"speaker": speaker})
    source = tmp_path / "a.tar" if where == "a.tar" else mixed
    store = _store(find_corpus(source), tmp_path / "store", in_place=True)
    place = next(i for i, u in enumerate(store.utterances) if u.utterance == "edges")
    of = store.utterances[place]
    file = source if where == "a.tar" else of.path
    whole = file.read_bytes()
    begin = 0 if of.original is None or of.original.extent is None else of.original.extent.begin
    begin += 44 + 2 * 20000
    file.write_bytes(whole[:begin] + b"\x01\x02" + whole[begin + 2 :])
    with pytest.raises(CorpusError, match=r"edges\.wav: changed since the store was prepared"):
        PackedStore(store.path).wav(place)
    file.write_bytes(whole[:begin])
    with pytest.raises(CorpusError, match=r"edges\.wav|a\.tar: ends before"):
        PackedStore(store.path).wav(place)
    file.unlink()
    with pytest.raises(CorpusError, match=file.name):
        PackedStore(store.path).wav(place)


def test_one_folder_holds_one_kind_of_store(mixed: Path, tmp_path: Path) -> None:
    """Prepared again it is returned at once; packed instead it is refused, and with force replaced."""
    listing = list_folder(mixed)
    found = _store(listing, tmp_path / "store", in_place=True)
    stamp = (found.path / "store.json").stat().st_mtime_ns
    _store(listing, tmp_path / "store", in_place=True)
    assert (found.path / "store.json").stat().st_mtime_ns == stamp
    with pytest.raises(CorpusError, match="other sources or settings"):
        _store(listing, tmp_path / "store")
    assert not _store(listing, tmp_path / "store", force=True).in_place
    assert _store(listing, tmp_path / "store", force=True, in_place=True).in_place
    assert not (tmp_path / "store" / AUDIO).exists()


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, None])
def test_a_tar_that_is_none_is_one_line(mixed: Path, tmp_path: Path, content: bytes | None) -> None:
    """Empty, other bytes, or compressed, in which nothing can be found again."""
    path = tmp_path / "a.tar"
    if content is None:
        with tarfile.open(path, "w:gz") as tar:
            tar.add(mixed / "ann/ann_000.wav", "ann/a.wav")
    else:
        path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"a\.tar: not a whole uncompressed tar"):
        find_corpus(path)
