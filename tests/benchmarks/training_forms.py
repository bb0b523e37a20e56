"""How fast the WaveNet trains, beside a plain Conv1d one of the same weights.

``python tests/benchmarks/training_forms.py`` runs forward and backward of the reference network (residual 64, gate
128, skip 256, 2 x dilation 1 ... 512) in interleaved rounds and prints medians, the ratio, and the share of what large
matrix products reach in the same run.
"""

import argparse
import statistics

import torch
from sampling import macs_per_sample, timed
from torch import Tensor
from torch.nn import functional as F

from vqspeech.nn.wavenet import WaveNet
from vqspeech.training.memory import keep_freed_memory

DILATIONS = [2**i for i in range(10)] * 2
HOP, CONDITION = 160, 128


class PlainWaveNet(torch.nn.Module):
    """The same network the usual way: channels first, a Conv1d for everything, the condition at sample rate."""

    def __init__(self, net: WaveNet) -> None:
        super().__init__()
        self.net, self.embedding = net, net.embedding
        half = net.gate_weight.shape[2] // 2
        residual = net.gate_weight.shape[1] // 2
        conditions = net.condition.weight.unflatten(0, (len(DILATIONS), -1))
        skips = net.skip.weight.split(half, 1)
        p = torch.nn.Parameter
        self.gate = torch.nn.ParameterList(
            p(torch.stack([w[:residual].T, w[residual:].T], 2).contiguous())
            for w in net.gate_weight.data
        )
        self.condition = torch.nn.ParameterList(p(w[:, :, None].clone()) for w in conditions.data)
        self.condition_bias = torch.nn.ParameterList(
            p(b.clone()) for b in net.condition.bias.data.view(len(DILATIONS), -1)
        )
        self.residual = torch.nn.ParameterList(
            p(w.T[:, :, None].contiguous()) for w in net.residual_weight.data
        )
        self.residual_bias = torch.nn.ParameterList(p(b.clone()) for b in net.residual_bias.data)
        self.skip = torch.nn.ParameterList(p(w.data[:, :, None].clone()) for w in skips)

    def forward(self, previous: Tensor, condition: Tensor) -> Tensor:
        """Logits (batch, time, levels), as `WaveNet.forward`."""
        x = self.embedding(previous).transpose(1, 2)
        c = condition.transpose(1, 2).repeat_interleave(previous.shape[1] // condition.shape[1], 2)
        skip = self.net.skip.bias[None, :, None]
        for layer, dilation in enumerate(DILATIONS):
            pre = F.conv1d(F.pad(x, (dilation, 0)), self.gate[layer], dilation=dilation)
            pre = pre + F.conv1d(c, self.condition[layer], self.condition_bias[layer])
            filtered, gate = pre.chunk(2, 1)
            gated = torch.tanh(filtered) * torch.sigmoid(gate)
            skip = skip + F.conv1d(gated, self.skip[layer])
            if layer < len(DILATIONS) - 1:
                x = x + F.conv1d(gated, self.residual[layer], self.residual_bias[layer])
        hidden = F.conv1d(F.relu(skip), self.net.hidden.weight[:, :, None], self.net.hidden.bias)
        out = F.conv1d(F.relu(hidden), self.net.output.weight[:, :, None], self.net.output.bias)
        return out.transpose(1, 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--samples", type=int, default=5120)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    fast = WaveNet(256, DILATIONS, 64, 128, 256, CONDITION)
    plain = PlainWaveNet(fast)
    levels = torch.randint(256, (args.batch, args.samples))
    condition = torch.randn(args.batch, args.samples // HOP, CONDITION)
    matrix = torch.randn(1024, 1024)

    def step(net: torch.nn.Module) -> Tensor:
        net.zero_grad()
        logits = net(fast.previous(levels), condition)
        loss = F.cross_entropy(logits.flatten(0, 1), levels.flatten())
        loss.backward()
        return loss.detach()

    difference = float(abs(step(fast) - step(plain)))
    amount = args.batch * args.samples
    rates: dict[str, list[float]] = {"fast": [], "plain": [], "peak": []}
    for _ in range(args.rounds):
        rates["plain"].append(timed(lambda: step(plain), amount))
        rates["fast"].append(timed(lambda: step(fast), amount))
        rates["peak"].append(timed(lambda: [matrix @ matrix for _ in range(20)], 20 * 1024**3))
    median = {name: statistics.median(values) for name, values in rates.items()}
    # backward costs twice the forward pass
    useful = 3 * macs_per_sample(fast)
    print(
        f"batch {args.batch} x {args.samples} samples, {args.threads} threads, {args.rounds} rounds"
    )
    print(f"losses differ by {difference:.1e}")
    print(f"matrix products reach {median['peak'] / 1e9:.1f} G multiply-adds/s")
    for name in ("plain", "fast"):
        share = median[name] * useful / median["peak"]
        print(f"{name:>6}: {median[name]:8.0f} samples/s, {share:.0%} of that peak")
    ratios = [a / b for a, b in zip(rates["fast"], rates["plain"], strict=True)]
    print(f"fast / plain: median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
