"""Time jitter of the latents (Chorowski et al. 2019, section III-B): a regulariser for training."""

import torch
from torch import Tensor


def jitter(z_q: Tensor, probability: float) -> Tensor:
    """Replace frames by one of their neighbours.

    Each frame is replaced with `probability`, by its left or its right neighbour, equally likely; at an edge the
    missing neighbour is the frame itself.

    Parameters
    ----------
    z_q : Tensor
        (batch, dim, frames).
    probability : float
        Probability that a frame is replaced, in [0, 1].

    Returns
    -------
    Tensor
        (batch, dim, frames).
    """
    if probability == 0:
        return z_q
    batch, dim, frames = z_q.shape
    draw = torch.rand(batch, frames, device=z_q.device)
    shift = (draw < probability / 2).long() - (draw > 1 - probability / 2).long()
    source = (torch.arange(frames, device=z_q.device) + shift).clamp(0, frames - 1)
    return z_q.gather(2, source[:, None].expand(batch, dim, frames))
