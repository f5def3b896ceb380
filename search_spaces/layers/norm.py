"""Normalisations over the channels of each pixel, written out: FLOPs are counted for PyTorch's own alone."""

import torch
from torch import Tensor, nn

LEAST_NORM = 1e-12


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel of (N, C, H, W), then a learned scale and shift."""

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
        scale, shift = (parameter[:, None, None] for parameter in (self.weight, self.bias))
        return centred * (variance + self.eps).rsqrt() * scale + shift


def l2_normalise(x: Tensor, dim: int) -> Tensor:
    """Vectors along a dimension divided by their length; zero ones stay zero, in half precision too."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / norm.clamp_min(max(LEAST_NORM, torch.finfo(x.dtype).tiny))
