"""The gated feed-forward layer of HAESR's attention blocks."""

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.conv import depthwise_conv, pointwise_conv


class GatedFeedForward(nn.Module):
    """C1(GELU(a) * b) with the halves a and b of DW3(C1(x)), twice as wide as x; no biases.

    Source: Zamir et al., Restormer, CVPR 2022, without its wider hidden layer.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = pointwise_conv(channels, 2 * channels, bias=False)
        self.depthwise = depthwise_conv(2 * channels, kernel=3, bias=False)
        self.project = pointwise_conv(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.depthwise(self.expand(x)).chunk(2, 1)
        out: Tensor = self.project(F.gelu(a) * b)
        return out
