"""Convolutions in their inference form, and the protocol of what makes other forms."""

from typing import Protocol

from torch import nn


class ConvFactory(Protocol):
    """Makes a dense convolution that keeps height and width, in its plain or its training form."""

    def __call__(
        self, in_channels: int, channels: int, *, kernel: int, bias: bool
    ) -> nn.Module: ...


def plain_conv(in_channels: int, channels: int, *, kernel: int, bias: bool) -> nn.Conv2d:
    """Return the inference form: one convolution with zero padding."""
    return nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=bias)


def depthwise_conv(channels: int, *, kernel: int, bias: bool) -> nn.Conv2d:
    """Return a convolution with one kernel a channel, zero padding."""
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=bias)


def pointwise_conv(in_channels: int, channels: int, *, bias: bool) -> nn.Conv2d:
    """Return a 1x1 convolution."""
    return nn.Conv2d(in_channels, channels, 1, bias=bias)
