"""A gate that is made of all pixels before one in reading order, by a selective scan."""

import torch
from torch import Tensor, nn

from search_spaces.layers.mamba import Mamba


class MambaGate(nn.Module):
    """(x + f) * (1 + G(f)), G in (-0.5, 0.5) from a Mamba that scans f row by row.

    G = sigmoid(C1(mamba(norm(C1(f))))) - 0.5 with Mamba-1 as published: 16 states, twice the
    channels, a convolution over 4 pixels, steps of rank channels / 16, rounded up. The last C1
    starts at zero, and so does G: the gate begins as the residual x + f. The released code narrows
    features of more than 64 channels to 64 for the mixer, which no published network has; here the
    mixer is as wide as they are.

    Source: MambaGate-SR (CUIT_HTT), NTIRE 2026 Efficient SR.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_proj = nn.Conv2d(channels, channels, 1)
        self.norm = nn.LayerNorm(channels)
        self.mamba = Mamba(channels)
        self.out_proj = nn.Conv2d(channels, channels, 1)

        nn.init.zeros_(self.out_proj.weight)
        assert self.out_proj.bias is not None
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        # Row by row: the scan sees each pixel's upper and left neighbours before it.
        tokens = self.in_proj(f).flatten(2).transpose(1, 2)
        mixed = self.mamba(self.norm(tokens)).transpose(1, 2).reshape(f.shape)
        gate = torch.sigmoid(self.out_proj(mixed)) - 0.5
        return (x + f) * (1 + gate)
