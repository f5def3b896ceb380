"""Equal windows that cover an image of any size, and the image back from them."""

import torch
from torch import Tensor

from search_spaces.layers.regional.sizes import larger, smaller


def split_windows(x: Tensor, size: int) -> Tensor:
    """Return the windows (N, n, m, C, h, w) of an image (N, C, H, W).

    h and w are `size`, or the image's where that is less.

    is less.

    An axis of L pixels has n = ceil(L / size) windows, ceil((L - size) / (n - 1)) apart, the last
    one moved back to end with the image. There is nothing to decide on: a trace holds for images of
    any size.

    Source: Chu et al., Improving Image Restoration by Revisiting Global Information Aggregation
    (TLC), ECCV 2022.
    """
    (rows, height), (columns, width) = (
        _place_windows(length, size, x.device) for length in x.shape[2:]
    )
    rows = rows[:, None] + torch.arange(height, device=x.device)
    columns = columns[:, None] + torch.arange(width, device=x.device)
    # Columns first, then rows: two gathers instead of one large index.
    in_columns = torch.unflatten(_gather_columns(x, columns.flatten()), 3, (-1, width))
    return in_columns[:, :, rows].permute(0, 2, 4, 1, 3, 5)


def merge_windows(windows: Tensor, height: int, width: int, size: int) -> Tensor:
    """Return the image (N, C, H, W) of such windows; where they overlap, their mean.

    A pixel lies in two different windows of an axis at most: its first and its last are all there
    are.
    """
    side_by_side = windows.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
    first, last = _locate_pixels(height, size, windows.device)
    merged = (side_by_side.index_select(2, first) + side_by_side.index_select(2, last)) / 2
    first, last = _locate_pixels(width, size, windows.device)
    return (_gather_columns(merged, first) + _gather_columns(merged, last)) / 2


def _place_windows(length: int, size: int, device: torch.device) -> tuple[Tensor, int]:
    """Return the first pixels of an axis' windows, (n,), and their side."""
    side = smaller(length, size)
    steps = (length - 1) // side
    stride = (length - side + steps - 1) // larger(steps, 1)  # no -(-a // b): ONNX rounds to zero
    return (torch.arange(steps + 1, device=device) * stride).clamp(max=length - side), side


def _locate_pixels(length: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the places (L,) of an axis' pixels in the first and in the last of their windows."""
    starts, side = _place_windows(length, size, device)
    pixels = torch.arange(length, device=device)
    first = (starts[:, None] + side <= pixels).sum(0)
    last = (starts[:, None] <= pixels).sum(0) - 1
    return first * side + pixels - starts[first], last * side + pixels - starts[last]


def _gather_columns(x: Tensor, columns: Tensor) -> Tensor:
    """Return columns of (N, C, H, W); on the CPU three times as fast as by `index_select`."""
    return x.gather(3, columns.expand(*x.shape[:3], -1))
