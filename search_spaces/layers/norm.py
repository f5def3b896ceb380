"""Normalisations over the channels of each pixel, written out: their operators count no FLOPs."""

import torch
from torch import Tensor, nn

LEAST_NORM = 1e-12


class ChannelLayerNorm(nn.Module):
    """Brings the channels of each pixel of (N, C, H, W) to mean 0 and variance 1.

    The variance is the biased one; `weight` and `bias` scale and shift what comes out.

    `F.layer_norm` would be counted at 5 an element; the networks that have this one write it out
    too.
    """

    def __init__(self, channels: int, *, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
        # Divided as the released networks do: a product with rsqrt rounds otherwise.
        normal = centred / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * normal + self.bias[:, None, None]


def l2_normalise(x: Tensor, dim: int = 1) -> Tensor:
    """Return vectors along a dimension over their length; zero vectors stay zero."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / norm.clamp_min(
        max(LEAST_NORM, torch.finfo(x.dtype).tiny)
    )  # 1e-12 is 0 in half precision
