"""Plain convolutions as blocks, and the two ways in which a convolution is held."""

from typing import Protocol

from torch import Tensor, nn

from search_spaces.blocks.activation import activate, check_activation


class ConvFactory(Protocol):
    """Makes a dense convolution that keeps height and width, in its plain or its training form."""

    def __call__(self, in_channels: int, channels: int, *, kernel: int, bias: bool) -> nn.Module: ...


def plain_conv(in_channels: int, channels: int, *, kernel: int, bias: bool) -> nn.Conv2d:
    """The inference form: one convolution, zero padding."""
    return nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=bias)


def conv(in_channels: int, *, channels: int, kernel: int, bias: bool, make_conv: ConvFactory) -> nn.Module:
    """One dense convolution, nothing after it."""
    return make_conv(in_channels, channels, kernel=kernel, bias=bias)


def depthwise(in_channels: int, *, kernel: int, bias: bool, make_conv: ConvFactory) -> nn.Module:
    """One convolution a channel; the number of channels stays."""
    return nn.Conv2d(in_channels, in_channels, kernel, padding=kernel // 2, groups=in_channels, bias=bias)


class ConvStack(nn.Module):
    """Three 3x3 convolutions with activations between, no attention and no residual.

    The first block of SPANF (nothing after the third) and of SPANV2 (activated after the third too):
    it takes the image itself, so there is nothing of its width to add.
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
        """Features (N, channels, H, W) and the first activated convolution of the same shape."""
        inner = activate(self.activation, self.conv1(x))
        out = self.conv3(activate(self.activation, self.conv2(inner)))
        return activate(self.activation, out) if self.activate_last else out, inner

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_inner(x)[0]
