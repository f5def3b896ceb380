"""SPAB, the block of SPAN, SPANF and (with learned attention) SPANV2."""

from torch import Tensor, nn

from search_spaces.layers.activation import activate, check_activation
from search_spaces.layers.attention.choice import make_attention
from search_spaces.layers.conv import ConvFactory


class SPAB(nn.Module):
    """Three 3x3 convolutions f = C3(act(C3(act(C3(x))))), then attend(x, f).

    SPAN's block: silu, parameter_free, biases. SPABV2: relu, conv1x1, no biases. Where the block
    changes the width, a 1x1 convolution without bias brings its input to it.

    Source: Wan et al., SPAN, CVPRW 2024; SPANV2, NTIRE 2026 Efficient SR.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        activation: str,
        attention: str,
        bias: bool,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()
        self.conv1 = make_conv(in_channels, channels, kernel=3, bias=bias)
        self.conv2 = make_conv(channels, channels, kernel=3, bias=bias)
        self.conv3 = make_conv(channels, channels, kernel=3, bias=bias)

        self.attention = make_attention(attention, channels)

        # attend(x, f) adds the input, which must be as wide as the features.
        self.shortcut = (
            nn.Identity()
            if in_channels == channels
            else nn.Conv2d(in_channels, channels, 1, bias=False)
        )
        self.activation = check_activation(activation)

    @property
    def gated(self) -> nn.Module:
        """The convolution whose output the attention weighs."""
        return self.conv3

    def forward_with_inner(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, channels, H, W) and the first activated convolution, alike."""
        # A tap may read it, as SPAN's head does.
        inner = activate(self.activation, self.conv1(x))
        features = self.conv3(activate(self.activation, self.conv2(inner)))
        return self.attention(self.shortcut(x), features), inner

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_inner(x)[0]


class ImageSPAB(SPAB):
    """A SPAB whose first convolution takes the image that the body sees, with a larger kernel.

    What remains of a linear stem and a SPAB after it when their convolutions are merged: the
    features x of the stem are still needed for attend(x, f), f comes from the image.

    Source: DSCF_Fused (VARH-AI), NTIRE 2026 Efficient SR.
    """

    reads = frozenset({"image"})

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        kernel: int,
        activation: str,
        attention: str,
        bias: bool,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__(
            in_channels, channels=channels, activation=activation, attention=attention, bias=bias,
            make_conv=make_conv,
        )  # fmt: skip
        self.conv1 = make_conv(3, channels, kernel=kernel, bias=bias)

    def sample_context(self, x: Tensor) -> dict[str, Tensor]:
        """Return what it reads, in the shapes that fit x, to count it by itself."""
        return {"image": x.new_empty(x.shape[0], 3, *x.shape[2:])}

    def forward_with_inner(  # type: ignore[override]
        self, x: Tensor, context: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        # f comes from the image, x from the stem: both meet in the attention.
        inner = activate(self.activation, self.conv1(context["image"]))
        features = self.conv3(activate(self.activation, self.conv2(inner)))
        return self.attention(self.shortcut(x), features), inner

    def forward(self, x: Tensor, context: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return self.forward_with_inner(x, context)[0]
