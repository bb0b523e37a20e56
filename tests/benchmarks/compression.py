"""How small codes become, and what that is worth: ``python tests/benchmarks/compression.py recordings/``.

Bits a second of the same codes as JSON, npz, with equal chances (log2 K each) and as ``.vqc`` with either coder, beside
Opus at the lowest rate that libsndfile gives it. ``payload`` and ``file`` hold what is coded, and all bytes on disk,
against the cross-entropy of the coder's own predictions; ``rounding`` is what rounding these costs, in bits a code.
Every file is read back and compared. ``--model`` and ``--prior`` choose; ``--seconds`` joins the recordings of a
folder until they are as long, for a header weighs less in ten seconds than in two; ``--limit`` ends after so many.
"""

import argparse
import io
import math
import tempfile
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile

import vqspeech
from vqspeech import audio
from vqspeech.cli.files import find_sources
from vqspeech.cli.options import find_prior
from vqspeech.codes import entropy
from vqspeech.codes import files as codesfile
from vqspeech.codes.entropy import AdaptiveUnigram, CodePrior, Predictor
from vqspeech.codes.record import CodesRecord

OPUS_RATE = 16000


def recordings(
    names: list[str], sample_rate: int, seconds: float
) -> Iterator[tuple[str, np.ndarray]]:
    """Recordings by name, those of one folder joined until they are `seconds` long; what is left over is not used."""
    for _, members in groupby(find_sources(names), lambda source: source.path.parent):
        parts: list[np.ndarray] = []
        name = ""
        for source in members:
            name = name or source.path.stem
            parts.append(audio.read(source.path, sample_rate))
            if sum(map(len, parts)) >= seconds * sample_rate:
                yield name, np.concatenate(parts)
                parts, name = [], ""


def opus_bytes(wav: np.ndarray, sample_rate: int) -> int:
    """Size of the recording as Ogg/Opus with as much compression as libsndfile allows."""
    file = io.BytesIO()
    with soundfile.SoundFile(
        file,
        "w",
        samplerate=OPUS_RATE,
        channels=1,
        format="OGG",
        subtype="OPUS",
        compression_level=1.0,
    ) as opus:
        opus.write(audio.resample(wav, sample_rate, OPUS_RATE))
    return len(file.getvalue())


def predicted_bits(codes: list[int], predictor: Predictor) -> tuple[float, float]:
    """Cross-entropy of the codes under a predictor, in bits, and under its rounded probabilities."""
    exact = rounded = 0.0
    for code in codes:
        p = predictor.probabilities()
        exact -= math.log2(p[code])
        rounded += entropy.PRECISION - math.log2(entropy.weights(p)[code])
        predictor.push(code)
    return exact, rounded


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--model", default="vctk")
    parser.add_argument("--prior")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--limit", type=int, default=10)
    args = parser.parse_args()
    model = vqspeech.load(args.model)
    coders: dict[str, CodePrior | None] = {"unigram": None}
    if (prior := find_prior(args.prior, model, args.model)) is not None:
        coders["prior"] = prior
    each = "".join(
        f" {c:>8} {'bits':>8} {'payload':>8} {'file':>6} {'rounding':>8}" for c in coders
    )
    print(f"{'bits a second':<20} {'s':>5} {'json':>7} {'npz':>7} {'uniform':>8}{each} {'Opus':>7}")
    sums = np.zeros(5 + 5 * len(coders))
    spent_s = dict.fromkeys(coders, 0.0)
    for number, (name, wav) in enumerate(recordings(args.sources, model.sample_rate, args.seconds)):
        if number == args.limit:
            break
        codes = model.encode(wav).tolist()
        record = CodesRecord.of(model, codes, len(wav), name, args.model)
        row = [
            len(wav) / model.sample_rate,
            8 * len(record.to_json()),
            8 * len(record.to_npz()),
            len(codes) * math.log2(model.codebook_size),
            8 * opus_bytes(wav, model.sample_rate),
        ]
        for coder, of in coders.items():

            def fresh(of: CodePrior | None = of) -> Predictor:
                return AdaptiveUnigram(model.codebook_size) if of is None else of.predictor()

            exact, rounded = predicted_bits(codes, fresh())
            payload = len(entropy.encode(codes, fresh()))
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "a.vqc")
                began = time.perf_counter()
                codesfile.write(path, record, "vqc", prior=of)
                (back,) = codesfile.read(path, lambda _prior_id, of=of: of)
                spent_s[coder] += time.perf_counter() - began
                if back.codes != codes or back.samples != len(wav):
                    raise SystemExit(f"{name}: {coder}: other codes came back")
                row += [8 * path.stat().st_size, exact, 8 * payload, rounded - exact, len(codes)]
        print_row(name, row)
        sums += row
    print_row("together", sums.tolist())
    print("every file gave back its codes")
    for coder, spent in spent_s.items():
        rate = 2 * sums[9] / spent
        print(f"{coder}: {rate:,.0f} codes a second, written or read")


def print_row(name: str, row: list[float]) -> None:
    """Print bits a second, and ratios to the cross-entropy."""
    length_s, json, npz, uniform, opus, *coded = row
    text = f"{name[:20]:<20} {length_s:>5.1f} {json / length_s:>7.0f} {npz / length_s:>7.0f}"
    text += f" {uniform / length_s:>8.1f}"
    for start in range(0, len(coded), 5):
        file, bits, payload, lost, codes = coded[start : start + 5]
        text += (
            f" {file / length_s:>8.1f} {bits / length_s:>8.1f} {payload / bits:>8.4f}"
            f" {file / bits:>6.3f} {lost / codes:>8.5f}"
        )
    print(f"{text} {opus / length_s:>7.0f}")


if __name__ == "__main__":
    main()
