"""Scores of a model on a held-out split: evaluation mode, whole recordings, each beside its baseline."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad
from typing_extensions import TypeIs

from vqspeech.audio.mulaw import mulaw_decode, mulaw_encode
from vqspeech.audio.pitch import look_up
from vqspeech.corpus.store import PackedStore, StoredUtterance
from vqspeech.errors import CorpusError
from vqspeech.jobs.progress import Progress
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.encoding import Encoding
from vqspeech.training.data.coded import CodedCorpus, CodedUtterance
from vqspeech.training.data.pitchtracks import PitchTracks


class OutOfTimeError(CorpusError):
    """The time limit is too short for a single recording."""


@dataclass(frozen=True)
class HeldOut:
    """Scores on a held-out split.

    Attributes
    ----------
    split : str
        Name of the split.
    utterances, seconds : float
        Amount the likelihood was taken on; codes are counted over the whole split.
    nats_per_sample, bits_per_sample : float
        -log p of a sample given codes, speaker and the samples before it.
    shuffled_bits : float
        The same with codes, or latents, shuffled in time within each utterance: the gap is the decoder's gain from
        them.
    unigram_bits : float
        Entropy of the levels of the same recordings.
    uniform_bits : float
        log2 of the number of levels.
    kl_bits : float or None
        Mean divergence of the posterior from the prior in bits per frame, over the whole split; log2 K of a vector
        quantizer. None without a bottleneck, where it is infinite.
    used_codes : int or None
        Codes seen at least once; None for a model without codes, as the next two.
    perplexity : float or None
        2 to the entropy of the codes, at most `codebook_size`.
    codebook_size : int or None
        Number of codes.
    contour_nats : float or None
        `nats_per_sample` where the decoder is given the recording's pitch contour, not the one that it predicts; None
        when there was no contour to give.
    contour_cost_nats : float or None
        -log p of the contour itself given codes and speaker, divided over the samples: with `contour_nats`, which is
        then of the contour as coded there, a bound on -log p of a sample given codes and speaker. None where the
        decoder has no distribution of contours.
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
    contour_nats: float | None = None
    contour_cost_nats: float | None = None


