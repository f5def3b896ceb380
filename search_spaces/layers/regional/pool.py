"""Pooling to a grid whose size follows from the image's, traceable for images of any size."""

import torch
from torch import Tensor


def grid_max_pool(x: Tensor, rows: int, columns: int) -> Tensor:
    """What F.adaptive_max_pool2d gives, (N, C, rows, columns): a trace of that keeps the size of
    its grid.
    """
    return _pool_axis(_pool_axis(x, 2, rows), 3, columns)


def _pool_axis(x: Tensor, dim: int, parts: int) -> Tensor:
    """Maxima of the ranges floor(i L / parts) ..

    Ceil((i + 1) L / parts) - 1 of an axis of L pixels.

    All ranges are read as long as the longest, their last pixel again where they are shorter.
    """
    length = x.shape[dim]
    i = torch.arange(parts, device=x.device)
    first, last = i * length // parts, ((i + 1) * length - 1) // parts
    longest = (length - 1) // parts + 2
    pixels = (first[:, None] + torch.arange(longest, device=x.device)).minimum(last[:, None])
    ranges = x.index_select(dim, pixels.flatten())
    return torch.unflatten(ranges, dim, (parts, longest)).amax(dim + 1)
