"""ACB, the block of ZenoSR and DAN, and its local part, which also stands at their end."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.check import check_multiple, check_number, check_same_width
from search_spaces.layers.conv import ConvFactory, depthwise_conv, pointwise_conv
from search_spaces.layers.regional.channel_attention import ChannelTransformer
from search_spaces.layers.regional.variance import VarianceAttention

NUM_STEPS = 3


class LocalDistillation(nn.Module):
    """Three separable residual steps, from each of which a half is distilled, all joined by a 1x1.

    r_i = GELU(DW3(C1(r_(i-1))) + r_(i-1)) with r_0 = x; d_i = GELU(C1(r_(i-1))) for i = 1, 2, 3 and
    d_4 = GELU(G3(r_3)), G3 a 3x3 that makes each of its outputs of two inputs; out = C1([d_1, ...,
    d_4]). All with biases; (N, C, H, W) keeps its shape.

    Source: DAN, NTIRE 2025, and ZenoSR, NTIRE 2026 Efficient SR.
    """

    def __init__(self, in_channels: int, *, channels: int, make_conv: ConvFactory) -> None:
        super().__init__()
        check_same_width("local_distillation", in_channels, channels)
        check_multiple("local_distillation.channels", channels, 2, "it is split")
        half = channels // 2

        self.distil = nn.ModuleList(
            pointwise_conv(channels, half, bias=True) for _ in range(NUM_STEPS)
        )
        self.remain = nn.ModuleList(
            nn.Sequential(
                pointwise_conv(channels, channels, bias=True),
                depthwise_conv(channels, kernel=3, bias=True),
            )
            for _ in range(NUM_STEPS)
        )

        # Groups of two inputs each: the released 3x3 is grouped, and cheaper by that.
        self.last = nn.Conv2d(channels, half, 3, padding=1, groups=half)
        self.join = pointwise_conv((NUM_STEPS + 1) * half, channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        distilled = []
        for distil, remain in zip(self.distil, self.remain, strict=True):
            # Before each step a half of the features is set aside.
            distilled.append(F.gelu(distil(x)))
            x = F.gelu(remain(x) + x)
        distilled.append(F.gelu(self.last(x)))
        out: Tensor = self.join(torch.cat(distilled, 1))
        return out


class ACB(nn.Module):
    """x + channel(spatial(local(x))): distillation, then attention by variance and of channels.

    Args:
        expansion: of the feed-forward layer; 2 is usual.
        window: pixels of a side of the windows in which channels attend, in evaluation; 72 is
            usual.

    Source: ZenoSR, NTIRE 2026, and DAN, NTIRE 2025 Efficient SR.
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
        check_same_width("acb", in_channels, channels)
        check_multiple("acb.channels", channels, 2, "it is split")
        check_number("acb.expansion", expansion, such_as=2)
        check_number("acb.window", window, such_as=72)
        self.local = LocalDistillation(channels, channels=channels, make_conv=make_conv)
        self.spatial = VarianceAttention(channels, weighed=False)
        self.channel = ChannelTransformer(channels, expansion=expansion, window=window)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.channel(self.spatial(self.local(x))) + x
        return out
