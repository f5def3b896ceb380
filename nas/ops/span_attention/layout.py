"""Strides of a map for kernels that see (N, C, P): rows and columns of pixels as one axis."""

from typing import NamedTuple

from torch import Tensor


class Map(NamedTuple):
    """A map and its strides in elements, by image, channel and pixel.

    The tensor keeps the memory alive.
    """

    tensor: Tensor
    image: int
    channel: int
    pixel: int

    @property
    def planes(self) -> bool:
        """Return whether neighbouring pixels of a channel are side by side in memory (NCHW)."""
        return self.pixel == 1

    @property
    def rows(self) -> bool:
        """Return whether the channels of a pixel are side by side in memory (channels_last)."""
        return self.channel == 1


def flatten(value: Tensor) -> Map:
    """Return (N, C, H, W) as (N, C, H * W).

    NCHW, channels_last, slices of channels and expanded maps are viewed. Others, such as crops, are
    copied.
    """
    _, _, height, width = value.shape
    image, channel, row, column = value.stride()

    # The stride of an axis of one element says nothing: the pixels' stride is the other axis's.
    if height * width == 1:
        return Map(value, image, channel, 1)
    if width == 1:
        return Map(value, image, channel, row)
    if height == 1 or row == width * column:
        return Map(value, image, channel, column)

    # Rows are not evenly spaced, so no single stride leads from pixel to pixel.
    dense = value.contiguous()
    return Map(dense, dense.stride(0), dense.stride(1), 1)


def is_flat(value: Tensor) -> bool:
    """Return whether `flatten` views a map, so that a kernel can write through its strides."""
    return flatten(value).tensor is value
