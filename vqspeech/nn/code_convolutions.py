"""Dilated causal convolutions over codes: the distribution of each code of a sequence given those before it.

Tensors are time-major, (batch, frames, channels), as in the WaveNet. One pass serves a batch of training segments, a
part of a long sequence and a single step: what its layers need of the frames before is handed in and handed out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

MAX_DILATION = 65_536
"""Longest reach back of a layer, which is what a cache must hold; a file cannot ask for more."""

Past = Sequence[Tensor]
"""For each layer, (batch, dilation, width): what it read last; nothing at the start of a sequence."""


class Predicted(NamedTuple):
    """What a pass gives.

    Attributes
    ----------
    logits : Tensor
        (batch, frames, codebook_size): of each code, from those before it.
    past : Past
        What the pass over the frames that follow needs.
    """

    logits: Tensor
    past: Past


class Layer(nn.Module):
    """A gated convolution of width 2 that is added to what it reads: x + W tanh(a) sigmoid(b), [a, b] of norm(x).

    Parameters
    ----------
    width : int
        Channels.
    dilation : int
        Frames between the two that the convolution reads.
    dropout : float
        Share of the channels of the addition that is left out in training.
    """

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.RMSNorm(width)
        self.gate = nn.Linear(2 * width, 2 * width)
        self.output = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        # a layer starts as nothing
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Pass on (batch, frames, width), and what the frames after these need."""
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
        Rows of the table of speakers.
    width : int
        Channels.
    dilations : sequence of int
        Dilation of each layer, at most `MAX_DILATION`.
    dropout : float
        Share that is left out in training, of embedded codes and of what each layer adds.

    Attributes
    ----------
    start : int
        What stands for the code before the first.
    receptive_field : int
        Codes before it that a distribution depends on.
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
            What the pass over the stretch before this one gave.

        Returns
        -------
        Predicted
            Logits, and what the next pass needs.
        """
        x = self.dropout(self.embedding(previous)) + self.speaker(speaker)[:, None]
        read = []
        for number, layer in enumerate(self.layers):
            x, kept = layer(x, past[number] if past else None)
            read.append(kept)
        return Predicted(self.output(self.norm(x)), read)
