"""Shards of codes as data of a prior: every code is there, splits are those of a store, other codes are refused."""

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from one_line import one_line

from vqspeech.codes import shards
from vqspeech.codes.entry import Entry
from vqspeech.codes.record import CodesRecord
from vqspeech.corpus.manifest import Utterance, assign_splits
from vqspeech.errors import CodesError, CorpusError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.training.data.codeshards import UNKNOWN, find_shards, import_shards


@pytest.fixture
def entries(tiny_model: Autoencoder) -> list[Entry]:
    """Return codes of 30 utterances of two speakers, and of one whom nobody names."""
    rng, found = np.random.default_rng(0), []
    for number in range(30):
        speaker = ("ann", "bob", "")[number % 3]
        samples = int(rng.integers(200, 900))
        codes = rng.integers(tiny_model.codebook_size, size=-(-samples // tiny_model.hop)).tolist()
        name = f"{speaker or 'somewhere'}/{number:03d}"
        record = CodesRecord.of(tiny_model, codes, samples, f"/sound/{name}.wav", "tiny")
        found.append(Entry(name, speaker, record))
    return found


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("kind", shards.FORMATS)
def test_a_store_of_codes_holds_what_the_shards_hold(
    entries: list[Entry], tiny_model: Autoencoder, tmp_path: Path, kind: str, unique: bool
) -> None:
    """Of every format, in the order of the shards; a sentence is in one split, as `prepare` gives it."""
    for package in shards.FORMATS[kind].packages:
        pytest.importorskip(package)
    (tmp_path / "run/shards").mkdir(parents=True)
    for number, part in enumerate((entries[:17], entries[17:])):
        shards.write(tmp_path / "run/shards", number, part, kind, unique=unique)
    found = find_shards(tmp_path / "run")
    assert len(found) == 2
    store = import_shards(tiny_model, found, tmp_path / "codes")
    assert len(store.sequences) == len(entries)
    assert store.codebook_id == tiny_model.codebook_id
    names = [of.id.removeprefix(f"{of.speaker}/").replace("/", "-") for of in entries]
    speakers = [of.speaker or UNKNOWN for of in entries]
    expected = assign_splits(
        [Utterance("", who, name, Path()) for who, name in zip(speakers, names, strict=True)]
    )
    for place, entry in enumerate(entries):
        assert store.sequence(place).tolist() == entry.record.codes
        of, u = store.sequences[place], expected[place]
        assert (of.speaker, of.utterance, of.split) == (u.speaker, u.utterance, u.split)
    assert {of.split for of in store.sequences} == {"train", "valid", "test"}


def test_it_is_done_once_and_other_codes_are_refused(
    entries: list[Entry], tiny_model: Autoencoder, tmp_path: Path, other: Autoencoder
) -> None:
    """The same shards are not read again; others, of another codebook, or of none, are one line."""
    shards.write(tmp_path, 0, entries, "km")
    (shard,) = find_shards(tmp_path)
    first = import_shards(tiny_model, [shard], tmp_path / "codes")
    content = shard.read_bytes()
    state = shard.stat()
    shard.write_bytes(b"x" * len(content))
    os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns))
    again = import_shards(tiny_model, [shard], tmp_path / "codes")
    assert np.array_equal(again.codes, first.codes)
    shard.write_bytes(content + b"\n")
    with one_line(CorpusError, "codes whose manifest_sha256", tmp_path / "codes"):
        import_shards(tiny_model, [shard], tmp_path / "codes")
    shard.write_bytes(content)
    with one_line(CodesError, "their codebook is", "/sound/ann/000.wav"):
        import_shards(other, [shard], tmp_path / "others")
    about = tmp_path / "codes.json"
    about.write_text(about.read_text().replace(entries[0].record.codebook, ""))
    with one_line(CodesError, "do not say of which codebook"):
        import_shards(tiny_model, [shard], tmp_path / "others")
    assert not (tmp_path / "others/codes.json").exists()


@pytest.fixture
def other(tiny_of_kind: Callable[[str], Autoencoder]) -> Autoencoder:
    """Return a model of the same shape with another codebook."""
    model = deepcopy(tiny_of_kind("vq"))
    for parameter in model.parameters():
        parameter.data.add_(0.5)
    return model


def test_no_shards_are_found_in_a_store(sound_store: Path) -> None:
    """A store is no folder of shards."""
    assert find_shards(sound_store) == []
    assert find_shards(sound_store / "nowhere") == []
