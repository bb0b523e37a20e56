"""One step of a WaveNet in plain torch, captured as a CUDA graph and replayed: the CUDA engine's mode ``graph``."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vqspeech.nn.wavenet import WaveNet
from vqspeech.sampling.engine import BLOCK_SAMPLES, Sampling
from vqspeech.sampling.reference import add_taps, choose


class Block(NamedTuple):
    """Consecutive steps of streams.

    Attributes
    ----------
    begin, length : int
        First step and number of steps.
    hop : int
        Samples per condition frame.
    condition : Tensor
        (streams, frames, layers, gate_channels), projected, from the frame of the first step on.
    lag : Tensor or None
        int64, (streams, frames), for a WaveNet with pitch taps.
    """

    begin: int
    length: int
    hop: int
    condition: Tensor
    lag: Tensor | None = None


class Graph:
    """The step in plain torch on fixed buffers, captured once and replayed; without a GPU it is not captured.

    `streams` advance together; dropping later ones saves nothing. `longest` is the longest pitch period in samples, see
    `vqspeech.sampling.engine.longest_lag`.
    """

    def __init__(
        self, wavenet: WaveNet, streams: int, sampling: Sampling, longest: int = 0
    ) -> None:
        self.wavenet, self.sampling = wavenet, sampling
        weight = wavenet.gate_weight
        layers, inputs, gates = weight.shape
        self.past_weight, self.now_weight = weight.chunk(2, 1)
        self.dilations = torch.tensor(wavenet.dilations, device=weight.device)
        self.starts = self.dilations.cumsum(0) - self.dilations
        self.time = self.dilations.new_zeros(1)
        self.column = self.dilations.new_zeros(1)
        self.past = weight.new_zeros(sum(wavenet.dilations), streams, inputs // 2)
        self.condition = weight.new_zeros(layers, streams, gates)
        self.gates = weight.new_zeros(streams, wavenet.skip.in_features)
        self.level = self.dilations.new_zeros(streams)
        self.history = self.dilations.new_zeros(longest + 1, streams)
        self.lag = self.dilations.new_zeros(streams)
        self.uniforms = weight.new_zeros(BLOCK_SAMPLES, streams)
        self.levels = self.dilations.new_zeros(BLOCK_SAMPLES, streams)
        self.logits = weight.new_zeros(streams, wavenet.levels)
        self.replay = self._step if weight.device.type == "cpu" else self._captured()
        self.past.zero_()
        self.time.zero_()
        self.level.fill_(wavenet.silence)

    def draw(self, block: Block, uniforms: Tensor) -> Tensor:
        """Levels, int64, (streams, length), on the device, drawn at uniform numbers (streams, length)."""
        self.uniforms[: block.length, : len(uniforms)] = uniforms.T
        self.column.zero_()
        for time in range(block.begin, block.begin + block.length):
            self._frame(block, time)
            self.replay()
        return self.levels[: block.length, : len(uniforms)].T.clone()

    def force(self, block: Block, previous: Tensor) -> Tensor:
        """Logits, (streams, length, levels), on the device, given the levels before each sample."""
        found = self.logits.new_empty(*previous.shape, self.wavenet.levels)
        self.column.zero_()
        for step in range(block.length):
            self._frame(block, block.begin + step)
            self.level.copy_(previous[:, step])
            self.replay()
            found[:, step] = self.logits
        return found

    def _frame(self, block: Block, time: int) -> None:
        """At the first sample of a frame, copy its condition into the buffer."""
        if time == block.begin or time % block.hop == 0:
            frame = block.condition[:, time // block.hop - block.begin // block.hop]
            self.condition[:, : len(frame)] = frame.transpose(0, 1)
            if block.lag is not None:
                lag = block.lag[:, time // block.hop - block.begin // block.hop]
                self.lag[: len(lag)] = lag

    def _step(self) -> None:
        net = self.wavenet
        x = F.embedding(self.level, net.embedding.weight)
        if net.taps is not None:
            self.history.index_copy_(0, self.time % len(self.history), self.level[None])
            x = add_taps(net, x, self.history, self.time, self.lag)
        slots = self.starts + self.time % self.dilations
        # all past taps at once: none depends on this step
        past = self.past.index_select(0, slots)
        pre = torch.baddbmm(self.condition, past, self.past_weight)
        inputs = []
        for layer, gate in enumerate(self.gates.chunk(len(pre), 1)):
            inputs.append(x)
            pre[layer].addmm_(x, self.now_weight[layer])
            filtered, opened = pre[layer].chunk(2, 1)
            torch.mul(filtered.tanh_(), opened.sigmoid_(), out=gate)
            if layer < len(pre) - 1:
                x = torch.addmm(net.residual_bias[layer], gate, net.residual_weight[layer]).add_(x)
        self.past.index_copy_(0, slots, torch.stack(inputs))
        hidden = F.relu(net.hidden(F.relu(net.skip(self.gates))))
        self.logits.copy_(net.output(hidden))
        uniform = self.uniforms.index_select(0, self.column)[0]
        temperature, top_p = self.sampling.effective_temperature, self.sampling.top_p
        self.level.copy_(choose(self.logits, uniform, temperature, top_p))
        self.levels.index_copy_(0, self.column, self.level[None])
        self.time += 1
        self.column += 1

    def _captured(self) -> Callable[[], None]:
        """Capture the step, after a first run in which libraries initialise themselves."""
        device = self.past.device
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            self._step()
        torch.cuda.current_stream(device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            self._step()
        return graph.replay
