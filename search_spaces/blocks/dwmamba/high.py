"""The fine content of a wavelet block: its three maps of edges as one narrow one, refined."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.conv import ConvFactory, depthwise_conv, pointwise_conv
from search_spaces.layers.scale import ChannelScale


class SelectiveFusion(nn.Module):
    """Maps of one shape (N, C, H, W), summed with weights a channel that are made of all of them.

    The weights are a softmax across the maps of one 1x1 convolution each, over a narrow vector (an
    eighth of the channels, at least 4) made of the mean of the maps' sum.

    Source: SKFF of Zamir et al., MIRNet, ECCV 2020.
    """

    def __init__(self, channels: int, *, num_maps: int) -> None:
        super().__init__()
        narrow = max(channels // 8, 4)
        self.squeeze = pointwise_conv(channels, narrow, bias=False)
        self.activation = nn.PReLU()
        self.weigh = nn.ModuleList(
            pointwise_conv(narrow, channels, bias=False) for _ in range(num_maps)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        total = torch.stack(list(maps)).sum(0)
        narrow = self.activation(self.squeeze(total.mean((2, 3), keepdim=True)))

        # The maps compete channel by channel: their weights add up to one.
        weights = torch.stack([weigh(narrow) for weigh in self.weigh]).softmax(0)
        return torch.stack([w * m for w, m in zip(weights, maps, strict=True)]).sum(0)


class HighBranch(nn.Module):
    """Adds a small convolution of fine features to them, (N, C, H, W), weighed by channel.

    y = C1(gelu(DW3(x))), times a squeeze-and-excitation to a quarter of the channels; x + scale *
    y, with the scale at 0.1 in the beginning.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = depthwise_conv(channels, kernel=3, bias=True)
        self.pointwise = pointwise_conv(channels, channels, bias=True)
        self.squeeze = nn.Linear(channels, channels // 4, bias=False)
        self.excite = nn.Linear(channels // 4, channels, bias=False)
        self.scale = ChannelScale(channels, start=0.1)

    def forward(self, x: Tensor) -> Tensor:
        # Squeeze and excitation: one weight a channel, from the channel means.
        y = self.pointwise(F.gelu(self.depthwise(x)))
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3))))))
        out: Tensor = self.scale(y * weights[:, :, None, None]) + x
        return out


class CrossFusion(nn.Module):
    """Fine features (N, fine, H, W) as the coarse ones (N, C, H, W) of the same place change them.

    g = C1(coarse); fine * sigmoid(g) + C3([fine, g]).
    """

    def __init__(self, channels: int, fine: int, *, make_conv: ConvFactory) -> None:
        super().__init__()
        self.narrow = pointwise_conv(channels, fine, bias=True)
        self.fuse = make_conv(2 * fine, fine, kernel=3, bias=True)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        g = self.narrow(coarse)
        out: Tensor = fine * torch.sigmoid(g) + self.fuse(torch.cat([fine, g], 1))
        return out
