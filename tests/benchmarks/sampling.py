"""How fast the native engine draws, beside plain torch, beside what the processor can do, and beside busy neighbours.

``python tests/benchmarks/sampling.py`` runs a WaveNet of the reference size with random weights in interleaved rounds:
plain torch the way it is usually written, the native engine in all its modes, and a loop of nothing but fused
multiply-adds, for which it needs g++ and a processor with AVX2.

``--busy`` runs one stream on one and on two threads instead, at first alone, then beside a process that takes a core.
"""

import argparse
import ctypes
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling import BLOCK_SAMPLES, native
from vqspeech.sampling.measure import Case, Subject, reference_subject, speed

LOADS = {
    "fp32": ((1, 1), (1, 2), (6, 1), (12, 2)),
    "bf16": ((1, 1), (1, 2)),
    "int8": ((1, 1), (1, 2)),
}

LANES = 12 * 8
FMA_LOOP = """
#include <immintrin.h>
extern "C" float fma_loop(long n) {
    __m256 sums[12];
    for (int i = 0; i < 12; i++) sums[i] = _mm256_set1_ps(0.001f * i);
    const __m256 factor = _mm256_set1_ps(0.9999f), term = _mm256_set1_ps(1e-4f);
    for (long round = 0; round < n; round++) {
        #pragma GCC unroll 12
        for (int i = 0; i < 12; i++) sums[i] = _mm256_fmadd_ps(sums[i], factor, term);
    }
    for (int i = 1; i < 12; i++) sums[0] = _mm256_add_ps(sums[0], sums[i]);
    return _mm256_cvtss_f32(sums[0]);
}
"""


