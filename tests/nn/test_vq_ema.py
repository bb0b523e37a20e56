"""The codebook that follows the encoder: its closed form, its dead codes, its agreement between workers."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from vqspeech.nn.vq import as_rows
from vqspeech.nn.vq_ema import EMAVectorQuantizer

DIM, CODES = 3, 8


def latents(count: int, seed: int = 0, batch: int = 4, frames: int = 12) -> list[Tensor]:
    """Return batches of latents, (batch, DIM, frames) each."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, DIM, frames, generator=generator) for _ in range(count)]


def quantizer(**settings: float) -> EMAVectorQuantizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EMAVectorQuantizer(DIM, CODES, **settings)


@pytest.mark.parametrize(
    ("decay", "smoothing"), [(0.5, 1e-5), (0.9, 1e-5), (0.99, 1e-5), (0.9, 0.5)]
)
def test_codes_are_discounted_sums_over_discounted_counts(decay: float, smoothing: float) -> None:
    """After T updates, N = g^T + (1-g) sum_t g^(T-t) n_t, m likewise, and a code is m over the smoothed N."""
    ema = quantizer(decay=decay, dead_below=0, smoothing=smoothing)
    start = ema.codebook.double().numpy().copy()
    batches, counts, sums = latents(6), [], []
    for z_e in batches:
        output = ema(z_e)
        chosen = np.eye(CODES)[output.codes.reshape(-1).numpy()]
        counts.append(chosen.sum(0))
        sums.append(chosen.T @ as_rows(z_e).double().numpy())
        ema.update(output)

    weights = (1 - decay) * decay ** np.arange(len(batches))[::-1]
    first = decay ** len(batches)
    usage = first + np.tensordot(weights, counts, 1)
    total = first * start + np.tensordot(weights, sums, 1)
    smoothed = (usage + smoothing) / (usage.sum() + CODES * smoothing) * usage.sum()
    np.testing.assert_allclose(ema.usage, usage, rtol=1e-5)
    np.testing.assert_allclose(ema.sums, total, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ema.codebook, total / smoothed[:, None], rtol=1e-4, atol=1e-6)
    assert ema.updates == len(batches)


def test_codes_follow_an_encoder_that_moves() -> None:
    """Under latents that stay put, a code ends at the mean of those that choose it."""
    ema = quantizer(decay=0.8, dead_below=0)
    (z_e,) = latents(1)
    for _ in range(100):
        ema.update(ema(z_e + 2))
    codes, rows = ema.encode(z_e + 2).reshape(-1), as_rows(z_e + 2)
    for code in codes.unique():
        torch.testing.assert_close(
            ema.codebook[code], rows[codes == code].mean(0), rtol=1e-3, atol=1e-3
        )


def test_nothing_of_it_is_learned_by_gradient() -> None:
    """The codebook is a buffer, saved with the model and unknown to the optimizer."""
    ema = quantizer()
    assert list(ema.parameters()) == []
    assert set(ema.state_dict()) == {"codebook", "usage", "sums", "updates"}


def work(rank: int, folder: Path, batches: list[Tensor], settings: dict[str, float]) -> None:
    """Update as one of two workers, each with its half of every batch."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    ema = quantizer(**settings)
    for z_e in batches:
        ema.update(ema(z_e.chunk(2)[rank]))
    torch.save(ema.state_dict(), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def two_workers(
    folder: Path, batches: list[Tensor], settings: dict[str, float]
) -> list[dict[str, Tensor]]:
    """Return what two gloo workers end with."""
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=work, args=(rank, folder, batches, settings)) for rank in (0, 1)
    ]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
    finally:
        for worker in workers:
            worker.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_two_workers_are_one_worker_with_both_batches(tmp_path: Path) -> None:
    """Sums are reduced over workers: both end with the same bits, those of one process up to rounding."""
    settings, batches = {"decay": 0.7, "dead_below": 0.0}, latents(8)
    first, second = two_workers(tmp_path, batches, settings)
    alone = quantizer(**settings)
    for z_e in batches:
        alone.update(alone(z_e))
    for key, value in alone.state_dict().items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], value, rtol=1e-5, atol=1e-6)


def test_two_workers_revive_the_same_codes(tmp_path: Path) -> None:
    """With different data on each, dead codes move to the same latents, taken from both workers."""
    settings, batches = {"decay": 0.5, "dead_below": 0.9}, latents(8)
    first, second = two_workers(tmp_path, batches, settings)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
    halves = [as_rows(half) for half in batches[-1].chunk(2)]
    revived = [(first["codebook"][:, None] == rows).all(2).any(1) for rows in halves]
    assert revived[0].any()
    assert revived[1].any()
