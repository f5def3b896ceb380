"""HAESR's convolutional layer: a 3x3 neighbourhood beside long strips."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.conv import depthwise_conv, pointwise_conv

SHUFFLE_GROUPS = 4


class LargeKernel(nn.Module):
    """PLK: a quarter of the channels, gated by their means, sees long strips in both directions.

    The quarter is the first after a shuffle that puts channel 4*j + g at g*C/4 + j: every fourth
    channel. GELU(C1) joins it with the rest.

    Args:
        kernel: length of the strips.
    """

    def __init__(self, channels: int, *, kernel: int) -> None:
        super().__init__()
        quarter = channels // SHUFFLE_GROUPS
        self.horizontal = nn.Conv2d(
            quarter, quarter, (1, kernel), padding=(0, kernel // 2), groups=quarter
        )
        self.vertical = nn.Conv2d(
            quarter, quarter, (kernel, 1), padding=(kernel // 2, 0), groups=quarter
        )
        self.join = pointwise_conv(channels, channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        num, channels, height, width = x.shape
        # Every fourth channel comes first, so the quarter is taken from all groups of the features.
        shuffled = x.reshape(num, -1, SHUFFLE_GROUPS, height, width).transpose(1, 2).flatten(1, 2)
        seen, rest = shuffled.tensor_split([channels // SHUFFLE_GROUPS], 1)

        # Two strips see what one kernel x kernel convolution would see, at a fraction of its cost.
        seen = seen * torch.sigmoid(F.adaptive_avg_pool2d(seen, 1))
        seen = self.vertical(self.horizontal(seen))
        return F.gelu(self.join(torch.cat([seen, rest], 1)))


class LocalFeatures(nn.Module):
    """LF: GELU(C1([DW3(x), PLK(x)])), with biases; `kernel` is PLK's."""

    def __init__(self, channels: int, *, kernel: int) -> None:
        super().__init__()
        self.near = depthwise_conv(channels, kernel=3, bias=True)
        self.far = LargeKernel(channels, kernel=kernel)
        self.join = pointwise_conv(2 * channels, channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.join(torch.cat([self.near(x), self.far(x)], 1)))
