"""Chains of 3x3 convolutions with an attention at their end: the blocks of TSSR, DISP and ERRN2."""

import itertools

from torch import Tensor, nn

from search_spaces.layers.activation import activate, check_activation
from search_spaces.layers.attention.choice import make_attention
from search_spaces.layers.check import check_number
from search_spaces.layers.conv import ConvFactory


class ResidualChain(nn.Module):
    """Any number of 3x3 convolutions with activations between, f, then attend(x, f).

    TSSR and DISP: four, silu after the last one too, no attention (x + f). RepB of ERRN2: four,
    leaky_relu_0.1, parameter_free. Three without a last activation are a `spab`, and refused here.

    Source: TSSR and ERRN2's RepB, NTIRE 2025 and 2026 Efficient SR.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        num_convs: int,
        activation: str,
        activate_last: bool,
        attention: str,
        bias: bool,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()
        check_number("residual_chain.num_convs", num_convs, such_as=4)
        if num_convs == 1 and not activate_last:
            raise ValueError(
                "residual_chain of 1 convolution without a last activation never activates; use "
                "activate_last: true, or num_convs: 2"
            )

        # One function, one spec: what spab computes is written as a spab.
        if num_convs == 3 and not activate_last:
            raise ValueError(
                "residual_chain of 3 convolutions without a last activation computes what spab "
                "does; use that"
            )

        widths = [in_channels, *[channels] * num_convs]
        self.convs = nn.ModuleList(
            make_conv(a, b, kernel=3, bias=bias) for a, b in itertools.pairwise(widths)
        )

        self.attention = make_attention(attention, channels)

        # attend(x, f) adds the input, which must be as wide as the features.
        self.shortcut = (
            nn.Identity()
            if in_channels == channels
            else nn.Conv2d(in_channels, channels, 1, bias=False)
        )
        self.activation, self.activate_last = check_activation(activation), activate_last

    @property
    def gated(self) -> nn.Module:
        """The convolution whose output the attention weighs."""
        return self.convs[-1]

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for i, conv in enumerate(self.convs, start=1):
            features = conv(features)
            # TSSR and DISP activate what they add; ERRN2 gates it.
            if i < len(self.convs) or self.activate_last:
                features = activate(self.activation, features)
        out: Tensor = self.attention(self.shortcut(x), features)
        return out
