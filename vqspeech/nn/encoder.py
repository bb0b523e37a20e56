"""The encoder: strided convolutions from raw waveform to one feature vector a frame.

Frame ``i`` is anchored on samples ``[i * hop, (i + 1) * hop)``; every layer pads so that a waveform of
``n * hop`` samples gives exactly ``n`` frames. There is no normalisation over time or batch, only over the
channels of a frame: a frame depends on nothing outside its receptive field, so a long recording can be encoded
in blocks.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class DilatedResidualBlock(nn.Module):
    """A convolution of width 3, its taps `dilation` frames apart, and a pointwise one, added to their input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilated = nn.Conv1d(channels, channels, 3, dilation=dilation, padding=dilation)
        self.pointwise = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, frames) to the same shape."""
        return x + self.pointwise(F.relu(self.dilated(F.relu(x))))


class Encoder(nn.Module):
    """Strided convolutions on raw waveform followed by dilated residual blocks.

    A layer of stride ``s`` has a window of ``2 s`` samples: with six strides of 2 these are the six windows of 4 in van
    den Oord et al. 2017, section 4.3.

    Parameters
    ----------
    strides : sequence of int
        Stride of each convolution; their product is the hop.
    channels : sequence of int
        Output channels of each strided convolution, as many as there are strides.
    dilations : sequence of int
        Dilation of each residual block at the frame rate; may be empty.
    dim : int
        Channels of the output, the dimension of ``z_e``.

    Attributes
    ----------
    hop : int
        Samples per frame.
    receptive_field : int
        Samples that one frame depends on.
    context : tuple of int
        Of these, samples before and after the frame's own span.
    """

    def __init__(
        self, strides: Sequence[int], channels: Sequence[int], dilations: Sequence[int], dim: int
    ) -> None:
        super().__init__()
        if len(strides) != len(channels) or not strides:
            raise ValueError(
                f"as many channels as strides are needed, got {len(channels)} and {len(strides)}"
            )
        if min(*strides, *dilations, 1) < 1:
            raise ValueError(f"strides {strides} and dilations {dilations}: 1 is the smallest")
        self.hop = math.prod(strides)
        self.strides = tuple(strides)
        convolutions = [
            nn.Conv1d(before, after, 2 * stride, stride=stride)
            for before, after, stride in zip([1, *channels[:-1]], channels, strides, strict=True)
        ]
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        self.strided = nn.ModuleList(convolutions)
        self.blocks = nn.ModuleList(DilatedResidualBlock(channels[-1], d) for d in dilations)
        # keeps the scale of the latents constant from the first step on, so that a codebook can follow
        self.norm = nn.LayerNorm(channels[-1])
        self.output = nn.Conv1d(channels[-1], dim, 1)

        before, field, jump = 0, 1, 1
        for stride in strides:
            before += (stride // 2) * jump
            field += (2 * stride - 1) * jump
            jump *= stride
        before += sum(dilations) * jump
        field += 2 * sum(dilations) * jump
        self.receptive_field = field
        self.context = (before, field - before - self.hop)

    def forward(self, wav: Tensor) -> Tensor:
        """Encode waveforms.

        Parameters
        ----------
        wav : Tensor
            float32, (batch, samples); `samples` is zero-padded to a multiple of the hop.

        Returns
        -------
        Tensor
            ``z_e``, (batch, dim, ceil(samples / hop)).
        """
        x = F.pad(wav, (0, -wav.shape[-1] % self.hop))[:, None]
        for stride, layer in zip(self.strides, self.strided, strict=True):
            x = F.relu(layer(F.pad(x, (stride // 2, stride - stride // 2))))
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x.transpose(1, 2)).transpose(1, 2))
