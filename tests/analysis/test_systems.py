import math
from pathlib import Path

import numpy as np
import pytest

from vqspeech.analysis.systems import (
    MFCC,
    RANDOM,
    decoder_bits,
    mfcc_frames,
    mfcc_shapes,
    mfcc_system,
    model_facts,
    model_system,
    random_system,
)
from vqspeech.corpus.store import PackedStore
from vqspeech.models.autoencoder import Autoencoder


@pytest.fixture
def store(mini_store: Path) -> PackedStore:
    return PackedStore(mini_store)


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.1, size=samples).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 639, 640, 641, 16000])
@pytest.mark.parametrize("hop", [64, 160, 640])
def test_mfcc_has_a_row_for_each_frame(samples: int, hop: int) -> None:
    """Frames are ceil(samples / hop), whatever the length, and finite."""
    found = mfcc_frames(noise(samples), 16000, hop)
    assert found.shape == (-(-samples // hop), 39)
    assert np.isfinite(found).all()


def test_mfcc_frames_lie_where_the_sound_is() -> None:
    """A click moves the frame that holds its sample most, compared with silence around it."""
    wav = np.zeros(16000, np.float32)
    wav[10 * 640 + 320] = 1.0
    energy = mfcc_frames(wav, 16000, 640)[:, 0]
    assert np.abs(energy - np.median(energy)).argmax() == 10


def test_k_means_of_mfcc_uses_its_codebook(store: PackedStore) -> None:
    """Most centres are used on speech that they were not fitted on, 25 codes a second."""
    train, test = store.indices("train")[:40].tolist(), store.indices("test").tolist()
    system = mfcc_system(store, train, 128, 640)
    assert (system.kind, system.codebook_size, system.frame_rate_hz) == (MFCC, 128, 25)
    codes = np.concatenate([system.encode(store.wav(index)) for index in test])
    assert codes.dtype == np.int64
    assert len(np.unique(codes)) > 100


def test_baselines_have_the_size_and_rate_of_each_model_and_the_fixed_ones(
    tiny_model: Autoencoder,
) -> None:
    """A model's own pair stands once however many models have it; the fixed pair, which all studies share, is last."""
    own = (tiny_model.codebook_size, tiny_model.hop)
    fixed = (128, tiny_model.sample_rate // 25)
    assert own != fixed
    assert mfcc_shapes([tiny_model, tiny_model]) == [own, fixed]


def test_a_baseline_says_its_size_and_rate_unless_they_are_the_fixed_ones(
    store: PackedStore,
) -> None:
    """Names tell the k-means of one table apart; frames are those of the hop."""
    train = store.indices("train")[:2].tolist()
    own = mfcc_system(store, train, 16, store.sample_rate // 50)
    assert own.name == "k-means of MFCC, 50 Hz, K 16"
    assert len(own.encode(store.wav(train[0])[: store.sample_rate])) == 50
    assert mfcc_system(store, train, 128, store.sample_rate // 25).name == "k-means of MFCC"


def test_random_weights_are_no_degenerate_baseline(
    tiny_model: Autoencoder, store: PackedStore
) -> None:
    """An untrained model has its own weights, uses its codes, and is the same for the same seed."""
    train = store.indices("train")[:4].tolist()
    one, same = (random_system(tiny_model, "r", store, train, seed=1) for _ in range(2))
    wav = store.wav(train[0])
    assert one.kind == RANDOM
    assert np.array_equal(one.encode(wav), same.encode(wav))
    assert len(np.unique(one.encode(wav))) > tiny_model.codebook_size / 2
    assert not np.array_equal(one.vectors(wav), model_system(tiny_model, "m").vectors(wav))


def test_a_model_gives_the_vectors_its_codes_were_chosen_for(tiny_model: Autoencoder) -> None:
    """One vector a code; the nearest row of the codebook is the code."""
    system, wav = model_system(tiny_model, "m"), noise(800)
    vectors, codes = system.vectors(wav), system.encode(wav)
    assert len(vectors) == len(codes) == 800 // tiny_model.hop
    codebook = tiny_model.bottleneck.codebook.numpy()
    distances = ((vectors[:, None] - codebook) ** 2).sum(axis=2)
    assert np.array_equal(distances.argmin(axis=1), codes)


def test_facts_tell_only_what_the_header_holds(tiny_model: Autoencoder) -> None:
    """Training and likelihood are left out where a header does not have them."""
    assert set(model_facts({"training": {}, "scores": {}}, tiny_model)) == {
        "parameters",
        "speakers",
    }
    told = model_facts(
        {
            "training": {"steps": 1200, "hardware": "1 x cpu"},
            "scores": {"held_out": {"bits_per_sample": 4.0, "shuffled_bits": 4.5}},
        },
        tiny_model,
    )
    assert told["training"] == "1,200 steps on 1 x cpu"
    assert told["bits per sample, held out"] == "4.000 (with codes shuffled in time 4.500)"


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"held_out": {"bits_per_sample": 4.0}}, 4.0),
        ({"evaluation": {"likelihood": {"bits_per_sample": 3.5}}}, 3.5),
        ({"evaluation": {"likelihood": None}}, math.nan),
        ({}, math.nan),
    ],
)
def test_bits_of_the_decoder_are_those_of_held_out_recordings(scores, expected: float) -> None:
    """From training or from an evaluation, whichever the file tells of; else they are not known."""
    assert decoder_bits({"scores": scores}) == pytest.approx(expected, nan_ok=True)
