"""Judging a model on a held-out split: evaluation mode, whole recordings, every figure beside its baseline."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vqspeech.audio import mulaw_encode
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError
from vqspeech.model import Autoencoder
from vqspeech.progress import Progress


@dataclass(frozen=True)
class HeldOut:
    """Figures of a held-out split.

    Attributes
    ----------
    split : str
        Which split.
    utterances, seconds : float
        How much of it the likelihood was taken on; codes are counted over all of it.
    nats_per_sample, bits_per_sample : float
        -log p of a sample given codes, speaker and the samples before it.
    shuffled_bits : float
        The same with codes, or latents, shuffled in time within each utterance: the gap is what the decoder takes from
        them.
    unigram_bits : float
        Entropy of the levels of the same recordings.
    uniform_bits : float
        log2 of the number of levels.
    kl_bits : float or None
        Mean divergence of the posterior from the prior in bits a frame, over the whole split; log2 K of a vector
        quantizer. None without a bottleneck, where it is infinite.
    used_codes : int or None
        Codes seen at least once; None of a model without codes, as the next two.
    perplexity : float or None
        2 to the entropy of the codes, at most `codebook_size`.
    codebook_size : int or None
        Number of codes there are.
    """

    split: str
    utterances: int
    seconds: float
    nats_per_sample: float
    bits_per_sample: float
    shuffled_bits: float
    unigram_bits: float
    uniform_bits: float
    kl_bits: float | None
    used_codes: int | None
    perplexity: float | None
    codebook_size: int | None


def entropy_bits(counts: np.ndarray) -> float:
    """Entropy of a distribution given by counts, in bits; 0 without counts."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log2(shares)).sum())


def scorable(store: PackedStore, split: str, speakers: Sequence[str]) -> list[int]:
    """Places of those utterances of a split whose speaker is one of `speakers`."""
    return [i for i in store.indices(split) if store.utterances[i].speaker in speakers]


def held_out(
    model: Autoencoder, store: PackedStore, split: str, limit_s: float = math.inf
) -> HeldOut:
    """Score a model on a split.

    Parameters
    ----------
    model : Autoencoder
        The model.
    store : PackedStore
        The recordings; those of speakers that the model does not know are left out.
    split : str
        ``valid`` or ``test``.
    limit_s : float
        Seconds after which no further recording is scored; recordings are taken in a fixed random order.

    Raises
    ------
    CorpusError
        The split has no recording of a speaker that the model knows.
    """
    known = scorable(store, split, model.speakers)
    if not known:
        raise CorpusError(
            f"{store.path}: split {split!r} has no utterance of a speaker that the model knows"
        )
    draw = np.random.default_rng(0)
    order = draw.permutation(known)
    told = {i: model.tell(store.wav(i)) for i in order}
    kl = torch.cat([model.divergence(store.wav(i)) for i in order]).double().mean()
    used = None
    if model.discrete:
        used = np.bincount(torch.cat(list(told.values())).numpy(), minlength=model.codebook_size)

    total = sum(store.utterances[i].samples for i in order)
    limit = min(total, int(min(limit_s, total) * store.sample_rate))
    scored, nats, shuffled_nats = 0, 0.0, 0.0
    levels_seen = np.zeros(model.config.levels, np.int64)
    utterances = 0
    with Progress(limit, "samples", f"scoring {split}") as progress:
        for i in order:
            if scored >= limit:
                break
            levels = mulaw_encode(torch.from_numpy(store.wav(i)), model.config.levels)
            levels_seen += np.bincount(levels.numpy(), minlength=model.config.levels)
            speaker = store.utterances[i].speaker
            shuffled = told[i][..., torch.from_numpy(draw.permutation(told[i].shape[-1]))]
            nats += float(model.nll(levels, told[i], speaker).double().sum())
            shuffled_nats += float(model.nll(levels, shuffled, speaker).double().sum())
            scored += len(levels)
            utterances += 1
            progress.update(len(levels))
    return HeldOut(
        split=split,
        utterances=utterances,
        seconds=scored / store.sample_rate,
        nats_per_sample=nats / scored,
        bits_per_sample=nats / scored / math.log(2),
        shuffled_bits=shuffled_nats / scored / math.log(2),
        unigram_bits=entropy_bits(levels_seen),
        uniform_bits=math.log2(model.config.levels),
        kl_bits=float(kl) / math.log(2) if torch.isfinite(kl) else None,
        used_codes=None if used is None else int((used > 0).sum()),
        perplexity=None if used is None else 2 ** entropy_bits(used),
        codebook_size=None if used is None else model.codebook_size,
    )
