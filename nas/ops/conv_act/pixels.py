"""Where the pixels of a map are in memory, for a kernel that addresses it by pixel."""

from typing import NamedTuple

import torch
from torch import Tensor

ALIGNMENT = 16  # bytes of the widest access


class Pixels(NamedTuple):
    """A map by pixel: its first pixel, and the distance to the next, in elements.

    Attributes:
        base: a tensor that begins at a multiple of 16 bytes.
        pitch: elements from a pixel to the next.
        offset: elements from the base to the first pixel.
    """

    base: Tensor
    pitch: int
    offset: int


def empty_map(x: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Return an empty channels_last map of so many channels, of x's batch, height and width."""
    shape = (x.shape[0], channels, x.shape[2], x.shape[3])
    return torch.empty(shape, dtype=dtype, device=x.device, memory_format=torch.channels_last)


def pixels_of(value: Tensor) -> Pixels | None:
    """Return a map by pixel, without a copy.

    None: a pixel's channels are not side by side, or pixels are not evenly spaced.
    """
    count, channels, height, width = value.shape
    image, channel, row, column = value.stride()

    # The stride of an axis of one element says nothing; the next axis has the pitch then.
    pitch = column if width > 1 else row if height > 1 else image if count > 1 else channels
    even = (channels == 1 or channel == 1) and pitch >= channels
    even = (
        even
        and (height == 1 or row == width * pitch)
        and (count == 1 or image == height * width * pitch)
    )
    if not even:
        return None
    return aligned(value, pitch)


def aligned(value: Tensor, pitch: int) -> Pixels:
    """Return a map by pixel, counted from the aligned element at or before its first pixel."""
    astray = value.data_ptr() % ALIGNMENT
    if astray == 0:
        return Pixels(value, pitch, 0)
    offset = astray // value.element_size()
    return Pixels(value.as_strided((1,), (1,), value.storage_offset() - offset), pitch, offset)


def dense(value: Tensor) -> Pixels:
    """Return a channels_last copy of a map by pixel.

    PyTorch's own copy of one channel, or of one pixel, may have other strides.
    """
    return Pixels(value.permute(0, 2, 3, 1).contiguous(), value.shape[1], 0)
