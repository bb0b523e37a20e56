"""The packed store: opens to what was packed, and refuses what does not fit together."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from bare import run_without
from one_line import one_line

from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.prepare import prepare
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError


@pytest.fixture
def folder(people: Path, tmp_path: Path) -> Path:
    """Return a small store of its own, which a test may damage."""
    return prepare(list_folder(people), tmp_path / "store", workers=1, progress=False)


def _fails(folder: Path, complaint: str) -> None:
    with one_line(CorpusError, complaint, folder):
        PackedStore(folder)


def test_utterances_lie_end_to_end_in_one_mapped_file(folder: Path) -> None:
    """Offsets tile the audio, which stays on disk; an utterance is int16 or float32 of the same values."""
    store = PackedStore(folder)
    assert isinstance(store.audio, np.memmap)
    assert store.audio.dtype == np.int16
    assert len(store) == 18
    end = 0
    for index, utterance in enumerate(store.utterances):
        assert utterance.offset == end
        end += utterance.samples
        wav = store.wav(index)
        assert wav.dtype == np.float32
        assert np.abs(wav).max() <= 1
        np.testing.assert_array_equal(wav * 32768, store.pcm(index))
    assert end == len(store.audio)


def test_speakers_and_splits(folder: Path) -> None:
    """Speakers are sorted names of the training split; the splits part the utterances."""
    store = PackedStore(folder)
    assert store.speakers == ["ann", "bob", "çelik"]
    parts = [store.indices(split) for split in ("train", "valid", "test")]
    assert sorted(np.concatenate(parts)) == list(range(18))
    assert all(part.dtype == np.int64 and len(part) for part in parts)
    with pytest.raises(CorpusError, match="'dev' is none of"):
        store.indices("dev")


def test_audio_cannot_be_written_through_the_map(folder: Path) -> None:
    """Nobody changes a store by accident."""
    with pytest.raises(ValueError, match="read-only"):
        PackedStore(folder).pcm(0)[0] = 1


def test_opening_needs_numpy_alone(folder: Path) -> None:
    """A training machine without sound libraries opens a store."""
    code = (
        "from pathlib import Path; from vqspeech.corpus.store import PackedStore\n"
        "print(len(PackedStore(Path(sys.argv[1])).wav(0)) > 0)"
    )
    assert run_without("soundfile soxr librosa tqdm torch", code, folder) == "True\n"


def test_truncated_audio_is_refused(folder: Path) -> None:
    """The size of the audio is compared with the index; found and expected are named."""
    audio = folder / "audio.i16"
    size = audio.stat().st_size
    audio.write_bytes(audio.read_bytes()[:-2])
    _fails(folder, f"found {size - 2} bytes, expected {size} bytes")
    audio.unlink()
    _fails(folder, "found no such file")


def test_changed_manifest_is_refused(folder: Path) -> None:
    """A line changed by hand is noticed."""
    path = folder / "manifest.tsv"
    path.write_text(path.read_text().replace("\ttest\t", "\ttrain\t"))
    _fails(folder, "changed since the store was made")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": "zip"}, "not the index of a store"),
        ({"version": 2}, "version 2 found, this program reads 1"),
        ({"samples": "many"}, "samples is 'many', expected int"),
        ({"samples": 3}, "utterances of 3 samples"),
        ({"root": None}, "root is None, expected str"),
        *((content, "store.json") for content in (b"", b"{", b"[]", b"\xff\xfe")),
        (None, "not a finished store"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(
    folder: Path, change: dict | bytes | None, complaint: str
) -> None:
    """The key, what was found and what was expected are named; without it, for it is written last, it is no store."""
    path = folder / "store.json"
    if isinstance(change, dict):
        change = json.dumps(json.loads(path.read_text()) | change).encode()
    path.unlink()
    if change is not None:
        path.write_bytes(change)
    _fails(folder, complaint)


def test_store_can_move(folder: Path, tmp_path: Path) -> None:
    """A store does not need its sources, nor to stay where it was made."""
    before = PackedStore(folder).wav(3)
    moved = shutil.move(folder, tmp_path / "moved")
    shutil.rmtree(tmp_path / "people")
    np.testing.assert_array_equal(PackedStore(moved).wav(3), before)
