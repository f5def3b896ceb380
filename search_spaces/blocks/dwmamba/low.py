"""The coarse half of a wavelet block: attention in windows, then a routed scan."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.blocks.dwmamba.routed_scan import RoutedScan
from search_spaces.blocks.dwmamba.window_attention import WindowAttention
from search_spaces.layers.conv import depthwise_conv


class ConvFeedForward(nn.Module):
    """Tokens through a wider layer with a depthwise 5x5 convolution: h = gelu(L t).

    L (h + gelu(DW5(h))).
    """

    def __init__(self, channels: int, *, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, hidden)
        self.depthwise = depthwise_conv(hidden, kernel=5, bias=True)
        self.project = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Return tokens of the same shape, (N, height * width, channels), row by row."""
        h = F.gelu(self.expand(tokens))
        # Tokens back to their places, so that a convolution sees neighbours.
        maps = h.transpose(1, 2).reshape(len(h), -1, height, width)
        around = F.gelu(self.depthwise(maps)).flatten(2).transpose(1, 2)
        out: Tensor = self.project(h + around)
        return out


class LowBranch(nn.Module):
    """Coarse features (N, C, H, W), changed by each other and by a map of fine features.

    On tokens t: v = attention(norm t) + t; v = feed(norm v) + v; t' = s1 t + v; w = scan(norm t') +
    t'; s2 t' + w + feed(norm w), with one s1 and one s2 a channel that start at 1e-4.
    """

    def __init__(
        self, channels: int, *, attention: WindowAttention, hidden: int, scan: RoutedScan
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(4))
        self.attention, self.scan = attention, scan
        self.feed1, self.feed2 = (ConvFeedForward(channels, hidden=hidden) for _ in range(2))
        self.scale1, self.scale2 = (nn.Parameter(torch.full((channels,), 1e-4)) for _ in range(2))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Return the features and, at the same size, the fine ones that guide the scan."""
        size = low.shape[2:]
        t = low.flatten(2).transpose(1, 2)

        # Windows first, which see near pixels; then the scan, which sees all before it.
        v = self.attention(self.norms[0](t), *size) + t
        v = self.feed1(self.norms[1](v), *size) + v

        t = t * self.scale1 + v
        w = self.scan(self.norms[2](t), high) + t
        out: Tensor = t * self.scale2 + w + self.feed2(self.norms[3](w), *size)
        return out.transpose(1, 2).reshape(low.shape)