class PlainSampler:
    """The network the usual way: a queue of inputs for each layer, and an operation for each term."""

    def __init__(self, net: WaveNet) -> None:
        self.net = net
        layers, inputs, gates = net.gate_weight.shape
        self.queues = [deque([torch.zeros(1, inputs // 2)] * d) for d in net.dilations]
        self.past = [w[: inputs // 2].T.contiguous() for w in net.gate_weight]
        self.now = [w[inputs // 2 :].T.contiguous() for w in net.gate_weight]
        self.residual = [w.T.contiguous() for w in net.residual_weight]
        self.skip = [w.contiguous() for w in net.skip.weight.split(gates // 2, 1)]
        self.last = layers - 1

    def step(self, level: Tensor, condition: Tensor) -> Tensor:
        """Logits (1, levels), given the level before (1,) and the condition (layers, gate channels)."""
        net = self.net
        x = net.embedding(level)
        skip = net.skip.bias
        for layer, queue in enumerate(self.queues):
            before = queue.popleft()
            queue.append(x)
            pre = F.linear(before, self.past[layer]) + F.linear(x, self.now[layer])
            filtered, gate = (pre + condition[layer]).chunk(2, 1)
            gated = torch.tanh(filtered) * torch.sigmoid(gate)
            skip = skip + F.linear(gated, self.skip[layer])
            if layer < self.last:
                x = x + F.linear(gated, self.residual[layer], net.residual_bias[layer])
        return net.output(F.relu(net.hidden(F.relu(skip))))

    @torch.inference_mode()
    def draw(self, condition: Tensor, hop: int, samples: int) -> Tensor:
        """Levels (samples,) under a condition (frames, channels)."""
        projected = self.net.project(condition)
        level = torch.tensor([self.net.silence])
        drawn = []
        for t in range(samples):
            logits = self.step(level, projected[t // hop])
            level = torch.multinomial(torch.softmax(logits, 1), 1)[0]
            drawn.append(level)
        return torch.cat(drawn)

    @torch.inference_mode()
    def forced(self, condition: Tensor, hop: int, previous: Tensor) -> Tensor:
        """Logits (samples, levels), given the levels before."""
        projected = self.net.project(condition)
        steps = range(len(previous))
        return torch.cat([self.step(previous[t : t + 1], projected[t // hop]) for t in steps])


def timed(work: Callable[[], object], amount: float) -> float:
    """Amount of work done a second in one call."""
    began = time.perf_counter()
    work()
    return amount / (time.perf_counter() - began)


def macs_per_sample(net: WaveNet) -> int:
    """Multiply-adds a sample of the forward pass, conditions left out."""
    weights = (net.gate_weight, net.residual_weight, net.skip.weight)
    return sum(weight.numel() for weight in (*weights, net.hidden.weight, net.output.weight))


def fma_loop() -> Callable[[int], float]:
    """Compile `FMA_LOOP`; what comes back lets go of Python's lock, so two of them run at once."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "peak.cpp"), Path(folder, "peak.so")
        source.write_text(FMA_LOOP)
        flags = ["-O3", "-mavx2", "-mfma", "-shared", "-fPIC"]
        subprocess.run(["g++", *flags, "-o", library, source], check=True)
        loop = ctypes.CDLL(str(library)).fma_loop
    loop.argtypes, loop.restype = [ctypes.c_long], ctypes.c_float
    return loop


def peak(loop: Callable[[int], float], threads: int, rounds: int = 20_000_000) -> float:
    """Multiply-adds a second of so many threads together."""
    with ThreadPoolExecutor(threads) as pool:
        work = [rounds] * threads
        return timed(lambda: list(pool.map(loop, work)), threads * rounds * LANES)


def name(mode: str, streams: int, threads: int) -> str:
    """What a row is called."""
    return f"{mode}, {streams:>2} on {threads}"


def compare(subject: Subject, rounds: int, samples: int) -> None:
    """Print the native engine beside plain torch and the peak."""
    wavenet, hop = subject.wavenet, subject.hop
    plain = PlainSampler(wavenet)
    previous = wavenet.previous(torch.randint(256, (1, 10 * hop)))
    condition = subject.cover(10 * hop)
    with torch.inference_mode():
        off = plain.forced(condition, hop, previous[0]) - wavenet(previous, condition[None])[0]
    print(f"plain torch is {off.abs().max():.1e} off the parallel pass\n")

    loop = fma_loop()
    cases = {
        name(mode, *load): Case("native", mode, *load)
        for mode, loads in LOADS.items()
        for load in loads
    }
    few = samples // 16
    plain_condition = subject.cover(few)
    work: dict[str, Callable[[], float]] = {
        "plain": lambda: timed(lambda: PlainSampler(wavenet).draw(plain_condition, hop, few), few)
    }
    for row, case in cases.items():
        # the first block is not timed
        work[row] = lambda case=case: speed(subject, case, samples + BLOCK_SAMPLES)
    for threads in (1, 2):
        work[f"peak {threads}"] = lambda threads=threads: peak(loop, threads)
    rates = interleaved(work, rounds)

    macs = macs_per_sample(wavenet)
    median = {row: statistics.median(found) for row, found in rates.items()}
    for threads in (1, 2):
        found = rates[f"peak {threads}"]
        print(
            f"multiply-adds on {threads} threads: {median[f'peak {threads}'] / 1e9:.1f} G/s,"
            f" best {max(found) / 1e9:.1f}"
        )
    print(f"{macs:,} multiply-adds a sample\n")
    head = ("mode, streams on threads", "samples/s", "best", "x plain", "G mul-adds/s", "of peak")
    print("{:<24} {:>10} {:>10} {:>8} {:>13} {:>8}".format(*head))
    for row in ("plain", *cases):
        threads = cases[row].threads if row in cases else 1
        used = median[row] * macs
        print(
            f"{row:<24} {median[row]:>10,.0f} {max(rates[row]):>10,.0f}"
            f" {median[row] / median['plain']:>8.1f} {used / 1e9:>13.1f}"
            f" {used / median[f'peak {threads}']:>8.0%}"
        )


def busy(subject: Subject, rounds: int, samples: int) -> None:
    """Print what a second thread is worth to one stream, alone and beside a busy process."""
    work: dict[str, Callable[[], float]] = {
        name(mode, 1, threads): lambda mode=mode, threads=threads: speed(
            subject, Case("native", mode, 1, threads), samples + BLOCK_SAMPLES
        )
        for mode in native.MODES
        for threads in (1, 2)
    }
    found = {"idle": interleaved(work, rounds)}
    with spinning():
        found["busy"] = interleaved(work, rounds)
    print(f"{'':<6} {'mode':<5} {'1 thread':>10} {'2 threads':>10} {'2 / 1':>6}")
    for state, rates in found.items():
        for mode in native.MODES:
            one, two = name(mode, 1, 1), name(mode, 1, 2)
            print(
                f"{state:<6} {mode:<5} {statistics.median(rates[one]):>10,.0f}"
                f" {statistics.median(rates[two]):>10,.0f} {ratio(rates, two, one):>6.2f}"
            )


def interleaved(work: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Do each piece of work once in every round, after a round that does not count."""
    found = [{row: measured() for row, measured in work.items()} for _ in range(rounds + 1)]
    return {row: [rates[row] for rates in found[1:]] for row in work}


def ratio(rates: dict[str, list[float]], row: str, base: str) -> float:
    """Median over rounds of how many times as fast one is as the other in the same round."""
    return statistics.median(a / b for a, b in zip(rates[row], rates[base], strict=True))


@contextmanager
def spinning() -> Iterator[None]:
    """Keep a process busy that takes all it can get of one core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=4 * BLOCK_SAMPLES)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    subject = reference_subject()
    print(f"{args.rounds} interleaved rounds of {args.samples} samples a stream, medians")
    if args.busy:
        busy(subject, args.rounds, args.samples)
    else:
        compare(subject, args.rounds, args.samples)


if __name__ == "__main__":
    main()
