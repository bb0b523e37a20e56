"""WaveNet: the distribution of each sample's level given the levels before it and a condition per frame.

Tensors are time-major here, (batch, time, channels): a dilated convolution of width 2 is then one matrix product on
(past, current), the skip path one product over the gates of all layers, and the condition is projected at the frame
rate, for all layers at once (architecture: van den Oord et al. 2016).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

TAPS = 3
"""Levels around one period ago that a WaveNet with pitch taps takes."""

SHORTEST_LAG = 2
"""Samples of the shortest period: its newest tap is the newest level."""


class _Gate(torch.autograd.Function):
    """tanh(a) * sigmoid(b) of pre-activations plus a condition that is constant over a frame.

    The hand-written backward saves a third of the memory traffic of automatic differentiation: of the size of the
    pre-activations it keeps only tanh and sigmoid.
    """

    @staticmethod
    def forward(ctx: Any, pre: Tensor, condition: Tensor) -> Tensor:
        batch, frames, width = condition.shape
        active = pre.view(batch, frames, -1, width) + condition[:, :, None]
        active = active.view(batch, -1, width)
        filtered, gate = active.chunk(2, -1)
        filtered.tanh_()
        gate.sigmoid_()
        ctx.save_for_backward(active)
        ctx.frames = frames
        return filtered * gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        (active,) = ctx.saved_tensors
        filtered, gate = active.chunk(2, -1)
        grad_pre = torch.empty_like(active)
        grad_filter, grad_gate = grad_pre.chunk(2, -1)
        through_gate = grad * gate
        # d tanh = 1 - tanh^2 and d sigmoid = s (1 - s), both times the other factor
        torch.mul(through_gate, filtered, out=grad_gate)
        torch.addcmul(through_gate, grad_gate, filtered, value=-1, out=grad_filter)
        grad_gate.addcmul_(grad_gate, gate, value=-1)
        batch, _, width = active.shape
        return grad_pre, grad_pre.view(batch, ctx.frames, -1, width).sum(2)


def _gate(pre: Tensor, condition: Tensor) -> Tensor:
    """`_Gate` in plain operations where a compiler fuses them, forward and backward."""
    if not torch.compiler.is_compiling():
        return _Gate.apply(pre, condition)
    batch, frames, width = condition.shape
    active = pre.view(batch, frames, -1, width) + condition[:, :, None]
    filtered, gate = active.view(batch, -1, width).chunk(2, -1)
    return filtered.tanh() * gate.sigmoid()


class WaveNet(nn.Module):
    """Autoregressive model of levels, conditioned on vectors that are constant over a frame.

    x starts as an embedding of the newest level. Per layer, with past input x[t - dilation] and current input x[t]:
    pre = [x[t-d], x[t]] W + condition; gate = tanh(pre_1) * sigmoid(pre_2); x <- x + gate R + r. After the last layer,
    the concatenated gates give the skip sum, followed by relu, linear, relu, linear.

    Parameters
    ----------
    levels : int
        Number of classes of a sample, in and out.
    dilations : sequence of int
        Dilation of each layer.
    residual_channels : int
        Channels of x.
    gate_channels : int
        Channels of the pre-activation, both halves together.
    skip_channels : int
        Channels of the skip sum and of the layer after it.
    condition_channels : int
        Channels of the condition.
    pitch_taps : bool
        Whether x also has the levels one pitch period ago, as long-term prediction in CELP does.

    Attributes
    ----------
    receptive_field : int
        Levels, the newest included, that a distribution depends on; with pitch taps a period and one level more.
    taps : Parameter or None
        (3, levels + 1, residual_channels), initially zero: embeddings of the levels at t - T - 1, t - T and t - T + 1,
        for lag T; the last row stands for a sample before the first, and for all of an unvoiced frame.
    silence : int
        Level that stands for the one before the first.
    """

    def __init__(
        self,
        levels: int,
        dilations: Sequence[int],
        residual_channels: int,
        gate_channels: int,
        skip_channels: int,
        condition_channels: int,
        *,
        pitch_taps: bool = False,
    ) -> None:
        super().__init__()
        if min(dilations, default=0) < 1:
            raise ValueError(f"dilations {dilations}: at least one, and 1 is the smallest")
        if gate_channels < 2 or gate_channels % 2:
            raise ValueError(f"gate_channels {gate_channels}: two halves of one size are needed")
        layers, half = len(dilations), gate_channels // 2
        self.levels, self.dilations = levels, tuple(dilations)
        self.receptive_field = 1 + sum(dilations)
        self.silence = levels // 2
        self.embedding = nn.Embedding(levels, residual_channels)
        self.condition = nn.Linear(condition_channels, layers * gate_channels)
        self.gate_weight = nn.Parameter(torch.empty(layers, 2 * residual_channels, gate_channels))
        # the residual output of the last layer feeds nothing
        self.residual_weight = nn.Parameter(torch.empty(layers - 1, half, residual_channels))
        self.residual_bias = nn.Parameter(torch.zeros(layers - 1, residual_channels))
        self.skip = nn.Linear(layers * half, skip_channels)
        self.hidden = nn.Linear(skip_channels, skip_channels)
        self.output = nn.Linear(skip_channels, levels)
        nn.init.normal_(self.gate_weight, std=(2 * residual_channels) ** -0.5)
        nn.init.normal_(self.residual_weight, std=0.5 * half**-0.5)
        taps = torch.zeros(TAPS, levels + 1, residual_channels) if pitch_taps else None
        self.taps = None if taps is None else nn.Parameter(taps)

        if not self.embedding.weight.is_meta:
            self._start_smooth()

    @torch.no_grad()
    def _start_smooth(self) -> None:
        # levels lie on a line: neighbours start with similar embeddings
        levels, channels = self.embedding.weight.shape
        position = torch.linspace(-math.pi, math.pi, levels)[:, None]
        frequency, phase = 3 * torch.randn(channels), 2 * math.pi * torch.rand(channels)
        self.embedding.weight.copy_(0.7 * torch.sin(position * frequency + phase))

    def previous(self, levels: Tensor) -> Tensor:
        """Shift levels (batch, time) right by one, silence first: the input of `forward` that predicts them."""
        return F.pad(levels[:, :-1], (1, 0), value=self.silence)

    def project(self, condition: Tensor) -> Tensor:
        """Project a condition for all layers: (batch, frames, channels) -> (batch, frames, layers, gate_channels)."""
        return self.condition(condition).unflatten(-1, (len(self.dilations), -1))

    def embed(self, previous: Tensor, lag: Tensor | None = None) -> Tensor:
        """Input of the first layer, (batch, time, residual_channels); arguments and errors as for `forward`."""
        self.check_lag(lag)
        x = self.embedding(previous)
        if self.taps is None or lag is None:
            return x
        time = previous.shape[1]
        lag = lag[:, :, None].expand(-1, -1, time // lag.shape[1]).flatten(1)
        # previous[s] is the level of sample s - 1; previous[0] of no sample
        oldest = torch.arange(time, device=lag.device) - lag
        for tap, table in enumerate(self.taps):
            place = oldest + tap
            there = (lag >= SHORTEST_LAG) & (place > 0)
            level = previous.gather(1, torch.where(there, place, 0))
            x = x + F.embedding(torch.where(there, level, self.levels), table)
        return x

    def check_lag(self, lag: Tensor | None) -> None:
        """Raise `ValueError` for a lag without pitch taps, or pitch taps without a lag."""
        if (self.taps is None) != (lag is None):
            has = "no pitch taps" if self.taps is None else "pitch taps"
            raise ValueError(f"a WaveNet with {has} was given {'no' if lag is None else 'a'} lag")

    def forward(
        self,
        previous: Tensor,
        condition: Tensor,
        kept: Tensor | None = None,
        lag: Tensor | None = None,
    ) -> Tensor:
        """Logits of all samples at once, or of some of them.

        Parameters
        ----------
        previous : Tensor
            int64, (batch, time): the level before each sample.
        condition : Tensor
            (batch, frames, condition_channels); `time` is a multiple of `frames`.
        kept : Tensor, optional
            int64, (samples,): those whose logits are computed, all by default; for the others the layers after the skip
            sum, half of the arithmetic, are skipped.
        lag : Tensor, optional
            int64, (batch, frames): samples per pitch period in each frame; below `SHORTEST_LAG` it counts as unvoiced.
            Required with pitch taps, refused without.

        Returns
        -------
        Tensor
            (batch, time, levels), or with as many samples as are kept: logits of sample t, from levels before t and the
            conditions.

        Raises
        ------
        ValueError
            For a lag without pitch taps, or pitch taps without a lag.
        """
        time = previous.shape[1]
        conditions = self.project(condition)
        x = self.embed(previous, lag)
        gates = []
        for layer, dilation in enumerate(self.dilations):
            past = F.pad(x, (0, 0, min(dilation, time), 0))[:, :time]
            pre = torch.cat([past, x], -1) @ self.gate_weight[layer]
            gate = _gate(pre, conditions[:, :, layer].to(pre.dtype))
            gates.append(gate if kept is None else gate.index_select(1, kept))
            if layer < len(self.dilations) - 1:
                bias = self.residual_bias[layer]
                x = x + torch.addmm(bias, gate.flatten(0, 1), self.residual_weight[layer]).view_as(
                    x
                )
        skip = self.skip(torch.cat(gates, -1))
        return self.output(F.relu(self.hidden(F.relu(skip))))

    def windows(
        self,
        previous: Tensor,
        condition: Tensor,
        hop: int,
        samples: int,
        lag: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Logits of `forward`, in windows that bound the memory, with the receptive field as overlap.

        Parameters
        ----------
        previous : Tensor
            int64, (batch, time): the level before each sample.
        condition : Tensor
            (batch, frames, condition_channels); `time` is at most ``hop * frames``.
        hop : int
            Samples per condition frame.
        samples : int
            Approximate window length: whole frames, at least one.
        lag : Tensor, optional
            int64, (batch, frames), as for `forward`.

        Yields
        ------
        Tensor
            (batch, part of the time, levels), in order.
        """
        time = previous.shape[1]
        frames = -(-time // hop)
        padded = F.pad(previous, (0, frames * hop - time), value=self.silence)
        longest = 0 if lag is None or not lag.numel() else int(lag.max()) + 1
        lead = -(-(self.receptive_field + longest) // hop)
        window = max(1, samples // hop)
        for start in range(0, frames, window):
            first, last = max(0, start - lead), min(start + window, frames)
            logits = self(
                padded[:, first * hop : last * hop],
                condition[:, first:last],
                lag=None if lag is None else lag[:, first:last],
            )
            yield logits[:, (start - first) * hop : min(last * hop, time) - first * hop]
