"""Plain convolutions as blocks, and SPANF's first block."""

from torch import Tensor, nn

from search_spaces.layers.activation import activate, check_activation
from search_spaces.layers.conv import ConvFactory, depthwise_conv


def conv(
    in_channels: int, *, channels: int, kernel: int, bias: bool, make_conv: ConvFactory
) -> nn.Module:
    """Return one dense convolution, nothing after it."""
    return make_conv(in_channels, channels, kernel=kernel, bias=bias)


class ActivatedConv(nn.Module):
    """One dense convolution and an activation."""

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        kernel: int,
        activation: str,
        bias: bool,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()
        self.conv = make_conv(in_channels, channels, kernel=kernel, bias=bias)
        self.activation = check_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        return activate(self.activation, self.conv(x))


def identity(in_channels: int, *, make_conv: ConvFactory) -> nn.Module:
    """Return a layer that gives its input: for a fusion that only joins, or a plain residual."""
    return nn.Identity()


def depthwise(in_channels: int, *, kernel: int, bias: bool, make_conv: ConvFactory) -> nn.Module:
    """Return a convolution with one kernel a channel; the number of channels stays."""
    return depthwise_conv(in_channels, kernel=kernel, bias=bias)


class ConvStack(nn.Module):
    """Three 3x3 convolutions with activations between, no attention and no residual.

    The first block of SPANF (nothing after the third) and of SPANV2 (activated after the third
    too): it takes the image itself, so there is nothing of its width to add.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        activation: str,
        activate_last: bool,
        bias: bool,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()
        self.conv1 = make_conv(in_channels, channels, kernel=3, bias=bias)
        self.conv2 = make_conv(channels, channels, kernel=3, bias=bias)
        self.conv3 = make_conv(channels, channels, kernel=3, bias=bias)
        self.activation = check_activation(activation)
        self.activate_last = activate_last

    def forward_with_inner(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, channels, H, W) and the first activated convolution, alike."""
        # A tap may read it, as of a SPAB.
        inner = activate(self.activation, self.conv1(x))
        # SPANF leaves the third convolution as it is.
        out = self.conv3(activate(self.activation, self.conv2(inner)))
        return activate(self.activation, out) if self.activate_last else out, inner

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_inner(x)[0]
