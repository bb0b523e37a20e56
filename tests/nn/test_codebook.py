"""Search, sums, initialisation and revival, each against a plain version of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vqspeech.nn.codebook import ROWS_PER_SEARCH, cluster_sums, k_means, nearest, revivals


def brute_force(vectors: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest row in float64, and by how much half the square of the distance to the second is larger."""
    distances = torch.cdist(vectors.double(), codebook.double()).square() / 2
    two, codes = distances.topk(min(2, len(codebook)), 1, largest=False)
    return codes[:, 0], two[:, -1] - two[:, 0]


@given(
    rows=st.sampled_from([1, 7, ROWS_PER_SEARCH - 1, ROWS_PER_SEARCH, 2 * ROWS_PER_SEARCH + 1]),
    codes=st.integers(2, 40),
    dim=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_nearest_is_the_argmin_over_all_distances(
    rows: int, codes: int, dim: int, seed: int
) -> None:
    """Whatever the number of row blocks, the code is that of brute force in float64."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows, dim, generator=generator)
    codebook = torch.randn(codes, dim, generator=generator)
    expected, gap = brute_force(vectors, codebook)
    # Two codes as near as rounding in float32 are both right: of products and sums as large as these, twice.
    sizes = (vectors.abs() @ codebook.abs().T + codebook.square().sum(1) / 2).amax(1)
    clear = gap > 2 * (dim + 2) * torch.finfo(torch.float32).eps * sizes
    assert (~clear).sum() <= max(1, rows // 10)
    found = nearest(vectors, codebook)
    assert found.dtype == torch.int64
    assert torch.equal(found[clear], expected[clear])


def test_nearest_is_searched_in_fp32_under_autocast() -> None:
    """Codes nearer to one another than bf16 resolves are still told apart."""
    codebook = torch.linspace(1, 1.1, 50)[:, None].expand(-1, 4).contiguous()
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    assert len(codebook.bfloat16().unique(dim=0)) < 20
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest(codebook[order], codebook), order)


def test_sums_and_counts_are_those_of_a_loop() -> None:
    """Each vector is added to its code once; codes without vectors have zeros."""
    rng = np.random.default_rng(0)
    vectors, codes = rng.normal(size=(200, 3)).astype(np.float32), rng.integers(0, 9, 200)
    counts, sums = cluster_sums(torch.tensor(vectors), torch.tensor(codes), 12)
    for code in range(12):
        assert counts[code] == (codes == code).sum()
        np.testing.assert_allclose(
            sums[code], vectors[codes == code].astype(np.float64).sum(0), atol=1e-4
        )


def test_k_means_centres_are_the_means_of_their_vectors() -> None:
    """Well separated clusters end at a fixed point of Lloyd's iteration, nearer than the draw it began with."""
    torch.manual_seed(0)
    means = 100 * torch.randn(6, 4)
    vectors = means.repeat(50, 1) + torch.randn(300, 4)
    centres = k_means(vectors, 6, seed=1)
    codes = nearest(vectors, centres)
    for code in codes.unique():
        torch.testing.assert_close(centres[code], vectors[codes == code].mean(0))

    def distortion(centres: Tensor) -> Tensor:
        return torch.cdist(vectors, centres).amin(1).square().mean()

    assert distortion(centres) < 0.9 * distortion(k_means(vectors, 6, seed=1, iterations=0))


@pytest.mark.parametrize("n", [1, 2, 5, 15])
def test_k_means_with_fewer_vectors_than_codes(n: int) -> None:
    """Every vector gets a centre of its own, and every centre lies on a vector."""
    torch.manual_seed(n)
    vectors = torch.randn(n, 4)
    centres = k_means(vectors, 16, seed=0)
    assert centres.shape == (16, 4)
    distances = torch.cdist(vectors, centres)
    assert distances.amin(0).max() < 1e-2
    assert distances.amin(1).max() < 1e-2
    assert len(nearest(vectors, centres).unique()) == n


def test_k_means_depends_on_its_seed_alone() -> None:
    """The draw neither follows nor moves the global generator."""
    vectors = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    first, after = k_means(vectors, 8, seed=5), torch.rand(1)
    torch.manual_seed(2)
    assert torch.equal(k_means(vectors, 8, seed=5), first)
    assert not torch.equal(k_means(vectors, 8, seed=6), first)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)


@given(st.floats(1e-3, 1e3), st.integers(1, 30))
def test_a_code_is_dead_relative_to_uniform_use(scale: float, copies: int) -> None:
    """Neither the number of vectors a step nor the size of the codebook moves the threshold."""
    usage = torch.tensor([1.0, 0.04, 1.96, 0.06, 1.94, 0.0]).repeat(copies) * scale
    share = usage / usage.mean()
    dead, _ = revivals(usage, torch.randn(100, 2), 0.05, seed=0)
    assert torch.equal(dead, torch.nonzero(share < 0.05)[:, 0])
    assert len(dead) == 2 * copies


def test_zero_revives_nothing() -> None:
    """Threshold 0 leaves even a code alone that is never used."""
    dead, replacements = revivals(torch.tensor([0.0, 5.0]), torch.randn(9, 2), 0.0, seed=0)
    assert len(dead) == 0
    assert replacements.shape == (0, 2)


@pytest.mark.parametrize("n", [1, 3, 50])
def test_replacements_are_different_vectors_of_the_batch(n: int) -> None:
    """No vector revives two codes, so at most as many are revived as there are vectors."""
    vectors = torch.arange(n * 2.0).view(n, 2)
    usage = torch.cat([torch.zeros(10), torch.ones(10)])
    dead, replacements = revivals(usage, vectors, 0.5, seed=3)
    assert torch.equal(dead, torch.arange(min(n, 10)))
    rows = nearest(replacements, vectors)
    assert torch.equal(vectors[rows], replacements)
    assert len(rows.unique()) == len(dead)
