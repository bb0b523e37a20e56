"""Dilated causal convolutions over codes: the distribution of each code given those before it.

Tensors are time-major, (batch, frames, channels), as in the WaveNet. One pass serves a batch of training segments, a
part of a long sequence and a single step: the layers' past inputs are arguments and results.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

MAX_DILATION = 65_536
"""Largest dilation of a layer, which bounds its cache; a file with more is refused."""

Past = Sequence[Tensor]
"""For each layer, (batch, dilation, width): its last inputs; empty at the start of a sequence."""


class Predicted(NamedTuple):
    """Result of a pass: logits (batch, frames, codebook_size) of each code, and the past for the next pass."""

    logits: Tensor
    past: Past


class Layer(nn.Module):
    """Gated residual convolution of width 2: x + W tanh(a) sigmoid(b), [a, b] of norm(x), dropout on the gate."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.RMSNorm(width)
        self.gate = nn.Linear(2 * width, 2 * width)
        self.output = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        # a layer starts as the identity
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map (batch, frames, width) to the same shape, and the past for the frames that follow."""
        now = self.norm(x)
        batch, frames, width = x.shape
        before = now.new_zeros(batch, self.dilation, width) if past is None else past
        read = torch.cat([before, now], 1)
        filtered, gate = self.gate(torch.cat([read[:, :frames], now], -1)).chunk(2, -1)
        added = self.output(filtered.tanh() * gate.sigmoid())
        return x + self.dropout(added), read[:, frames:]


class CodeConvolutions(nn.Module):
    """Distribution of each code given those before it and a speaker.

    Parameters
    ----------
    codebook_size : int
        Number of different codes.
    speakers : int
        Rows of the speaker table.
    width : int
        Channels.
    dilations : sequence of int
        Dilation of each layer, at most `MAX_DILATION`.
    dropout : float
        In training, share of embedded codes and of each layer's residual that is dropped.

    Attributes
    ----------
    start : int
        Stands for the code before the first.
    receptive_field : int
        Preceding codes that a distribution depends on.
    """

    def __init__(
        self,
        codebook_size: int,
        speakers: int,
        *,
        width: int,
        dilations: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not dilations or not 1 <= min(dilations) <= max(dilations) <= MAX_DILATION:
            raise ValueError(
                f"dilations {list(dilations)}: at least one, each from 1 to {MAX_DILATION}"
            )
        self.start = codebook_size
        self.receptive_field = 1 + sum(dilations)
        self.embedding = nn.Embedding(codebook_size + 1, width)
        self.speaker = nn.Embedding(speakers, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(width, dilation, dropout) for dilation in dilations)
        self.norm = nn.RMSNorm(width)
        self.output = nn.Linear(width, codebook_size)
        nn.init.normal_(self.embedding.weight, std=0.5)
        nn.init.normal_(self.speaker.weight, std=0.02)
        nn.init.normal_(self.output.weight, std=0.5 * width**-0.5)

    def forward(self, previous: Tensor, speaker: Tensor, past: Past = ()) -> Predicted:
        """Predict a stretch of codes.

        Parameters
        ----------
        previous : Tensor
            int64, (batch, frames): the code before each, `start` before the first of a sequence.
        speaker : Tensor
            int64, (batch,): row in the table.
        past : Past
            From the pass over the stretch before this one.

        Returns
        -------
        Predicted
            Logits, and the past for the next pass.
        """
        x = self.dropout(self.embedding(previous)) + self.speaker(speaker)[:, None]
        read = []
        for number, layer in enumerate(self.layers):
            x, kept = layer(x, past[number] if past else None)
            read.append(kept)
        return Predicted(self.output(self.norm(x)), read)
