"""Encoding: what a recording is encoded to, in blocks of bounded memory, each with the context that its frames need."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqspeech.errors import VqspeechError
from vqspeech.nn.encoder import Encoder

BLOCK_SAMPLES = 320_000
"""Samples encoded at a time; bounds the memory that a long recording takes."""


class Encoding(NamedTuple):
    """What a recording is encoded to, on the CPU.

    Attributes
    ----------
    conditioning : Tensor
        Codes, int64, (frames,), or, of a model without codes, latents, float32, (dim, frames).
    divergence : Tensor
        float32, (frames,): KL divergence of the posterior of each frame from its prior, in nats; infinite without a
        bottleneck, log K of a vector quantizer.
    """

    conditioning: Tensor
    divergence: Tensor


@torch.inference_mode()
def in_blocks(
    encoder: Encoder, blocks: Iterable[Tensor | np.ndarray], *views: Callable[[Tensor], Tensor]
) -> Iterator[list[Tensor]]:
    """Encode a recording that arrives in pieces; what comes out does not depend on the pieces.

    Parameters
    ----------
    encoder : Encoder
        In evaluation mode.
    blocks : iterable of Tensor or ndarray
        Pieces of any length, float, (samples,) or (batch, samples), in order.
    *views : callable
        What is kept of the encoder's output ``z_e``, float32, (batch, dim, frames): (batch, ..., frames) each.

    Yields
    ------
    list of Tensor
        What each view makes of the frames that follow, on the CPU, without the batch where `blocks` have none.

    Raises
    ------
    VqspeechError
        There is no sample at all, or one that is not finite.
    """
    hop, device = encoder.hop, encoder.output.weight.device
    before, after = (-(-context // hop) for context in encoder.context)
    block = max(1, BLOCK_SAMPLES // hop)

    def read(wav: Tensor, start: int, stop: int | None) -> list[Tensor]:
        z_e = encoder(wav.reshape(-1, wav.shape[-1]).to(device))
        found = [view(z_e).cpu() for view in views]
        return [of.reshape(*wav.shape[:-1], *of.shape[1:])[..., start:stop] for of in found]

    # `held` starts `lead` frames before the first frame that is not yet encoded
    held, lead, started = torch.zeros(0), 0, False
    for piece in blocks:
        new = torch.as_tensor(piece, dtype=torch.float32).cpu()
        if not torch.isfinite(new).all():
            raise VqspeechError("the recording holds samples that are not finite numbers")
        held = torch.cat([held.expand(*new.shape[:-1], -1), new], -1)
        while held.shape[-1] >= (lead + block + after) * hop:
            yield read(held[..., : (lead + block + after) * hop], lead, lead + block)
            kept = min(before, lead + block)
            held = held[..., (lead + block - kept) * hop :]
            lead, started = kept, True
    if held.shape[-1] > lead * hop:
        yield read(held, lead, None)
    elif not started:
        raise VqspeechError("the recording has no samples")
