"""The reference engine: cached, plain torch, any device. Others are checked against it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from vqspeech.nn.wavenet import SHORTEST_LAG, WaveNet
from vqspeech.sampling.engine import BLOCK_SAMPLES, Sampling, Stream, longest_lag

MODES: tuple[str, ...] = ("fp32",)
"""Arithmetic: that of the weights."""
DEVICE: str | None = None
"""Type of the devices a model must be on: any."""


def unavailable_reason(device: torch.device) -> str | None:
    """Nothing: it runs wherever the model is."""
    return None


class Cache:
    """State of streams that advance together: each layer keeps the past inputs that its dilation needs.

    `longest` is the longest pitch period in samples, see `longest_lag`: as many past levels are kept.
    """

    def __init__(self, wavenet: WaveNet, streams: int, longest: int = 0) -> None:
        self.wavenet = wavenet
        channels = wavenet.embedding.embedding_dim
        weight = wavenet.gate_weight
        self.past = [weight.new_zeros(d, streams, channels) for d in wavenet.dilations]
        self.levels = torch.zeros(longest + 1, streams, dtype=torch.int64, device=weight.device)
        self.gates = weight.new_empty(streams, wavenet.skip.in_features)
        self.slices = self.gates.chunk(len(wavenet.dilations), 1)
        self.past_weights = weight[:, :channels].contiguous().unbind()
        self.now_weights = weight[:, channels:].contiguous().unbind()
        self.residuals = list(
            zip(wavenet.residual_bias.unbind(), wavenet.residual_weight.unbind(), strict=True)
        )
        self.time = 0

    def keep(self, streams: int) -> None:
        """Drop all streams but the first `streams`."""
        self.past = [past[:, :streams].contiguous() for past in self.past]
        self.levels = self.levels[:, :streams].contiguous()
        self.gates = self.gates[:streams].contiguous()
        self.slices = self.gates.chunk(len(self.past), 1)

    def step(self, previous: Tensor, conditions: list[Tensor], lag: Tensor | None = None) -> Tensor:
        """Advance by one sample and return its logits, (streams, levels).

        `previous`, (streams,), is the level before it, `conditions` has (streams, gate_channels) for each layer, `lag`,
        (streams,), is needed with pitch taps.
        """
        net = self.wavenet
        x = F.embedding(previous, net.embedding.weight)
        if lag is not None:
            self.levels[self.time % len(self.levels)] = previous
            x = add_taps(net, x, self.levels, self.time, lag)
        last = len(self.past) - 1
        for layer, ring in enumerate(self.past):
            slot = ring[self.time % len(ring)]
            pre = torch.addmm(conditions[layer], slot, self.past_weights[layer])
            pre.addmm_(x, self.now_weights[layer])
            slot.copy_(x)
            filtered, gate = pre.chunk(2, 1)
            torch.mul(filtered.tanh_(), gate.sigmoid_(), out=self.slices[layer])
            if layer < last:
                bias, weight = self.residuals[layer]
                x = torch.addmm(bias, self.slices[layer], weight).add_(x)
        self.time += 1
        hidden = F.relu(net.hidden(F.relu(net.skip(self.gates))))
        return net.output(hidden)


def add_taps(
    wavenet: WaveNet, x: Tensor, levels: Tensor, time: int | Tensor, lag: Tensor
) -> Tensor:
    """Add to x, (streams, channels), the embeddings of the levels one pitch period ago; see `WaveNet.embed`.

    `levels`, int64 (slots, streams), is a ring with the level before sample s in slot ``s % slots``, up to this sample,
    and one slot more than the longest lag within the past. `time` is that of this sample, an int or (1,). Without pitch
    taps x is returned unchanged.
    """
    for tap, table in enumerate(() if wavenet.taps is None else wavenet.taps):
        place = time - lag + tap
        there = (lag >= SHORTEST_LAG) & (place > 0)
        level = levels.gather(0, torch.where(there, place % len(levels), 0)[None])[0]
        x = x + F.embedding(torch.where(there, level, wavenet.levels), table)
    return x


def choose(logits: Tensor, uniform: Tensor, temperature: float, top_p: float = 1.0) -> Tensor:
    """Invert the cumulative distribution of logits (streams, levels) at uniform numbers (streams,): int64 (streams,).

    `temperature` divides the logits; 0 takes the most likely level. Only levels of the `nucleus` of `top_p` are drawn.
    """
    if temperature == 0:
        return logits.argmax(1)
    probability = torch.softmax(logits / temperature, 1)
    if top_p < 1:
        probability = torch.where(nucleus(probability, top_p), probability, 0)
    cumulative = probability.cumsum(1)
    # the last cumulative value can be below 1 by rounding, and is so when levels are left out
    return (cumulative[:, :-1] <= uniform[:, None] * cumulative[:, -1:]).sum(1)


def nucleus(probability: Tensor, top_p: float) -> Tensor:
    """Mark the smallest set of levels with probability `top_p`, the most likely first: bool (streams, levels).

    Ties go to the lower level; the level with which the sum reaches `top_p` is included.
    """
    ranked, order = probability.sort(dim=1, descending=True, stable=True)
    likelier = F.pad(ranked.cumsum(1)[:, :-1], (1, 0))
    return torch.zeros_like(probability, dtype=torch.bool).scatter(1, order, likelier < top_p)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one CPU thread: the products of a step are too small to share between cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Lockstep:
    """Streams that advance together, longest first, so that finished ones leave at the end of the batch."""

    def __init__(
        self, wavenet: WaveNet, streams: Sequence[Stream], hop: int, sampling: Sampling
    ) -> None:
        self.wavenet, self.streams, self.hop, self.sampling = wavenet, streams, hop, sampling
        self.lengths = [len(stream.uniforms) for stream in streams]
        longest = max(longest_lag(s.lag, len(s.uniforms)) for s in streams)
        self.cache = Cache(wavenet, len(streams), longest)
        device = wavenet.gate_weight.device
        self.previous = torch.full((len(streams),), wavenet.silence, device=device)

    def advance(self, samples: int) -> list[Tensor]:
        """Draw up to `samples` levels: int64 on the CPU, for each stream that was not finished before."""
        device = self.previous.device
        start = self.cache.time
        stop = min(start + samples, self.lengths[0])
        begun = [stream for stream in self.streams if len(stream.uniforms) > start]
        numbers = pad_sequence([stream.uniforms[start:stop] for stream in begun]).to(device)
        # projected block by block: the projection of a long recording would take gigabytes
        first, last = start // self.hop, -(-stop // self.hop)
        frames = pad_sequence([stream.condition[first:last] for stream in begun])
        projected = self.wavenet.project(frames).transpose(1, 2).contiguous()
        lags = [stream.lag[first:last] for stream in begun if stream.lag is not None]
        lag = pad_sequence(lags) if lags else None
        drawn = torch.zeros(stop - start, len(begun), dtype=torch.int64, device=device)
        layers: list[Tensor] = []
        for time in range(start, stop):
            active = len(self.previous)
            while self.lengths[active - 1] <= time:
                active -= 1
            if active < len(self.previous):
                self.cache.keep(active)
                self.previous = self.previous[:active]
                layers = [layer[:active] for layer in layers]
            if not layers or time % self.hop == 0:
                layers = list(projected[time // self.hop - first, :, :active].unbind())
            periods = None if lag is None else lag[time // self.hop - first, :active]
            logits = self.cache.step(self.previous, layers, periods)
            self.previous = choose(
                logits,
                numbers[time - start, :active],
                self.sampling.effective_temperature,
                self.sampling.top_p,
            )
            drawn[time - start, :active] = self.previous
        ends = [len(stream.uniforms) - start for stream in begun]
        return [row[:end].clone() for row, end in zip(drawn.T.cpu(), ends, strict=True)]


@torch.inference_mode()
def draw(
    wavenet: WaveNet, streams: Sequence[Stream], hop: int, sampling: Sampling
) -> Iterator[list[Tensor]]:
    """Draw streams in lockstep, a block at a time, on one thread; see `vqspeech.sampling.engine.Engine.draw`."""
    order = sorted(range(len(streams)), key=lambda i: -len(streams[i].uniforms))
    lockstep = Lockstep(wavenet, [streams[i] for i in order], hop, sampling)
    nothing = torch.empty(0, dtype=torch.int64)
    while lockstep.cache.time < lockstep.lengths[0]:
        # not around the yield: the caller's own work keeps its threads
        with one_thread():
            drawn = lockstep.advance(BLOCK_SAMPLES)
        blocks = [nothing] * len(streams)
        for position, block in zip(order, drawn, strict=False):
            blocks[position] = block
        yield blocks


@torch.inference_mode()
def logits(
    wavenet: WaveNet,
    condition: Tensor,
    hop: int,
    previous: Tensor,
    mode: str,
    lag: Tensor | None = None,
) -> Tensor:
    """Logits from cached steps, those that `draw` takes; see `vqspeech.sampling.engine.Engine.logits`."""
    cache = Cache(wavenet, 1, longest_lag(lag, len(previous)))
    previous = previous.to(condition.device)
    found = torch.empty(len(previous), wavenet.levels)
    with one_thread():
        projected = wavenet.project(condition)
        for time in range(len(previous)):
            layers = list(projected[time // hop, :, None].unbind())
            period = None if lag is None else lag[time // hop][None]
            found[time] = cache.step(previous[time : time + 1], layers, period)[0]
    return found
