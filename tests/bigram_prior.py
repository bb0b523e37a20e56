"""A learned prior for tests: the probability of a code hangs on the one before it, and on who speaks."""

from dataclasses import dataclass, field

import numpy as np


class BigramPredictor:
    def __init__(self, table: np.ndarray, shift: int) -> None:
        self.table, self.row = table, shift % len(table)

    def probabilities(self) -> np.ndarray:
        return self.table[self.row]

    def push(self, code: int) -> None:
        self.row = code


@dataclass
class BigramPrior:
    """Random rows, far from uniform; `noise` is how far another machine's arithmetic is off, relatively."""

    codebook_size: int = 16
    codebook_id: str = "0123456789abcdef"
    prior_id: str = "fedcba9876543210"
    speakers: tuple[str, ...] = ("p225", "p226", "p227")
    noise: float = 0.0
    table: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        draw = np.random.default_rng(0)
        size = self.codebook_size
        self.table = draw.dirichlet(np.full(size, 0.3), size) * 0.99 + 0.01 / size
        self.table *= 1 + self.noise * draw.normal(size=(size, size))

    def predictor(self, speaker: str | None = None) -> BigramPredictor:
        names = [None, *self.speakers]
        return BigramPredictor(self.table, names.index(speaker) if speaker in names else 0)

    def draw(self, count: int, seed: int) -> list[int]:
        """Codes as likely as the prior says, spoken by nobody in particular."""
        draw, predictor = np.random.default_rng(seed), self.predictor()
        codes = []
        for _ in range(count):
            p = predictor.probabilities()
            codes.append(int(draw.choice(len(p), p=p / p.sum())))
            predictor.push(codes[-1])
        return codes
