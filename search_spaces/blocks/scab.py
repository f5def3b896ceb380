"""SCAB, the block of VSCINet, and its multi-scale convolution, which also stands at its end."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.check import check_multiple, check_number, check_same_width
from search_spaces.layers.conv import ConvFactory, pointwise_conv
from search_spaces.layers.regional.channel_attention import ChannelTransformer
from search_spaces.layers.regional.variance import VarianceAttention

NUM_BRANCHES = 4


class InceptionDepthwise(nn.Module):
    """Depthwise convolutions of four shapes on a quarter of the channels each, without biases.

    In the order of the channels: 3x3; 5 high and 3 wide; 3 high and 5 wide; 3x3 twice.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // NUM_BRANCHES
        self.branches = nn.ModuleList(
            [
                _make_depthwise(quarter, 3, 3),
                _make_depthwise(quarter, 5, 3),
                _make_depthwise(quarter, 3, 5),
                nn.Sequential(_make_depthwise(quarter, 3, 3), _make_depthwise(quarter, 3, 3)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        # A quarter of the channels each: together as cheap as one depthwise convolution.
        parts = x.chunk(NUM_BRANCHES, 1)
        return torch.cat(
            [branch(part) for branch, part in zip(self.branches, parts, strict=True)], 1
        )


class MultiScaleConv(nn.Module):
    """A 1x1 convolution and depthwise ones of four shapes, without biases.

    (N, C, H, W) keeps its shape.

    Source: MSConv of VSCINet, NTIRE 2026 Efficient SR; the shapes after Yu et al., InceptionNeXt,
    CVPR 2024.
    """

    def __init__(self, in_channels: int, *, channels: int, make_conv: ConvFactory) -> None:
        super().__init__()
        check_same_width("multi_scale_conv", in_channels, channels)
        check_multiple("multi_scale_conv.channels", channels, NUM_BRANCHES, "it is split")
        self.pointwise = pointwise_conv(channels, channels, bias=False)
        self.depthwise = InceptionDepthwise(channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.depthwise(self.pointwise(x))
        return out


class SCAB(nn.Module):
    """Distillation over multi-scale convolutions, variance-guided attention, attention of channels.

    With R_i(t) = GELU(M_i(t) + t), M_i a `MultiScaleConv`: r_1 = R_1(x), r_2 = R_2(r_1), t =
    C1([GELU(C1(x)), GELU(C1(r_1)), GELU(G3(r_2))]) of three halves, G3 a 3x3 that makes each of its
    outputs of two inputs, all of these with biases; out = channel(spatial(R_3(t))) + x.

    Args:
        expansion: of the feed-forward layer; 2 is usual.
        window: pixels of a side of the windows in which channels attend, in evaluation; 72 is
            usual.

    Source: VSCINet, NTIRE 2026 Efficient SR.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        expansion: int,
        window: int,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()
        check_same_width("scab", in_channels, channels)
        check_multiple("scab.channels", channels, NUM_BRANCHES, "it is split")
        check_number("scab.expansion", expansion, such_as=2)
        check_number("scab.window", window, such_as=72)

        # Three halves are distilled: of the input, and after each of two refinements.
        half = channels // 2
        self.distil = nn.ModuleList(pointwise_conv(channels, half, bias=True) for _ in range(2))
        self.refine = nn.ModuleList(
            MultiScaleConv(channels, channels=channels, make_conv=make_conv) for _ in range(3)
        )
        self.last = nn.Conv2d(channels, half, 3, padding=1, groups=half)
        self.join = pointwise_conv(3 * half, channels, bias=True)

        self.spatial = VarianceAttention(channels, weighed=True)
        self.channel = ChannelTransformer(channels, expansion=expansion, window=window)

    def forward(self, x: Tensor) -> Tensor:
        refine1, refine2, refine3 = self.refine
        distilled, r = [], x
        for distil, refine in zip(self.distil, (refine1, refine2), strict=True):
            # Before each refinement a half of the features is set aside.
            distilled.append(F.gelu(distil(r)))
            r = F.gelu(refine(r) + r)

        distilled.append(F.gelu(self.last(r)))

        # The third refinement is over the joined features.
        t = self.join(torch.cat(distilled, 1))
        out: Tensor = self.channel(self.spatial(F.gelu(refine3(t) + t))) + x
        return out


def _make_depthwise(channels: int, height: int, width: int) -> nn.Conv2d:
    """Return a depthwise convolution of some kernel height and width, without bias."""
    return nn.Conv2d(
        channels,
        channels,
        (height, width),
        padding=(height // 2, width // 2),
        groups=channels,
        bias=False,
    )
