"""Held-out figures, checked by hand on recordings and a model whose answers are known."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import numpy as np
import pytest
import torch

from vqspeech.audio.mulaw import mulaw_encode
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.jobs.progress import Progress
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.config import ModelConfig
from vqspeech.models.encoding import Encoding
from vqspeech.training import validate
from vqspeech.training.validate import entropy_bits, held_out, scorable

RATE, HOP = 100, 10


@dataclass
class Recordings:
    """A store in memory: (speaker, split, pcm) for each utterance."""

    rows: list[tuple[str, str, np.ndarray]]
    sample_rate: int = RATE
    path: Path = Path("store")

    @property
    def utterances(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(speaker=s, split=p, samples=len(x)) for s, p, x in self.rows]

    def indices(self, split: str) -> np.ndarray:
        return np.array([i for i, row in enumerate(self.rows) if row[1] == split], np.int64)

    def wav(self, index: int) -> np.ndarray:
        return self.rows[index][2].astype(np.float32) / 32768


@dataclass
class KnownModel:
    """Codes count up from 0; a sample costs 1 nat under codes in order and 2 nats otherwise."""

    speakers: tuple[str, ...] = ("ann", "bob")
    codebook_size: int = 8
    config: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(levels=256))
    encoded: int = 0

    discrete: bool = True

    def encoding(self, wav: np.ndarray) -> Encoding:
        self.encoded += 1
        frames = -(-len(wav) // HOP)
        return Encoding(torch.arange(frames), torch.full((frames,), 2 * math.log(2)))

    def nll(self, levels: torch.Tensor, codes: torch.Tensor, speaker: str) -> torch.Tensor:
        assert speaker in self.speakers
        ordered = bool((codes.diff() > 0).all())
        return torch.full((len(levels),), 1.0 if ordered else 2.0)


def _noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, samples).astype(np.int16)


def test_entropy_of_counts() -> None:
    """Uniform counts give their logarithm, one outcome 0, a half and two quarters 1.5, none 0."""
    assert entropy_bits(np.array([3, 3, 0, 3, 3])) == pytest.approx(2.0)
    assert entropy_bits(np.array([0, 7])) == 0
    assert entropy_bits(np.array([2, 1, 1])) == pytest.approx(1.5)
    assert entropy_bits(np.array([0, 0])) == 0


def test_likelihood_is_a_mean_over_samples_beside_its_baselines() -> None:
    """Nats, bits, shuffled codes, levels and codes of a split, each as by hand."""
    # half silence, a quarter each of two loud levels: 1.5 bits
    pcm = np.repeat(np.array([0, 0, 30000, -30000], np.int16), 20)
    store = Recordings([("ann", "valid", pcm), ("bob", "valid", pcm[::-1]), ("ann", "train", pcm)])
    scores = held_out(KnownModel(), store, "valid")
    assert scores.nats_per_sample == 1.0
    assert scores.bits_per_sample == pytest.approx(1 / math.log(2))
    assert scores.shuffled_bits == pytest.approx(2 / math.log(2))
    assert scores.unigram_bits == pytest.approx(1.5)
    assert scores.uniform_bits == 8.0
    assert (scores.split, scores.utterances, scores.seconds) == ("valid", 2, 1.6)
    assert (scores.used_codes, scores.codebook_size) == (8, 8)
    assert scores.perplexity == pytest.approx(8.0)


def test_perplexity_counts_unequal_use() -> None:
    """Codes 0, 1, 2 used 2, 1 and 1 times have a perplexity of 2 to the 1.5."""
    store = Recordings([("ann", "test", _noise(25)), ("ann", "test", _noise(5))])
    scores = held_out(KnownModel(), store, "test")
    assert scores.used_codes == 3
    assert scores.perplexity == pytest.approx(2**1.5)


def test_limit_bounds_scoring_and_not_the_count_of_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring stops at the first recording past the limit; codes are counted over the whole split."""
    shown: list[Progress] = []

    class Kept(Progress):
        def __enter__(self) -> Self:
            shown.append(self)
            return self

    monkeypatch.setattr(validate, "Progress", Kept)
    store = Recordings([("ann", "valid", _noise(40 + i, i)) for i in range(10)])
    model = KnownModel()
    scores = held_out(model, store, "valid", limit_s=1.0)
    assert scores.utterances == 3
    assert 1.0 <= scores.seconds < 1.5
    # what goes past the limit was announced
    assert shown[0].done == shown[0].total == round(scores.seconds * RATE)
    assert model.encoded == 10
    assert held_out(model, store, "valid", limit_s=1.0) == scores
    assert held_out(model, store, "valid").utterances == 10


def test_strangers_are_left_out() -> None:
    """Recordings of speakers that the model has no vector for count nowhere."""
    rows = [("zoe", "valid", _noise(80)), ("ann", "valid", _noise(20)), ("bob", "test", _noise(9))]
    scores = held_out(KnownModel(), Recordings(rows), "valid")
    assert (scores.utterances, scores.seconds, scores.used_codes) == (1, 0.2, 2)
    assert scorable(Recordings(rows), "valid", ["ann", "bob"]) == [1]
    assert scorable(Recordings(rows), "test", ["ann"]) == []


@pytest.mark.parametrize("rows", [[], [("zoe", "valid", _noise(80))]])
def test_split_without_anybody_known_is_an_error(rows: list) -> None:
    """An empty split, and one of strangers, are told with their name, not scored as nothing."""
    with pytest.raises(CorpusError, match="store: split 'valid' has no utterance of a speaker"):
        held_out(KnownModel(), Recordings(rows), "valid")


def test_real_model_on_a_real_store(sound_store: Path, tiny_config: ModelConfig) -> None:
    """The sum over recordings is that of the model's own likelihood, weighted by length."""
    torch.manual_seed(0)
    store = PackedStore(sound_store)
    model = Autoencoder(tiny_config, store.speakers).eval()
    scores = held_out(model, store, "valid")
    parts = []
    for i in store.indices("valid"):
        wav = torch.from_numpy(store.wav(i))
        levels = mulaw_encode(wav)
        parts.append(model.nll(levels, model.encode(wav), store.utterances[i].speaker))
    assert scores.nats_per_sample == pytest.approx(float(torch.cat(parts).double().mean()))
    assert scores.shuffled_bits != scores.bits_per_sample
    assert scores.unigram_bits < 8


def test_likelihood_with_contours_stands_beside(
    sound_store: Path, tiny_config: ModelConfig
) -> None:
    """It is the model's own with each recording's contour; without contours it is not told."""
    torch.manual_seed(0)
    store = PackedStore(sound_store)
    config = replace(tiny_config, decoder={**tiny_config.decoder, "pitch": True})
    model = Autoencoder(config, store.speakers).eval()
    # they start at zero, where a contour would not matter
    torch.nn.init.normal_(model.decoder.wavenet.taps)
    heights = {i: np.float32(100 + 20 * i) for i in store.indices("valid").tolist()}
    scores = held_out(model, store, "valid", contour_of=lambda i: np.full(999, heights[i]))
    parts = []
    for i, height in heights.items():
        wav = torch.from_numpy(store.wav(i))
        codes = model.encode(wav)
        contour = torch.full((len(codes) * model.hop // model.decoder.condition_hop,), height)
        parts.append(model.nll(mulaw_encode(wav), codes, store.utterances[i].speaker, contour))
    assert scores.contour_nats == pytest.approx(float(torch.cat(parts).double().mean()))
    plain = held_out(model, store, "valid")
    assert plain == replace(scores, contour_nats=None)
    assert scores.contour_nats != plain.nats_per_sample
