"""How a map lies in memory, for kernels that see (N, C, P): rows and columns of pixels as one axis."""

from typing import NamedTuple

from torch import Tensor


class Map(NamedTuple):
    """A map and its strides, in elements, by image, channel and pixel. The tensor keeps the memory alive."""

    tensor: Tensor
    image: int
    channel: int
    pixel: int

    @property
    def planes(self) -> bool:
        """Whether neighbouring pixels of a channel are neighbours in memory (NCHW)."""
        return self.pixel == 1

    @property
    def rows(self) -> bool:
        """Whether neighbouring channels of a pixel are neighbours in memory (channels_last)."""
        return self.channel == 1


def flatten(value: Tensor) -> Map:
    """View (N, C, H, W) as (N, C, H * W); NCHW, channels_last, channel slices and expanded maps as they are.

    Other maps, such as crops, are copied first.
    """
    _, _, height, width = value.shape
    image, channel, row, column = value.stride()
    if height * width == 1:
        return Map(value, image, channel, 1)
    if width == 1:
        return Map(value, image, channel, row)
    if height == 1 or row == width * column:
        return Map(value, image, channel, column)
    dense = value.contiguous()
    return Map(dense, dense.stride(0), dense.stride(1), 1)


def is_flat(value: Tensor) -> bool:
    """Whether `flatten` takes a map without a copy, so that a kernel can write through its strides."""
    return flatten(value).tensor is value
