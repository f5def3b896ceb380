"""Pooling to a grid whose size follows from the image's, traceable for images of any size."""

import torch
from torch import Tensor


def grid_max_pool(x: Tensor, rows: int, columns: int, *, longest: int | None = None) -> Tensor:
    """Return maxima in a grid, (N, C, rows, columns), as F.adaptive_max_pool2d does.

    A trace of that would keep the size of its grid.

    Args:
        longest: pixels that no range of the grid is longer than, where the caller knows such a
            number: a graph is made faster with it. None: it follows from the sizes.
    """
    return _pool_axis(_pool_axis(x, 2, rows, longest), 3, columns, longest)


def _pool_axis(x: Tensor, dim: int, parts: int, longest: int | None) -> Tensor:
    """Return maxima of the ranges floor(i L / parts) .. ceil((i + 1) L / parts) - 1 of L pixels.

    All ranges are read as long as the longest, their last pixel again where they are shorter.
    """
    length = x.shape[dim]
    i = torch.arange(parts, device=x.device)
    first, last = i * length // parts, ((i + 1) * length - 1) // parts
    longest = (length - 1) // parts + 2 if longest is None else longest
    # A range that is shorter than the longest repeats its last pixel: the maximum is the same.
    pixels = (first[:, None] + torch.arange(longest, device=x.device)).minimum(last[:, None])
    ranges = x[:, :, pixels] if dim == 2 else x[:, :, :, pixels]
    return ranges.amax(dim + 1)