def entropy_bits(counts: np.ndarray) -> float:
    """Entropy of a distribution given by counts, in bits; 0 without counts."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log2(shares)).sum())


def scorable(corpus: PackedStore | CodedCorpus, split: str, speakers: Sequence[str]) -> list[int]:
    """Indices of the utterances of a split whose speaker is one of `speakers`."""
    utterances: Sequence[StoredUtterance | CodedUtterance] = corpus.utterances
    return [i for i, u in enumerate(utterances) if u.split == split and u.speaker in speakers]


def _coded(corpus: PackedStore | CodedCorpus) -> TypeIs[CodedCorpus]:
    return hasattr(corpus, "codes")


def _encoding(model: Autoencoder, corpus: PackedStore | CodedCorpus, place: int) -> Encoding:
    """Codes, or latents, of an utterance, and, of a recording, their divergence."""
    if not _coded(corpus):
        return model.encoding(corpus.wav(place))
    of = corpus.utterances[place]
    codes = torch.from_numpy(corpus.codes[of.frame : of.frame + of.frames].astype(np.int64))
    return Encoding(codes, torch.empty(0))


def _levels(model: Autoencoder, corpus: PackedStore | CodedCorpus, place: int) -> Tensor:
    if not _coded(corpus):
        return mulaw_encode(torch.from_numpy(corpus.wav(place)), model.config.levels)
    of = corpus.utterances[place]
    return torch.from_numpy(corpus.levels(of.offset, of.offset + of.samples)).long()


def _order(
    model: Autoencoder,
    corpus: PackedStore | CodedCorpus,
    split: str,
    draw: np.random.Generator,
) -> list[int]:
    """Deal out what can be scored of a split, which must be something."""
    known = scorable(corpus, split, model.speakers)
    if not known:
        raise CorpusError(
            f"{corpus.path}: split {split!r} has no utterance of a speaker of the model"
        )
    return [int(i) for i in draw.permutation(known)]


def _first(corpus: PackedStore | CodedCorpus, order: Sequence[int], limit_s: float) -> list[int]:
    """Return utterances until there are so many seconds; the last one may go past the limit."""
    begins = np.cumsum([0, *(corpus.utterances[i].samples for i in order)])
    limit = int(min(limit_s * corpus.sample_rate, begins[-1]))
    return list(order[: int(np.searchsorted(begins[:-1], limit))])


def _mean(parts: Sequence[Tensor]) -> float:
    return float(torch.cat(list(parts)).double().mean())


def held_out(
    model: Autoencoder,
    corpus: PackedStore | CodedCorpus,
    split: str,
    limit_s: float = math.inf,
    *,
    time_s: float = math.inf,
    encoding_of: Callable[[int], Encoding] | None = None,
    contour_of: Callable[[int], NDArray[np.float32]] | None = None,
) -> HeldOut:
    """Score a model on a split; several workers share the work and all get the result.

    Parameters
    ----------
    model : Autoencoder
        The model.
    corpus : PackedStore or CodedCorpus
        The recordings, with or without codes; those of speakers that the model lacks are left out.
    split : str
        ``valid`` or ``test``.
    limit_s : float
        Seconds of speech to score; recordings are taken in a fixed random order.
    time_s : float
        Time limit for scoring, seconds: recordings that would exceed it are left out.
    encoding_of : callable, optional
        Gives recordings of `corpus` encoded, by their places; without it they are encoded here.
    contour_of : callable, optional
        Gives their pitch contours, see `vqspeech.audio.pitch.track`: the likelihood with them is taken as well.

    Raises
    ------
    CorpusError
        The split has no recording of a speaker of the model.
    OutOfTimeError
        There was no time for any recording.
    """
    until = time.monotonic() + time_s
    shared = dist.is_available() and dist.is_initialized()
    rank, workers = (dist.get_rank(), dist.get_world_size()) if shared else (0, 1)
    draw = np.random.default_rng(0)
    order = _order(model, corpus, split, draw)
    encoding_of = encoding_of or partial(_encoding, model, corpus)
    conditioning, divergence = {}, []
    for i in order:
        conditioning[i], of_frames = encoding_of(i)
        divergence.append(of_frames)
    # of fixed codes it is the same for every frame
    kl = _mean(divergence) if divergence[0].numel() else math.log(model.codebook_size)
    used = None
    if model.discrete:
        used = np.bincount(
            torch.cat(list(conditioning.values())).numpy(), minlength=model.codebook_size
        )

    rate, taken = corpus.sample_rate, _first(corpus, order, limit_s)
    lengths = [corpus.utterances[i].samples for i in taken]
    # samples, utterances, nats, of shuffled codes, with the contour, of it; then how often each level was seen
    sums = np.zeros(6 + model.config.levels)
    speed = _speed(model, corpus, order[0], conditioning) if math.isfinite(time_s) else math.inf
    speed /= 2 if contour_of is None else 3
    with Progress(sum(lengths[rank::workers]), "samples", f"scoring {split}") as bar:
        for number, i in enumerate(taken):
            of = corpus.utterances[i]
            shuffled = conditioning[i][
                ..., torch.from_numpy(draw.permutation(conditioning[i].shape[-1]))
            ]
            if number % workers != rank or time.monotonic() + of.samples / speed > until:
                continue
            levels = _levels(model, corpus, i)
            sums[:2] += len(levels), 1
            sums[2] += float(model.nll(levels, conditioning[i], of.speaker).double().sum())
            sums[3] += float(model.nll(levels, shuffled, of.speaker).double().sum())
            if contour_of is not None:
                hop = model.decoder.condition_hop
                frames = conditioning[i].shape[-1] * model.hop // hop
                contour: NDArray[np.float32] | Tensor = look_up(contour_of(i), 0, frames, hop, rate)
                coded = model.contour_nll(conditioning[i], of.speaker, contour)
                if coded is not None:
                    of_contour, contour = coded
                    sums[5] += float(of_contour.double().sum())
                sums[4] += float(
                    model.nll(levels, conditioning[i], of.speaker, contour).double().sum()
                )
            sums[6:] += np.bincount(levels.numpy(), minlength=model.config.levels)
            bar.update(len(levels))
    if shared:
        reduced = torch.from_numpy(sums).to(model.device)
        dist.all_reduce(reduced)
        sums = reduced.cpu().numpy()
    scored, utterances, nats, shuffled_nats, contour_nats, cost_nats = sums[:6].tolist()
    if not scored:
        raise OutOfTimeError(
            f"{corpus.path}: no utterance of split {split!r} could be scored in {max(0, time_s):.0f} s"
        )
    return HeldOut(
        split=split,
        utterances=int(utterances),
        seconds=scored / rate,
        nats_per_sample=nats / scored,
        bits_per_sample=nats / scored / math.log(2),
        shuffled_bits=shuffled_nats / scored / math.log(2),
        unigram_bits=entropy_bits(sums[6:]),
        uniform_bits=math.log2(model.config.levels),
        kl_bits=kl / math.log(2) if math.isfinite(kl) else None,
        used_codes=None if used is None else int((used > 0).sum()),
        perplexity=None if used is None else 2 ** entropy_bits(used),
        codebook_size=None if used is None else model.codebook_size,
        contour_nats=None if contour_of is None else contour_nats / scored,
        contour_cost_nats=(
            None if contour_of is None or model.decoder.contours is None else cost_nats / scored
        ),
    )


@torch.inference_mode()
def spectral_error(
    model: Autoencoder,
    corpus: PackedStore | CodedCorpus,
    split: str,
    tracks: PitchTracks | None,
    limit_s: float = math.inf,
) -> float:
    """Compare the spectrogram that a decoder predicts from codes with that of the recordings.

    Parameters
    ----------
    model : Autoencoder
        With a spectral head.
    corpus, split, limit_s
        See `held_out`.
    tracks : PitchTracks or None
        Contours of the corpus, for a decoder that takes pitch.

    Returns
    -------
    float
        Mean absolute error of the log-mel spectrogram, nats of magnitude, over all frames.

    Raises
    ------
    CorpusError
        The split has no recording of a speaker of the model.
    """
    decoder = model.decoder
    if decoder.spectral is None:
        raise ValueError("the decoder has no spectral head")
    log_mel = decoder.spectral.log_mel().to(model.device)
    errors: list[Tensor] = []
    order = _order(model, corpus, split, np.random.default_rng(0))
    taken = _first(corpus, order, limit_s)
    total = sum(corpus.utterances[i].samples for i in taken)
    with Progress(total, "samples", f"comparing spectra of {split}") as bar:
        for i in taken:
            of = corpus.utterances[i]
            conditioning = _encoding(model, corpus, i).conditioning
            samples, hop = conditioning.shape[-1] * model.hop, decoder.condition_hop
            contour = None if tracks is None else tracks.cut(i, 0, samples // hop, hop)
            found = model.condition(conditioning, of.speaker, contour).spectrum
            assert found is not None
            wav = (
                mulaw_decode(_levels(model, corpus, i), model.config.levels)
                if _coded(corpus)
                else torch.from_numpy(corpus.wav(i))
            )
            true = log_mel(pad(wav, (0, samples - len(wav)))[None].to(model.device))[0]
            inside = -(len(wav) // -log_mel.hop)
            errors.append((found - true).abs().mean(0)[:inside].cpu())
            bar.update(of.samples)
    return _mean(errors)


@torch.inference_mode()
def contour_error(
    model: Autoencoder,
    corpus: PackedStore | CodedCorpus,
    split: str,
    tracks: PitchTracks,
    limit_s: float = math.inf,
) -> float:
    """-log p of pitch contours given codes and speaker, nats per frame of the condition.

    Arguments and errors are those of `spectral_error`; the decoder has a distribution of contours.
    """
    order = _order(model, corpus, split, np.random.default_rng(0))
    hop, found = model.decoder.condition_hop, []
    for i in _first(corpus, order, limit_s):
        conditioning = _encoding(model, corpus, i).conditioning
        contour = tracks.cut(i, 0, conditioning.shape[-1] * model.hop // hop, hop)
        coded = model.contour_nll(conditioning, corpus.utterances[i].speaker, contour)
        if coded is None:
            raise ValueError("the decoder has no distribution of contours")
        found.append(coded[0])
    return _mean(found)


def _speed(
    model: Autoencoder,
    corpus: PackedStore | CodedCorpus,
    place: int,
    conditioning: Mapping[int, Tensor],
) -> float:
    """Speed of a likelihood, samples per second, measured on half a second of a recording."""
    frames = max(1, corpus.sample_rate // 2 // model.hop)
    some = conditioning[place][..., :frames]
    levels = _levels(model, corpus, place)[: some.shape[-1] * model.hop]
    speaker = corpus.utterances[place].speaker
    # the first pass allocates and initialises
    for _ in range(2):
        began = time.monotonic()
        model.nll(levels, some, speaker)
        spent_s = time.monotonic() - began
    return len(levels) / max(spent_s, 1e-9)
