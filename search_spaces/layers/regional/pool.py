"""Pooling to a grid whose size follows from the image's, traceable for images of any size."""

import torch
from torch import Tensor


def grid_max_pool(x: Tensor, rows: int, columns: int) -> Tensor:
    """Return maxima in a grid, (N, C, rows, columns), as F.adaptive_max_pool2d does.

    A trace of that would keep the size of its grid.
    """
    return _pool_axis(_pool_axis(x, 2, rows), 3, columns)


def _pool_axis(x: Tensor, dim: int, parts: int) -> Tensor:
    """Return maxima of the ranges floor(i L / parts) .. ceil((i + 1) L / parts) - 1 of L pixels.

    All ranges are read as long as the longest, their last pixel again where they are shorter.
    """
    length = x.shape[dim]
    i = torch.arange(parts, device=x.device)
    first, last = i * length // parts, ((i + 1) * length - 1) // parts
    longest = (length - 1) // parts + 2
    # A range that is shorter than the longest repeats its last pixel: the maximum is the same.
    pixels = (first[:, None] + torch.arange(longest, device=x.device)).minimum(last[:, None])
    ranges = x.index_select(dim, pixels.flatten())
    return torch.unflatten(ranges, dim, (parts, longest)).amax(dim + 1)
