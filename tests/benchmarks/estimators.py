"""Bias and spread of the gradients that reach an encoder through discrete latents, against exact enumeration.

``python tests/benchmarks/estimators.py`` prints a table for a decoder of two frames with three codes each, small
enough to sum over all draws: straight-through Gumbel-softmax at several temperatures and REINFORCE against the gradient
of the bound of one draw, VIMCO and its score function without control variates against that of M draws. Figures are
relative to the norm of the exact gradient; a bias comes with its standard error.
"""

import argparse
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vqspeech.nn.categorical import Categorical
from vqspeech.nn.gumbel import GumbelBottleneck
from vqspeech.nn.vimco import VIMCO, multi_sample

DIM, FRAMES, CODES, SAMPLES, LEVELS = 2, 2, 3, 6, 4


class Toy(NamedTuple):
    """A recording, a decoder for it, and the output of its encoder.

    Attributes
    ----------
    z_e : Tensor
        (1, DIM, FRAMES).
    decoder : Module
        Vectors (n, DIM, FRAMES) to logits (n, SAMPLES, LEVELS); its samples hang on both frames at once.
    levels : Tensor
        int64, (SAMPLES,): the recording.
    """

    z_e: Tensor
    decoder: nn.Module
    levels: Tensor

    def log_likelihood(self, z: Tensor) -> Tensor:
        """Log p(x | z), (...), of vectors (..., DIM, FRAMES)."""
        logits = self.decoder(z.flatten(0, -3)).log_softmax(-1)
        wanted = self.levels[None, :, None].expand(len(logits), -1, -1)
        return logits.gather(2, wanted).sum((1, 2)).view(z.shape[:-2])


def toy(seed: int = 1) -> Toy:
    """Make a toy whose likelihoods differ by some nats from one pair of codes to another."""
    torch.manual_seed(seed)
    decoder = nn.Sequential(
        nn.Flatten(),
        nn.Linear(DIM * FRAMES, 16),
        nn.Tanh(),
        nn.Linear(16, SAMPLES * LEVELS),
        nn.Unflatten(1, (SAMPLES, LEVELS)),
    )
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(2.5)
    return Toy(torch.randn(1, DIM, FRAMES), decoder, torch.randint(LEVELS, (SAMPLES,)))


def expected_loss(of: Toy, posterior: Categorical, z_e: Tensor, draws: int) -> Tensor:
    """Minus the expectation of the bound of `draws` draws under `z_e` (1, DIM, FRAMES), by summing over all of them."""
    log_q = posterior.log_probabilities(z_e)[0]
    pairs = torch.tensor(list(itertools.product(range(CODES), repeat=FRAMES)))
    chosen = torch.stack([log_q[frame, pairs[:, frame]] for frame in range(FRAMES)]).sum(0)
    weights = of.log_likelihood(posterior.dequantize(pairs)) - chosen - FRAMES * math.log(CODES)
    tuples = torch.tensor(list(itertools.product(range(len(pairs)), repeat=draws)))
    bound = weights[tuples].logsumexp(1) - math.log(draws)
    return -(chosen[tuples].sum(1).exp() * bound).sum()


def exact(of: Toy, posterior: Categorical, draws: int) -> Tensor:
    """Gradient of `expected_loss` to `z_e`, (DIM, FRAMES)."""
    z_e = of.z_e.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(expected_loss(of, posterior, z_e, draws), z_e)
    return gradient[0]


def gradients(loss: Callable[[Tensor], Tensor], z_e: Tensor, count: int) -> Tensor:
    """Independent estimates of a gradient to z_e, (count, DIM, FRAMES), from a loss of (batch, DIM, FRAMES)."""
    copies = z_e.repeat(count, 1, 1).requires_grad_()
    (found,) = torch.autograd.grad(loss(copies).sum(), copies)
    return found


def gumbel(of: Toy, bottleneck: GumbelBottleneck) -> Callable[[Tensor], Tensor]:
    """Minus the bound of one draw, with the straight-through gradient."""

    def loss(z_e: Tensor) -> Tensor:
        output = bottleneck(z_e)
        # the divergence is a mean over recordings and frames, and is wanted as a sum
        return output.kl * len(z_e) * FRAMES - of.log_likelihood(output.z_q).sum()

    return loss


def vimco(of: Toy, bottleneck: VIMCO) -> Callable[[Tensor], Tensor]:
    """Minus the bound of several draws, with leave-one-out control variates."""

    def loss(z_e: Tensor) -> Tensor:
        draws = bottleneck(z_e).draws
        return multi_sample(of.log_likelihood(draws.z), draws.log_ratio.sum(2)).loss

    return loss


def reinforce(of: Toy, bottleneck: VIMCO, draws: int) -> Callable[[Tensor], Tensor]:
    """Minus the bound of several draws, or of one, with its plain score function."""

    def loss(z_e: Tensor) -> Tensor:
        drawn = bottleneck(z_e).draws
        ratio = drawn.log_ratio.sum(2)[:draws]
        bound = (of.log_likelihood(drawn.z[:draws]) - ratio).logsumexp(0) - math.log(draws)
        return -bound - bound.detach() * (ratio - ratio.detach()).sum(0)

    return loss


class Estimate(NamedTuple):
    """How estimates lie around the exact gradient, relative to its norm.

    Attributes
    ----------
    bias, error : float
        Norm of the mean deviation, and what that would be from chance alone.
    deviation : float
        Root mean squared distance of an estimate from the mean of them.
    """

    bias: float
    error: float
    deviation: float


def compare(found: Tensor, truth: Tensor) -> Estimate:
    """Hold estimates (count, DIM, FRAMES) against the exact gradient (DIM, FRAMES)."""
    scale = float(truth.norm())
    variance = float(found.var(0).sum())
    return Estimate(
        float((found.mean(0) - truth).norm()) / scale,
        math.sqrt(variance / len(found)) / scale,
        math.sqrt(variance) / scale,
    )


def table(count: int, seed: int, temperatures: list[float], draws: list[int]) -> list[str]:
    """Rows of the table, the first of them its head."""
    of = toy(seed)
    rows = [f"{'estimator':<36}{'draws':>6}{'bias':>18}{'deviation':>12}"]
    one = VIMCO(DIM, CODES)
    shared = one.posterior

    def row(name: str, number: int, loss: Callable[[Tensor], Tensor]) -> None:
        found = compare(gradients(loss, of.z_e, count), exact(of, shared, number))
        bias = f"{found.bias:.4f} ± {found.error:.4f}"
        rows.append(f"{name:<36}{number:>6}{bias:>18}{found.deviation:>12.2f}")

    for temperature in temperatures:
        bottleneck = GumbelBottleneck(DIM, CODES, temperature, temperature)
        bottleneck.posterior = shared
        row(f"Gumbel, temperature {temperature:g}", 1, gumbel(of, bottleneck))
    row("REINFORCE", 1, reinforce(of, one, 1))
    for number in draws:
        bottleneck = VIMCO(DIM, CODES, number)
        bottleneck.posterior = shared
        row("REINFORCE of the bound", number, reinforce(of, bottleneck, number))
        row("VIMCO", number, vimco(of, bottleneck))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="estimates of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--temperatures", type=float, nargs="+", default=[4.0, 2.0, 1.0, 0.5, 0.25, 0.1, 0.05]
    )
    parser.add_argument("--draws", type=int, nargs="+", default=[2, 5])
    args = parser.parse_args()
    print(f"{args.count} estimates each; bias and deviation relative to the exact gradient")
    print("\n".join(table(args.count, args.seed, args.temperatures, args.draws)))


if __name__ == "__main__":
    main()
