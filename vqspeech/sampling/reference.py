"""The reference engine: cached, plain torch, any device. Others are checked against it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from vqspeech.nn.wavenet import WaveNet


class Cache:
    """The WaveNet one sample at a time: each layer keeps the inputs its dilation still needs.

    Parameters
    ----------
    wavenet : WaveNet
        The model.
    streams : int
        Streams that advance together.
    """

    def __init__(self, wavenet: WaveNet, streams: int) -> None:
        self.wavenet = wavenet
        channels = wavenet.embedding.embedding_dim
        weight = wavenet.gate_weight
        self.past = [weight.new_zeros(d, streams, channels) for d in wavenet.dilations]
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
        self.gates = self.gates[:streams].contiguous()
        self.slices = self.gates.chunk(len(self.past), 1)

    def step(self, previous: Tensor, conditions: list[Tensor]) -> Tensor:
        """Advance by one sample.

        Parameters
        ----------
        previous : Tensor
            int64, (streams,): the level before this sample.
        conditions : list of Tensor
            For each layer, (streams, gate_channels).

        Returns
        -------
        Tensor
            Logits, (streams, levels).
        """
        net = self.wavenet
        x = F.embedding(previous, net.embedding.weight)
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


def choose(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Invert the cumulative distribution of logits (streams, levels) at uniform numbers (streams,)."""
    if temperature == 0:
        return logits.argmax(1)
    cumulative = torch.softmax(logits / temperature, 1).cumsum(1)
    # the last cumulative value can fall short of 1 by rounding
    return (cumulative[:, :-1] <= uniform[:, None] * cumulative[:, -1:]).sum(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one CPU thread: the products of a step are too small to share between cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
@torch.inference_mode()
def sample(
    wavenet: WaveNet,
    conditions: list[Tensor],
    hop: int,
    uniforms: list[Tensor],
    temperature: float,
    progress: Callable[[int], None],
) -> list[Tensor]:
    """Draw streams in lockstep, longest first, so that finished ones leave at the end of the batch.

    Parameters as in `vqspeech.sampling.sample`, with the uniform numbers that decide each stream.

    Returns
    -------
    list of Tensor
        int64, (samples,) for each stream, on the CPU, in the order given.
    """
    order = sorted(range(len(uniforms)), key=lambda i: -len(uniforms[i]))
    lengths = [len(uniforms[i]) for i in order]
    device = wavenet.gate_weight.device
    numbers = torch.nn.utils.rnn.pad_sequence([uniforms[i] for i in order]).to(device)
    frames = torch.nn.utils.rnn.pad_sequence([conditions[i].to(device) for i in order])
    projected = wavenet.project(frames.transpose(0, 1)).permute(1, 2, 0, 3).contiguous()
    drawn = torch.zeros(lengths[0], len(order), dtype=torch.int64, device=device)
    previous = torch.full((len(order),), wavenet.silence, device=device)
    active = len(order)
    cache = Cache(wavenet, active)
    layers: list[Tensor] = []
    unreported = 0
    for time in range(lengths[0]):
        alive = sum(length > time for length in lengths[:active])
        if alive < active:
            active = alive
            cache.keep(active)
            previous = previous[:active]
            layers = [layer[:active] for layer in layers]
        if time % hop == 0:
            layers = list(projected[time // hop, :, :active].unbind())
            progress(unreported)
            unreported = 0
        logits = cache.step(previous, layers)
        previous = choose(logits, numbers[time, :active], temperature)
        drawn[time, :active] = previous
        unreported += active
    progress(unreported)
    result: list[Tensor] = [torch.empty(0)] * len(order)
    for column, (position, length) in enumerate(zip(order, lengths, strict=True)):
        result[position] = drawn[:length, column].cpu()
    return result
