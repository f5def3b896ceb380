"""RFDB, the residual feature distillation block, with any attention at its end."""

import torch
from torch import Tensor, nn

from search_spaces.layers.activation import activate, check_activation
from search_spaces.layers.attention.choice import make_attention
from search_spaces.layers.check import check_same_width
from search_spaces.layers.conv import ConvFactory, pointwise_conv


class RFDB(nn.Module):
    """Three times a distilled part and a residual 3x3 convolution, a last 3x3, all joined by a 1x1.

    d_i = act(C1(r_i)), r_(i+1) = act(C3(r_i) + r_i) with r_0 = x, d_4 = act(C3(r_3)),
    f = C1([d_1, d_2, d_3, d_4]), then attend(x, f).

    Args:
        distilled: channels of each d_i; half of `channels` is usual.

    Source: Liu et al., Residual Feature Distillation Network, ECCVW 2020; with SPAN's
    parameter-free attention as RFDN_SPAN, NTIRE 2026 Efficient SR.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        distilled: int,
        activation: str,
        attention: str,
        bias: bool,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()
        check_same_width("rfdb", in_channels, channels)
        if not 1 <= distilled <= channels:
            raise ValueError(
                f"rfdb.distilled must be at least 1 and at most {channels}, got {distilled}"
            )

        # Each 1x1 distils a part of the features, and the 3x3 beside it refines the others.
        self.distil = nn.ModuleList(
            pointwise_conv(channels, distilled, bias=bias) for _ in range(3)
        )
        self.remain = nn.ModuleList(
            make_conv(channels, channels, kernel=3, bias=bias) for _ in range(3)
        )
        # The last step only distils: nothing follows that it could refine.
        self.last = make_conv(channels, distilled, kernel=3, bias=bias)
        self.join = pointwise_conv(4 * distilled, channels, bias=bias)

        self.attention = make_attention(attention, channels)
        self.activation = check_activation(activation)

    @property
    def gated(self) -> nn.Module:
        """The convolution whose output the attention weighs."""
        return self.join

    def forward(self, x: Tensor) -> Tensor:
        distilled = []
        r = x
        for distil, remain in zip(self.distil, self.remain, strict=True):
            distilled.append(activate(self.activation, distil(r)))
            # What is left after each distillation is refined with a residual.
            r = activate(self.activation, remain(r) + r)
        distilled.append(activate(self.activation, self.last(r)))
        out: Tensor = self.attention(x, self.join(torch.cat(distilled, 1)))
        return out
