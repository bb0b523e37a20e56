"""Codes of a store, extracted once: what is in the folder, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_store import Sound, write_sounds
from one_line import one_line

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.training.data.codestore import CODES, INDEX, TABLE, CodeStore, extract_codes
from vqspeech.training.prior.segments import CodeSegments

HOP = 16


def _noise(folder: Path, seed: int) -> PackedStore:
    draw = np.random.default_rng(seed)
    sounds = [
        Sound(speaker, split, draw.normal(scale=3000, size=200 + seed + 90 * number))
        for speaker in ("ann", "bob")
        for number, split in enumerate(["train"] * 5 + ["valid", "test", "test"])
    ]
    return PackedStore(write_sounds(folder / "store", sounds))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> PackedStore:
    """Return a store of noise: two speakers, three splits."""
    return _noise(tmp_path_factory.mktemp("sounds"), 0)


@pytest.fixture(scope="module")
def coded(
    sounds: PackedStore, tiny_model: Autoencoder, tmp_path_factory: pytest.TempPathFactory
) -> CodeStore:
    """Return its codes, each training utterance twice."""
    return extract_codes(tiny_model, sounds, tmp_path_factory.mktemp("coded") / "codes", shifts=2)


def test_every_utterance_is_there_with_the_codes_of_the_model(
    coded: CodeStore, sounds: PackedStore, tiny_model: Autoencoder
) -> None:
    """Splits, speakers and codes are those of the store; training utterances come again from half a hop later on."""
    assert (coded.codebook_id, coded.codebook_size) == (tiny_model.codebook_id, 16)
    assert (coded.hop, coded.sample_rate, coded.shifts) == (HOP, 16000, 2)
    assert coded.speakers == sounds.speakers
    assert coded.codes.dtype == np.uint16
    found = {(s.speaker, s.utterance, s.shift): i for i, s in enumerate(coded.sequences)}
    assert len(found) == len(coded.sequences) == len(sounds) + len(sounds.indices("train"))
    for i, of in enumerate(sounds.utterances):
        for shift in (0, 8) if of.split == "train" else (0,):
            place = found[of.speaker, of.utterance, shift]
            assert coded.sequences[place].split == of.split
            expected = tiny_model.encode(sounds.wav(i)[shift:]).numpy()
            assert np.array_equal(coded.sequence(place), expected)
    for split in ("train", "valid", "test"):
        assert len(coded.split(split)) == len(coded.indices(split)) == len(sounds.indices(split))


def test_what_was_done_is_not_done_again(
    coded: CodeStore,
    sounds: PackedStore,
    tiny_model: Autoencoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second call reads what is there."""
    monkeypatch.setattr(Autoencoder, "encode", None)
    again = extract_codes(tiny_model, sounds, coded.path, shifts=2)
    assert np.array_equal(again.codes, coded.codes)


