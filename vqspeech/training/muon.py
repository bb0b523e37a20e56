"""Muon: momentum whose matrices are orthogonalised before they are subtracted (Jordan et al. 2024).

All directions of a weight matrix then move at one speed, which gains most where steps are few.
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration: fast to near 1 rather than exact."""

ITERATIONS = 5

ADAM_LIKE = 0.2
"""Root mean square of an update of Adam, to which updates are scaled, so that rates compare (Liu et al. 2025,
arXiv 2502.16982)."""


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring singular values of (..., rows, columns) to about 0.7 to 1.2, by Newton-Schulz iteration.

    Those that are almost 0 stay small.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.flatten(-2).norm(dim=-1)[..., None, None].clamp(min=1e-12)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(Optimizer):
    """Muon with Nesterov momentum for matrices and stacks of matrices.

    Parameters
    ----------
    blocks : iterable of (Parameter, (int, int))
        Weights of two or three dimensions, whose last two are cut into blocks of this many rows and columns; each block
        is orthogonalised by itself.
    lr : float
        Learning rate; one that suits Adam suits Muon, sometimes a multiple does better.
    momentum : float
        Decay of the running mean of gradients.
    """

    def __init__(
        self,
        blocks: Iterable[tuple[Tensor, tuple[int, ...]]],
        lr: float = 1e-2,
        momentum: float = 0.95,
    ) -> None:
        groups = [{"params": [weight], "block": list(block)} for weight, block in blocks]
        super().__init__(groups, {"lr": lr, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move the weights that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state: dict[str, Any] = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum"], group["momentum"])
                rows, columns = group["block"]
                # (..., grid rows, grid columns, rows, columns)
                cut = ahead.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows)).transpose(-3, -2)
                update = orthogonalise(cut).transpose(-3, -2).reshape(weight.shape)
                scale = ADAM_LIKE * max(rows, columns) ** 0.5
                weight.add_(update, alpha=-group["lr"] * scale)
        return None
