"""Spatial affinity of features: which positions of an image are alike."""

from torch import Tensor
from torch.nn import functional as F

from nas.losses.base import widen

FLOOR = 1e-12  # of a feature's norm, under which it has no direction


def affinity_distance(a: Tensor, b: Tensor, *, most: int) -> Tensor:
    """Return the mean absolute difference of two affinity matrices, a scalar.

    The affinity of positions p and q is the cosine between their features. A matrix has a row and a
    column for each of H x W positions, so features are averaged to at most `most` positions a side
    first.

    Args:
        a: (N, C, H, W).
        b: (N, D, H, W); its number of channels may differ.
        most: positions a side.

    Source: spatial affinity knowledge distillation, He et al., FAKD, ICIP 2020.
    """
    first, second = (_compare_positions(_shrink(x, most)) for x in (a, b))
    return (first - second).abs().mean()


def squared_affinity_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference of two affinity matrices, without making either.

    With unit columns A and B, (C, P) and (D, P): the squares of A^T A - B^T B add up to
    |A A^T|^2 - 2 |A B^T|^2 + |B B^T|^2 in Frobenius norms, whose matrices are as small as channels.

    Args:
        a, b: as of `affinity_distance`.
    """
    first, second = _unit_columns(a), _unit_columns(b)

    def square(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.mT).square().sum((1, 2))

    sums = square(first, first) - 2 * square(first, second) + square(second, second)
    return sums.mean() / first.shape[-1] ** 2


def _compare_positions(x: Tensor) -> Tensor:
    """Return the cosines between all positions, (N, H W, H W)."""
    columns = _unit_columns(x)
    return columns.mT @ columns


def _unit_columns(x: Tensor) -> Tensor:
    """Return the feature of each position over its norm, (N, C, H W)."""
    return F.normalize(widen(x).flatten(2), dim=1, eps=FLOOR)


def _shrink(x: Tensor, most: int) -> Tensor:
    """Return features averaged to at most `most` positions a side."""
    height, width = (min(side, most) for side in x.shape[-2:])
    if (height, width) == tuple(x.shape[-2:]):
        return x
    return F.adaptive_avg_pool2d(x, (height, width))
