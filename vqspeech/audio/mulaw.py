"""µ-law companding: wavs to levels, the classes that a WaveNet predicts, and back."""

import math

import torch
from torch import Tensor


def mulaw_encode(wav: Tensor, levels: int = 256) -> Tensor:
    r"""Compress a wav to µ-law levels (ITU-T G.711 as a formula; WaveNet, arXiv:1609.03499, section 2.2).

    With :math:`\mu` = `levels` - 1 and :math:`f(x) = \mathrm{sign}(x) \ln(1+\mu|x|) / \ln(1+\mu)`,
    the level is :math:`\lfloor (f(x)+1)/2 \cdot \mu + 1/2 \rfloor`.

    Parameters
    ----------
    wav : Tensor of float, any shape
        Values in [-1, 1]; what lies outside is clipped.
    levels : int, default=256
        Number of classes.

    Returns
    -------
    Tensor of int64, same shape
        Values in [0, levels).
    """
    mu = levels - 1
    x = wav.float().clamp(-1.0, 1.0)
    compressed = x.sign() * torch.log1p(mu * x.abs()) / math.log1p(mu)
    return torch.floor((compressed + 1) / 2 * mu + 0.5).long()


def mulaw_decode(codes: Tensor, levels: int = 256) -> Tensor:
    r"""Expand µ-law levels to a wav; ``mulaw_encode(mulaw_decode(l)) == l`` for every level.

    With :math:`y = 2l/\mu - 1`, the value is :math:`\mathrm{sign}(y) ((1+\mu)^{|y|} - 1) / \mu`.

    Parameters
    ----------
    codes : Tensor of int, any shape
        Levels in [0, levels).
    levels : int, default=256
        Number of classes.

    Returns
    -------
    Tensor of float32, same shape
        Values in [-1, 1].
    """
    mu = levels - 1
    y = 2 * codes.float() / mu - 1
    return y.sign() * torch.expm1(y.abs() * math.log1p(mu)) / mu
