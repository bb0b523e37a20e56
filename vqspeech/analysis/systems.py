"""What a study compares: a model, k-means of MFCC, and the model's architecture with random weights.

The last two are baselines. k-means of MFCC is what classical signal processing knows of phones
without a label, at the model's own codebook size and rate and at one size and rate that stay the same
from study to study; random weights show how much of a model's scores its architecture gives away for
nothing, and so what learning bought. All are one thing to a study, a `System`: recordings in, codes
and the vectors before quantization out. Frame i covers samples ``[i * hop, (i + 1) * hop)``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.corpus.store import PackedStore
from vqspeech.metrics.rate import CodeNats

if TYPE_CHECKING:
    from vqspeech.models.autoencoder import Autoencoder
    from vqspeech.models.prior import Prior

MODEL, RANDOM, MFCC = "model", "random weights", "k-means of MFCC"
"""Kinds of system."""

MFCC_CODES, MFCC_RATE_HZ = 128, 25
"""Codebook size and rate of the baseline that all studies share."""

FITTED_FRAMES = 50_000
"""Frames that k-means is fitted on at most: 100 for each of 500 centres, in a second or two."""

_COEFFICIENTS = 13
_STEP_S, _WINDOW_S = 0.01, 0.025

Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class System:
    """Something that turns recordings into codes.

    Attributes
    ----------
    name : str
        What tables call it.
    kind : str
        `MODEL`, `RANDOM` or `MFCC`.
    sample_rate : int
        Hz.
    hop : int
        Samples a code.
    codebook_size : int
        Number of different codes.
    vectors : callable
        Turns a wav (samples,) into float32 vectors (frames, dim).
    quantize : callable
        Turns vectors into int64 codes (frames,).
    facts : mapping of str to object
        What else is known of it, to be shown: parameters, training, scores.
    code_nats : callable, optional
        What its codes cost under a learned prior.
    sample_bits : float
        Bits a sample of its decoder on held-out recordings, as its file says; nan where it does not.
    fitted : mapping of int to ndarray
        Vectors of the utterances that it was fitted on, by their places in the store.
    """

    name: str
    kind: str
    sample_rate: int
    hop: int
    codebook_size: int
    vectors: Callable[[NDArray[np.float32]], Vectors] = field(repr=False)
    quantize: Callable[[Vectors], NDArray[np.int64]] = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)
    code_nats: CodeNats | None = field(default=None, repr=False)
    sample_bits: float = nan
    fitted: Mapping[int, Vectors] = field(default_factory=dict, repr=False)

    def encode(self, wav: NDArray[np.float32]) -> NDArray[np.int64]:
        """Turn a wav (samples,) into codes (frames,)."""
        return self.quantize(self.vectors(wav))

    def vectors_of(self, store: PackedStore, index: int) -> Vectors:
        """Vectors of a recording of the store that it was fitted on, by its place there."""
        found = self.fitted.get(index)
        return self.vectors(store.wav(index)) if found is None else found

    def codes_of(self, store: PackedStore, index: int) -> NDArray[np.int64]:
        """Codes of a recording of the store that it was fitted on, by its place there."""
        return self.quantize(self.vectors_of(store, index))

    @property
    def frame_rate_hz(self) -> float:
        """Codes a second."""
        return self.sample_rate / self.hop


def model_system(model: "Autoencoder", name: str) -> System:
    """Make a system of a model in evaluation mode; its vectors are the encoder's output ``z_e``."""
    import torch

    def vectors(wav: NDArray[np.float32]) -> Vectors:
        return model.vectors(wav).T.numpy()

    def quantize(vectors: Vectors) -> NDArray[np.int64]:
        z_e = torch.from_numpy(vectors).T[None].contiguous().to(model.device)
        with torch.inference_mode():
            return model.quantizer.encode(z_e)[0].cpu().numpy()

    return System(
        name=name,
        kind=MODEL,
        sample_rate=model.sample_rate,
        hop=model.hop,
        codebook_size=model.codebook_size,
        vectors=vectors,
        quantize=quantize,
    )


def code_nats(prior: "Prior") -> CodeNats:
    """Return what codes cost under a prior that knows them."""
    import torch

    def nats(codes: NDArray[np.int64], speaker: str) -> NDArray[np.float64]:
        return prior.nll(torch.from_numpy(codes), speaker).double().numpy()

    return nats


def decoder_bits(header: Mapping[str, Any]) -> float:
    """Read from the header of a model's file how many bits a held-out sample costs its decoder; nan for unknown."""
    scores = header["scores"]
    found = scores.get("held_out") or scores.get("evaluation", {}).get("likelihood") or {}
    return float(found.get("bits_per_sample", nan))


def model_facts(header: Mapping[str, Any], model: "Autoencoder") -> dict[str, str]:
    """Say for people what is known of a model, from the header of its file: size, training, held-out likelihood."""
    facts = {
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "speakers": f"{len(model.speakers)}",
    }
    training = header["training"]
    parts = [
        f"{training[key]:,.0f} {text}"
        for key, text in (("steps", "steps"), ("samples_seen", "samples"), ("seconds", "s"))
        if isinstance(training.get(key), int | float)
    ]
    if parts:
        hardware = training.get("hardware")
        facts["training"] = ", ".join(parts) + (f" on {hardware}" if hardware else "")
    held_out = header["scores"].get("held_out", {})
    if "bits_per_sample" in held_out:
        facts["bits per sample, held out"] = f"{held_out['bits_per_sample']:.3f}"
        if "shuffled_bits" in held_out:
            shuffled = f" (with codes shuffled in time {held_out['shuffled_bits']:.3f})"
            facts["bits per sample, held out"] += shuffled
    return facts


