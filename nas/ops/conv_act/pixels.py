"""How a map lies in memory for a kernel that addresses it by pixel."""

from typing import NamedTuple

import torch
from torch import Tensor

ALIGNMENT = 16  # bytes of the widest access


class Pixels(NamedTuple):
    """A map by pixel: `offset` elements after the base, which is aligned, `pitch` from pixel to pixel."""

    base: Tensor
    pitch: int
    offset: int


def empty_map(x: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """An empty channels_last map of so many channels, of the batch, height and width of x."""
    shape = (x.shape[0], channels, x.shape[2], x.shape[3])
    return torch.empty(shape, dtype=dtype, device=x.device, memory_format=torch.channels_last)


def pixels_of(value: Tensor) -> Pixels | None:
    """See a map by pixel; None: its channels are no neighbours, or its pixels not evenly apart."""
    count, channels, height, width = value.shape
    image, channel, row, column = value.stride()
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
    """A map whose first pixel may not be aligned, from the aligned element before it."""
    astray = value.data_ptr() % ALIGNMENT
    if astray == 0:
        return Pixels(value, pitch, 0)
    offset = astray // value.element_size()
    return Pixels(value.as_strided((1,), (1,), value.storage_offset() - offset), pitch, offset)


def dense(value: Tensor) -> Pixels:
    """A channels_last copy; of one channel, or one pixel, PyTorch's own may have other strides."""
    return Pixels(value.permute(0, 2, 3, 1).contiguous(), value.shape[1], 0)
