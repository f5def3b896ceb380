"""A gate of regions instead of pixels."""

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.conv import pointwise_conv
from search_spaces.layers.norm import l2_normalise
from search_spaces.layers.regional.variance import VarianceGuide


class Variance(nn.Module):
    """(x + f) * g, g of regions of 8x8 pixels: C1(w) resized to nearest, w guided by variance.

    w is a `VarianceGuide` of C1(f / |f|), which has half the channels, at least one. Only its first
    convolution runs on all pixels; the last has biases, so that a gate can be open everywhere.

    Source: what VSCINet (NTIRE 2026 Efficient SR) multiplies features with, in the place of SPAN's
    gate.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Half the channels, as published.
        inner = max(1, channels // 2)
        self.reduce = pointwise_conv(channels, inner, bias=False)
        self.guide = VarianceGuide(inner, weighed=False)
        self.expand = pointwise_conv(inner, channels, bias=True)

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        # All but the first convolution runs on regions, 64 times fewer than pixels.
        regions = self.expand(self.guide(self.reduce(l2_normalise(f, 1))))
        gated: Tensor = (x + f) * F.interpolate(regions, size=f.shape[2:], mode="nearest")
        return gated
