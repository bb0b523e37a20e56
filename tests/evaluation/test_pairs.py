import pytest
from judged_corpus import tone
from labelled_store import Sound, write_sounds

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.evaluation.pairs import make_pairs, median_f0s

PITCH_HZ = {"ann": 230.0, "bea": 205.0, "carl": 95.0, "dan": 120.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PackedStore:
    """A store of four buzzing speakers who all read the same six sentences."""
    sounds = [
        Sound(name, split, 32768 * tone(f0_hz, 0.3 + 0.02 * i, seed=i), text=f"sentence {i}")
        for name, f0_hz in PITCH_HZ.items()
        for i, split in enumerate(["train"] * 4 + ["test"] * 2)
    ]
    return PackedStore(write_sounds(tmp_path_factory.mktemp("buzz") / "store", sounds))


def test_speakers_are_ordered_by_pitch(store: PackedStore) -> None:
    """The median F0 of each speaker is found within 3 %, lowest first."""
    found = median_f0s(store, "train")
    assert list(found) == ["carl", "dan", "bea", "ann"]
    for name, f0_hz in found.items():
        assert f0_hz == pytest.approx(PITCH_HZ[name], rel=0.03)


@pytest.mark.parametrize("count", [2, 10])
def test_pairs_cross_from_low_to_high_and_back(store: PackedStore, count: int) -> None:
    """Half go up and half down; sources are held out; the most distant targets come first, each beside itself."""
    trials = make_pairs(store, list(PITCH_HZ), count=count).trials
    assert len(trials) == count
    test = set(store.indices("test").tolist())
    low = {"carl", "dan"}
    for i, trial in enumerate(trials):
        assert trial.index in test
        assert store.utterances[trial.index].speaker == trial.source
        assert store.utterances[trial.real].speaker == trial.target
        assert (trial.source in low) == (i < count // 2)
        assert (trial.target in low) == (i >= count // 2)
        assert trial.group == ("low → high voices" if i < count // 2 else "high → low voices")
    assert trials[0].target == "ann"
    assert trials[count // 2].target == "carl"


def test_one_voice_cannot_be_paired(store: PackedStore) -> None:
    """Fewer than two targets are an error in one line that names the store."""
    with pytest.raises(CorpusError, match=rf"{store.path}: 1 speakers .* 2 or more"):
        make_pairs(store, ["ann", "nobody"])
