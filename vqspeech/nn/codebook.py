"""Operations on a codebook, a matrix (codebook_size, dim): search, initialisation, dead codes.

Vectors are rows here, (n, dim). All that must agree between workers is computed from sums reduced over all of them
and from a generator with a shared seed.
"""

import torch
import torch.distributed as dist
from torch import Tensor

ROWS_PER_SEARCH = 1024
"""Rows searched at a time: the distances of a block stay in cache, twice as fast as all at once."""


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index, int64 (n,), of the nearest codebook row for each of (n, dim) vectors, by Euclidean distance.

    Distances are fp32 even under autocast: in bf16 near neighbours collapse.
    """
    with torch.no_grad(), torch.autocast(vectors.device.type, enabled=False):
        rows, entries = vectors.float(), codebook.float()
        half_norms = 0.5 * entries.pow(2).sum(1)
        distances = rows.new_empty(ROWS_PER_SEARCH, len(entries))
        found = torch.empty(len(rows), dtype=torch.int64, device=rows.device)
        for start in range(0, len(rows), ROWS_PER_SEARCH):
            block = rows[start : start + ROWS_PER_SEARCH]
            # |v - e|^2 / 2 up to |v|^2 / 2, which is the same for every e
            torch.addmm(half_norms, block, entries.T, alpha=-1, out=distances[: len(block)])
            torch.argmin(distances[: len(block)], 1, out=found[start : start + len(block)])
        return found


def cluster_sums(vectors: Tensor, codes: Tensor, codebook_size: int) -> tuple[Tensor, Tensor]:
    """Vectors (n, dim) with each code, over all workers: count (codebook_size,) and sum (codebook_size, dim)."""
    rows = vectors.float()
    # the last column counts, so that workers need one all-reduce for both
    rows = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
    sums = rows.new_zeros(codebook_size, rows.shape[1]).index_add_(0, codes, rows)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(sums)
    return sums[:, -1], sums[:, :-1]


def k_means(vectors: Tensor, codebook_size: int, seed: int, iterations: int = 10) -> Tensor:
    """Cluster centres of encoder outputs, to initialise a codebook from data.

    Centres start at randomly drawn vectors; a centre that loses all its vectors is drawn again.

    Parameters
    ----------
    vectors : Tensor
        (n, dim), the same on every worker.
    codebook_size : int
        Number of centres; with fewer vectors, several centres are one vector.
    seed : int
        Seed of the draw.
    iterations : int
        Lloyd iterations.

    Returns
    -------
    Tensor
        float32, (codebook_size, dim).
    """
    rows = vectors.float()
    generator = torch.Generator().manual_seed(seed)
    repeats = -(-codebook_size // len(rows))
    order = torch.cat([torch.randperm(len(rows), generator=generator) for _ in range(repeats)])
    centres = rows[order[:codebook_size].to(rows.device)].clone()
    for _ in range(iterations):
        codes = nearest(rows, centres)
        counts = torch.bincount(codes, minlength=codebook_size).float()
        sums = rows.new_zeros(centres.shape).index_add_(0, codes, rows)
        again = torch.randint(len(rows), (codebook_size,), generator=generator).to(rows.device)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], rows[again])
    return centres


def revivals(usage: Tensor, vectors: Tensor, dead_below: float, seed: int) -> tuple[Tensor, Tensor]:
    """Dead codes, int64 (m,), and encoder outputs that replace them, float32 (m, dim).

    A code is dead when its share of use is below `dead_below` times that of uniform use: a threshold that depends
    neither on batch size nor on codebook size. At most n codes are revived at once.

    Parameters
    ----------
    usage : Tensor
        (codebook_size,), running count of use, the same on every worker.
    vectors : Tensor
        (n, dim), this worker's encoder outputs; all workers have the same n.
    dead_below : float
        Threshold relative to uniform use; 0 revives nothing.
    seed : int
        Seed of the draw, the same on every worker.
    """
    dead = torch.nonzero(usage < dead_below * usage.mean())[:, 0]
    if len(dead) == 0:
        return dead, vectors.new_empty(0, vectors.shape[1], dtype=torch.float32)
    rows = vectors.float().contiguous()
    if dist.is_available() and dist.is_initialized():
        gathered = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, rows)
        rows = torch.cat(gathered)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(rows), generator=generator)[: len(dead)].to(rows.device)
    return dead[: len(chosen)], rows[chosen]
