"""The gated feed-forward layer of attention blocks."""

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.conv import depthwise_conv, pointwise_conv


class GatedFeedForward(nn.Module):
    """C1(GELU(a) b) with [a, b] = DW3(C1(x)), each of `expansion` times the channels; no biases.

    Source: Zamir et al., Restormer, CVPR 2022.
    """

    def __init__(self, channels: int, *, expansion: int) -> None:
        super().__init__()
        self.project_in = pointwise_conv(channels, 2 * expansion * channels, bias=False)
        self.depthwise = depthwise_conv(2 * expansion * channels, kernel=3, bias=False)
        self.project_out = pointwise_conv(expansion * channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.depthwise(self.project_in(x)).chunk(2, 1)
        out: Tensor = self.project_out(F.gelu(a) * b)
        return out
