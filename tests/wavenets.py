"""Small WaveNets with random weights of which each matters, and pitch periods of every odd kind."""

import torch
from torch import Tensor

from vqspeech.nn.wavenet import WaveNet


def make(
    dilations: list[int],
    levels: int = 20,
    channels: tuple[int, int, int] = (6, 10, 12),
    condition: int = 4,
    *,
    taps: bool = False,
    spread: float = 4.0,
    std: float = 1.0,
) -> WaveNet:
    """Return a net with channels of residual, gate and skip, always the same; `spread` makes its preferences clear."""
    torch.manual_seed(0)
    net = WaveNet(levels, dilations, *channels, condition, pitch_taps=taps).eval()
    torch.nn.init.normal_(net.residual_bias, std=std)
    if net.taps is not None:
        torch.nn.init.normal_(net.taps, std=std)
    with torch.no_grad():
        net.output.weight.mul_(spread)
    return net


def periods(frames: int, seed: int = 0, longest: int = 50) -> Tensor:
    """Return a lag for each frame: none, too short, the shortest, some, longer than any past."""
    generator = torch.Generator().manual_seed(seed)
    lag = torch.randint(2, longest, (frames,), generator=generator)
    odd = torch.tensor([0, -1, 1, 2, 2**62])[torch.randint(5, (frames,), generator=generator)]
    return torch.where(torch.rand(frames, generator=generator) < 0.5, lag, odd)
