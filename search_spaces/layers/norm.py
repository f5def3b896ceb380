"""Normalisation over channels, written out: none of it counts as FLOPs."""

import torch
from torch import Tensor, nn


class ChannelLayerNorm(nn.Module):
    """Each pixel of (N, C, H, W) to mean 0 and variance 1 (biased) over its channels, then scale and shift.

    Args:
        eps: added to the variance.
    """

    def __init__(self, channels: int, *, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        unit = centred * torch.rsqrt(centred.square().mean(1, keepdim=True) + self.eps)
        return unit * self.weight[:, None, None] + self.bias[:, None, None]