def test_an_unfinished_folder_is_no_store_and_is_made_anew(
    sounds: PackedStore, tiny_model: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped on its way, it leaves nothing that can be mistaken for codes; the next call makes them."""
    folder, encode, done = tmp_path / "codes", Autoencoder.encode, []

    def stop(self: Autoencoder, wav: np.ndarray) -> torch.Tensor:
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return encode(self, wav)

    with monkeypatch.context() as patch:
        patch.setattr(Autoencoder, "encode", stop)
        with pytest.raises(KeyboardInterrupt):
            extract_codes(tiny_model, sounds, folder)
    assert list(folder.iterdir()) == []
    with pytest.raises(CorpusError, match="not a finished store of codes"):
        CodeStore(folder)
    assert len(extract_codes(tiny_model, sounds, folder).sequences) == len(sounds)


def test_codes_of_something_else_are_refused(
    coded: CodeStore, sounds: PackedStore, tiny_model: Autoencoder, tmp_path: Path
) -> None:
    """Another codebook, number of shifts or store: one line names it, and nothing is replaced."""
    torch.manual_seed(1)
    stranger = Autoencoder(tiny_model.config, ["ann"])
    before = (coded.path / INDEX).read_bytes()
    with pytest.raises(CorpusError, match=f"codes whose codebook_id is {coded.codebook_id}, asked"):
        extract_codes(stranger, sounds, coded.path, shifts=2)
    with pytest.raises(CorpusError, match="codes whose shifts is 2, asked for 3"):
        extract_codes(tiny_model, sounds, coded.path, shifts=3)
    with pytest.raises(CorpusError, match="codes whose manifest_sha256 is"):
        extract_codes(tiny_model, _noise(tmp_path, 1), coded.path, shifts=2)
    assert (coded.path / INDEX).read_bytes() == before


def test_shifts_that_no_hop_has(
    sounds: PackedStore, tiny_model: Autoencoder, tmp_path: Path
) -> None:
    """A hop of 16 samples has 16 parts at most."""
    for shifts in (0, 17):
        with pytest.raises(CorpusError, match=f"{shifts} shifts of a hop of 16 samples"):
            extract_codes(tiny_model, sounds, tmp_path / "codes", shifts)
    assert not (tmp_path / "codes").exists()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def _change(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"ann", b"eve"))


def _say(change: dict[str, object]) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        (CODES, _cut, "bytes, expected"),
        (CODES, Path.unlink, "found no such file"),
        (TABLE, _change, "changed since the codes were extracted"),
        (TABLE, Path.unlink, "changed since the codes were extracted"),
        (INDEX, _say({"version": 0}), "version 0 found, this program reads 1"),
        (INDEX, _say({"hop": None}), "hop is None, expected int"),
        (INDEX, lambda path: path.write_text("{"), "not JSON"),
        (INDEX, lambda path: path.write_text("{}"), "not the index of a store of codes"),
    ],
)
def test_damage_is_named(
    sounds: PackedStore,
    tiny_model: Autoencoder,
    tmp_path: Path,
    name: str,
    damage: Callable[[Path], object],
    expected: str,
) -> None:
    """A store of codes whose files do not fit together is refused in one line."""
    extract_codes(tiny_model, sounds, tmp_path)
    damage(tmp_path / name)
    with one_line(CorpusError, match=expected):
        CodeStore(tmp_path)


def test_batches_are_segments_of_training_sequences(coded: CodeStore) -> None:
    """Each row is a stretch of one training sequence with its speaker and the code before it."""
    segments = CodeSegments(coded, steps=20, batch=4, segment=20, seed=0)
    assert len(segments) == 20
    training = [i for i, s in enumerate(coded.sequences) if s.split == "train"]
    starts = set()
    for step in range(20):
        batch = segments[step]
        assert batch.codes.shape == (4, 20)
        for codes, before, speaker, valid in zip(*map(torch.Tensor.tolist, batch), strict=True):
            assert codes[valid:] == [0] * (20 - valid)
            begun = before < 16
            starts.add(begun)
            part = [before] * begun + codes[:valid]
            assert any(
                coded.speakers[speaker] == coded.sequences[i].speaker
                and (_holds if begun else _begins)(coded.sequence(i).tolist(), part)
                for i in training
            )
    assert starts == {True, False}


def _begins(sequence: list[int], part: list[int]) -> bool:
    return sequence[: len(part)] == part


def _holds(sequence: list[int], part: list[int]) -> bool:
    return any(sequence[i : i + len(part)] == part for i in range(len(sequence)))


def test_batches_follow_from_seed_step_and_rank_alone(coded: CodeStore) -> None:
    """The same three give the same batch, whatever was drawn before; another one gives another batch."""
    one = CodeSegments(coded, 9, 4, 20, seed=0)
    again = CodeSegments(coded, 9, 4, 20, seed=0)
    assert all(map(torch.equal, one[5], again[5]))
    others = [CodeSegments(coded, 9, 4, 20, 1)[5], CodeSegments(coded, 9, 4, 20, 0, 1)[5], one[6]]
    assert not any(torch.equal(one[5].codes, other.codes) for other in others)
