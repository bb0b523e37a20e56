"""How fast a model encodes, and whether blocks give the codes of one pass: ``python tests/benchmarks/encoding.py``.

``--model FILE`` takes a trained model, otherwise ``--experiment`` names a configuration with random weights and a
codebook started from the recording. ``--store DIR`` repeats the recordings of a packed store up to the length asked
for; without it the recording is noise of speech-like level. With ``--one-pass`` the whole recording also goes through
the encoder at once, which takes some 10 GB an hour, and differing codes are counted.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import vqspeech
from vqspeech.cli.train import compose
from vqspeech.corpus.store import PackedStore
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.training.config import from_mapping


def random_model(experiment: str) -> Autoencoder:
    """A model of a shipped configuration, its codebook started from noise."""
    settings = [f"experiment={experiment}", "data.store=none", "run.dir=none"]
    model = vqspeech.Autoencoder(from_mapping(compose(settings)).model, ["nobody"]).eval()
    with torch.no_grad():
        z_e = model.encoder(torch.from_numpy(noise(60 * model.sample_rate))[None])
        model.bottleneck.initialise(z_e, seed=0)
    return model


def noise(samples: int) -> np.ndarray:
    """Noise whose level changes twice a second, float32."""
    draw = np.random.default_rng(0)
    level = np.exp(draw.uniform(-5, -1, samples // 8000 + 2)).astype(np.float32)
    wav = draw.standard_normal(samples, dtype=np.float32)
    wav *= np.repeat(level, 8000)[:samples]
    return wav


def pieces(wav: np.ndarray, seconds: int = 10) -> Iterator[np.ndarray]:
    """The recording as it would come from a file."""
    for start in range(0, len(wav), seconds * 16000):
        yield wav[start : start + seconds * 16000]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--experiment", default="paper64")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one-pass", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = vqspeech.load(args.model) if args.model else random_model(args.experiment)
    samples = int(args.minutes * 60 * model.sample_rate)
    if args.store:
        wav = (
            np.resize(np.asarray(PackedStore(args.store).audio), samples).astype(np.float32) / 32768
        )
    else:
        wav = noise(samples)
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began, began_cpu = time.perf_counter(), time.process_time()
    codes = torch.cat(list(model.encode_blocks(pieces(wav))))
    spent_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    length_s = samples / model.sample_rate
    print(
        f"{length_s:.0f} s in {spent_s:.1f} s, {length_s / spent_s:.1f} x real time on {args.threads}"
        f" threads ({length_s / cpu_s:.1f} x per second of processor time)"
    )
    print(
        f"memory: {peak_mb:.0f} MB at most, {before_mb:.0f} MB of it before encoding,"
        f" the recording included ({wav.nbytes / 1e6:.0f} MB)"
    )
    print(f"{len(codes)} codes, {len(codes.unique())} of {model.codebook_size} used")
    if args.one_pass:
        with torch.inference_mode():
            whole = model.bottleneck.encode(model.encoder(torch.from_numpy(wav)[None]))[0]
        print(f"codes that differ from those of one pass: {int((whole != codes).sum())}")


if __name__ == "__main__":
    main()
