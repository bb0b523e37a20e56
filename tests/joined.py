"""Blocks of several streams, joined: what tests compare that do not ask how streams arrive."""

from typing import Any

import torch
from torch import Tensor

from vqspeech.sampling import draw


def sample(*streams: Any, **rest: Any) -> list[Tensor]:
    """Draw streams of levels whole; arguments are those of `draw`."""
    rows = list(draw(*streams, **rest))
    return [
        torch.cat([torch.empty(0, dtype=torch.int64), *(row[place] for row in rows)])
        for place in range(len(streams[3]))
    ]
