"""Attention of channels to channels: within windows, and within phases of the windows."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.blocks.haesr.tokens import WINDOW
from search_spaces.layers.conv import depthwise_conv, pointwise_conv
from search_spaces.layers.feed_forward import GatedFeedForward
from search_spaces.layers.norm import ChannelLayerNorm

EPS = 1e-6


class ChannelAttention(nn.Module):
    """C1(softmax(q k^T * tau) v) in sets of pixels, with q and k of length 1 along the pixels.

    No biases.

    q, k and v are the thirds of DW3(C1(x)); tau is one learned number. H and W are multiples of 8.

    Args:
        phases: a set is one place of all windows; else it is one window of 8x8 pixels.

    Source: Zamir et al., Restormer, CVPR 2022, there over the whole image.
    """

    def __init__(self, channels: int, *, phases: bool) -> None:
        super().__init__()
        self.qkv = pointwise_conv(channels, 3 * channels, bias=False)
        self.depthwise = depthwise_conv(3 * channels, kernel=3, bias=False)
        self.temperature = nn.Parameter(torch.ones(1, 1, 1))
        self.project = pointwise_conv(channels, channels, bias=False)
        self.phases = phases

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._split_sets(self.depthwise(self.qkv(x))).chunk(3, 1)
        # Unit length along the pixels: the products are cosines, tau their sharpness.
        q, k = F.normalize(q, dim=2), F.normalize(k, dim=2)
        mixed = (self.temperature * (q @ k.mT)).softmax(2) @ v
        out: Tensor = self.project(self._join_sets(mixed, x.shape))
        return out

    def _split_sets(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) as sets of pixels, (sets, C, pixels)."""
        num, channels, height, width = x.shape
        cut = x.reshape(num, channels, height // WINDOW, WINDOW, width // WINDOW, WINDOW)
        # A phase is one place of all windows; a window is all places of one.
        cut = cut.permute(0, 3, 5, 1, 2, 4) if self.phases else cut.permute(0, 2, 4, 1, 3, 5)
        return cut.flatten(4, 5).flatten(0, 2)

    def _join_sets(self, sets: Tensor, size: torch.Size) -> Tensor:
        """Return sets of pixels (sets, C, pixels) as (N, C, H, W)."""
        num, channels, height, width = size
        # The inverse permutation of `_split_sets`.
        outer, inner = (height // WINDOW, width // WINDOW), (WINDOW, WINDOW)
        order = (0, 3, 4, 1, 5, 2) if self.phases else (0, 3, 1, 4, 2, 5)
        first, second = (inner, outer) if self.phases else (outer, inner)
        return sets.reshape(num, *first, channels, *second).permute(order).reshape(size)


class ChannelStage(nn.Module):
    """Four residual steps: attention in windows, GFN, attention in phases, GFN, each over LN(x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ChannelLayerNorm(channels, eps=EPS) for _ in range(4))
        self.steps = nn.ModuleList(
            [
                ChannelAttention(channels, phases=False),
                GatedFeedForward(channels, expansion=1),
                ChannelAttention(channels, phases=True),
                GatedFeedForward(channels, expansion=1),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        for norm, step in zip(self.norms, self.steps, strict=True):
            # Windows see their neighbourhood, phases the whole image at one pixel in 64.
            x = x + step(norm(x))
        return x
