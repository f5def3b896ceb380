"""Channels that attend to channels, over the pixels of windows, and the gated layers after them."""

import torch
from torch import Tensor, nn

from search_spaces.layers.conv import depthwise_conv, pointwise_conv
from search_spaces.layers.feed_forward import GatedFeedForward
from search_spaces.layers.norm import ChannelLayerNorm, l2_normalise
from search_spaces.layers.regional.windows import merge_windows, split_windows


class ChannelAttention(nn.Module):
    """C1(S v) in windows, S = softmax(tau unit(q) unit(v)^T), (C, C), of the window's pixels.

    No biases.

    [q, v] = DW3(a) b with [a, b] = C1(x), over the whole image. Overlaps of windows are averaged.
    While it trains, the whole image is one window, as patches are small; in evaluation an image of
    a batch gets what it gets by itself.

    Args:
        window: pixels of a window's side; smaller images are one window.

    Source: DAN, NTIRE 2025 Efficient SR; the windows from Chu et al. (TLC), ECCV 2022.
    """

    def __init__(self, channels: int, *, window: int) -> None:
        super().__init__()
        self.project_in = pointwise_conv(channels, 4 * channels, bias=False)
        self.depthwise = depthwise_conv(2 * channels, kernel=3, bias=False)
        self.project_out = pointwise_conv(channels, channels, bias=False)
        self.temperature = nn.Parameter(torch.ones(1, 1))
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.project_in(x).chunk(2, 1)
        qv = self.depthwise(a) * b

        # Patches are small, and so one window.
        if self.training:
            attended = self._attend_channels(qv)
        else:
            height, width = x.shape[2:]
            windows = self._attend_channels(split_windows(qv, self.window))
            attended = merge_windows(windows, height, width, self.window)

        out: Tensor = self.project_out(attended)
        return out

    def _attend_channels(self, qv: Tensor) -> Tensor:
        """(..., 2 C, h, w) -> (..., C, h, w)."""
        q, v = qv.flatten(-2).chunk(2, -2)
        # Cosines between channels, over the pixels of a window: the map is C x C at any window
        # size.
        scores = l2_normalise(q, -1) @ l2_normalise(v, -1).mT
        attended = (scores * self.temperature).softmax(-1) @ v
        return torch.unflatten(
            attended, -1, qv.shape[-2:]
        )  # no reshape: a trace would keep its sizes


class ChannelTransformer(nn.Module):
    """h = x + attention(norm(x)), then h + feed_forward(norm(h)); (N, C, H, W) keeps its shape."""

    def __init__(self, channels: int, *, expansion: int, window: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (ChannelLayerNorm(channels, eps=1e-5) for _ in range(2))
        self.attention = ChannelAttention(channels, window=window)
        self.feed_forward = GatedFeedForward(channels, expansion=expansion)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.feed_forward(self.norm2(x))
        return out