def random_system(
    model: "Autoencoder", name: str, store: PackedStore, indices: Sequence[int], seed: int = 0
) -> System:
    """Make a system of a model's architecture with weights as they are before training.

    Its codebook is placed where training would place it before the first step, on cluster centres of its encoder's
    output for `indices`, at most `FITTED_FRAMES` frames: a codebook far from all vectors would give one code, and be
    too easy a baseline.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained = type(model)(model.config, model.speakers).eval().to(model.device)
    fitted = _some_vectors(model_system(untrained, name).vectors, store, indices, seed)
    frames = _joined(fitted)
    untrained.bottleneck.initialise(
        torch.from_numpy(frames).T[None].to(model.device).contiguous(), seed
    )
    return replace(model_system(untrained, name), kind=RANDOM, fitted=fitted)


def mfcc_shapes(models: Iterable["Autoencoder"]) -> list[tuple[int, int]]:
    """Tell which k-means baselines some models have: at their own codebook sizes and rates, and the fixed one.

    Parameters
    ----------
    models : iterable of Autoencoder
        Models with codes, all at one sample rate.

    Returns
    -------
    list of tuple of int
        Codebook size and hop in samples of each baseline, none twice, the fixed one last.
    """
    models = list(models)
    fixed = (MFCC_CODES, max(1, round(models[0].sample_rate / MFCC_RATE_HZ)))
    own = dict.fromkeys((model.codebook_size, model.hop) for model in models)
    own.pop(fixed, None)
    return [*own, fixed]


def mfcc_system(
    store: PackedStore,
    indices: Sequence[int],
    codebook_size: int,
    hop: int,
    seed: int = 0,
) -> System:
    """Make a system of k-means over the MFCC of `indices`, at most `FITTED_FRAMES` frames; see `mfcc_frames`.

    Its name tells `codebook_size` and rate (from `hop`, samples) where they are not the fixed ones.
    """
    import torch

    from vqspeech.nn.codebook import k_means, nearest

    sample_rate = store.sample_rate
    rate_hz = sample_rate / hop
    fixed = (codebook_size, round(rate_hz, 1)) == (MFCC_CODES, MFCC_RATE_HZ)

    def vectors(wav: NDArray[np.float32]) -> Vectors:
        return mfcc_frames(wav, sample_rate, hop)

    fitted = _some_vectors(vectors, store, indices, seed)
    centres = k_means(torch.from_numpy(_joined(fitted)), codebook_size, seed, iterations=25)

    def quantize(vectors: Vectors) -> NDArray[np.int64]:
        return nearest(torch.from_numpy(vectors), centres).numpy()

    return System(
        name=MFCC if fixed else f"{MFCC}, {rate_hz:g} Hz, K {codebook_size}",
        kind=MFCC,
        sample_rate=sample_rate,
        hop=hop,
        codebook_size=codebook_size,
        vectors=vectors,
        quantize=quantize,
        fitted=fitted,
    )


def mfcc_frames(wav: NDArray[np.float32], sample_rate: int, hop: int) -> Vectors:
    """Compute mel cepstra with their first and second differences: (ceil(samples / hop), 39), one row a frame.

    They are taken from windows of 25 ms about every 10 ms, with librosa's defaults, normalised to mean 0 and variance 1
    over the utterance, and averaged over the steps of each frame.
    """
    import librosa

    frames = -(-len(wav) // hop)
    # A whole number of steps a frame: a step and a frame then never lie askew.
    steps = max(1, round(hop / (_STEP_S * sample_rate)))
    step = hop / steps
    window = round(_WINDOW_S * sample_rate)
    size = 1 << (window - 1).bit_length()
    centres = np.rint((np.arange(frames * steps) + 0.5) * step).astype(np.int64)
    padded = np.pad(wav, (size // 2, size // 2 + frames * hop - len(wav)))
    windows = padded[centres[:, None] + np.arange(size)]
    taper = librosa.util.pad_center(librosa.filters.get_window("hann", window), size=size)
    power = np.abs(np.fft.rfft(windows * taper, axis=1).T) ** 2
    mel = librosa.feature.melspectrogram(S=power, sr=sample_rate, n_mels=40)
    cepstra = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=_COEFFICIENTS)
    deltas = [librosa.feature.delta(cepstra, order=order, mode="nearest") for order in (1, 2)]
    rows = np.concatenate([cepstra, *deltas]).T
    rows = (rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-6)
    return rows.reshape(frames, steps, -1).mean(axis=1).astype(np.float32)


def _some_vectors(
    vectors: Callable[[NDArray[np.float32]], Vectors],
    store: PackedStore,
    indices: Sequence[int],
    seed: int,
) -> dict[int, Vectors]:
    """Draw utterances until there are `FITTED_FRAMES` frames; their vectors by place, in the order drawn."""
    taken: dict[int, Vectors] = {}
    count = 0
    for index in np.random.default_rng(seed).permutation(np.asarray(indices)).tolist():
        taken[index] = vectors(store.wav(index))
        count += len(taken[index])
        if count >= FITTED_FRAMES:
            break
    return taken


def _joined(fitted: Mapping[int, Vectors]) -> Vectors:
    return np.concatenate(list(fitted.values()))[:FITTED_FRAMES]
