"""Attention to regions of an image, by their strongest features and the variance over the whole."""

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.conv import depthwise_conv, pointwise_conv
from search_spaces.layers.norm import l2_normalise
from search_spaces.layers.regional.pool import grid_max_pool
from search_spaces.layers.regional.sizes import larger
from search_spaces.layers.scale import ChannelScale

REGION = 8  # pixels of a region's side, about: the image has H // 8 by W // 8 of them


class VarianceGuide(nn.Module):
    """A weight for each region, from its maxima and the variance over the image.

    w = GELU(C1(a DW3(maxima) + b variance)).

    (N, C, H, W) -> (N, C, H // 8, W // 8), at least one region an axis, so that any image will do
    (the released networks need 8 pixels). The variance of N pixels is the sum of squares over N -
    1.

    Args:
        weighed: a and b are learned numbers a channel, 1 and 0 at the start; else both are 1.

    Source: as `VarianceAttention`; after EASA of Zheng et al., SMFANet, ECCV 2024.
    """

    def __init__(self, channels: int, *, weighed: bool) -> None:
        super().__init__()
        self.local = depthwise_conv(channels, kernel=3, bias=False)
        self.local_scale = ChannelScale(channels) if weighed else nn.Identity()
        self.variance_scale = ChannelScale(channels, start=0.0) if weighed else nn.Identity()
        self.mix = pointwise_conv(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        # The grid follows the image, so a region keeps about 8 pixels at any size.
        rows, columns = larger(height // REGION, 1), larger(width // REGION, 1)
        local = self.local_scale(self.local(grid_max_pool(x, rows, columns)))
        out: Tensor = F.gelu(self.mix(local + self.variance_scale(_measure_variance(x))))
        return out


class VarianceAttention(nn.Module):
    """h + C1(t w): t = C1(h / |h|) has half the channels, w is the `VarianceGuide` of t, resized.

    (N, C, H, W) keeps its shape; |h| is the length of a pixel's features. No biases.

    Args:
        weighed: as of `VarianceGuide`; false in ZenoSR and DAN, true in VSCINet.

    Source: DAN, NTIRE 2025, and VSCINet (there: variance-guided contextual spatial attention),
    NTIRE 2026 Efficient SR.
    """

    def __init__(self, channels: int, *, weighed: bool) -> None:
        super().__init__()
        self.reduce = pointwise_conv(channels, channels // 2, bias=False)
        self.guide = VarianceGuide(channels // 2, weighed=weighed)
        self.expand = pointwise_conv(channels // 2, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        t = self.reduce(l2_normalise(x, 1))
        out: Tensor = (
            self.expand(t * F.interpolate(self.guide(t), size=x.shape[2:], mode="nearest")) + x
        )
        return out


def _measure_variance(x: Tensor) -> Tensor:
    """Return the unbiased variance over height and width, (N, C, 1, 1); zero of a single pixel."""
    pixels = x.shape[2] * x.shape[3]
    return x.var((2, 3), correction=0, keepdim=True) * (pixels / larger(pixels - 1, 1))
