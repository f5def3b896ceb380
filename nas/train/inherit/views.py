"""Which channels of a parent a child keeps, and how each one's features are read as the other's."""

from dataclasses import dataclass

import torch
from torch import Tensor

EXACT = 1e-5  # of the size of a feature: what rounding alone does, twenty layers deep
RIDGE = 1e-6  # of a feature's variance


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A child's features beside a parent's.

    Attributes:
        down: (kept, parent's channels): what the child's first channels are meant to be.
        up: (parent's channels, child's channels): the parent's features from the child's, as well as a linear
            map does it. Channels that the child has beyond the kept ones are not used.
    """

    down: Tensor
    up: Tensor

    @classmethod
    def between(cls, down: Tensor, theirs: Tensor, ours: Tensor) -> "View":
        """Make the view from rows of features: `theirs` (rows, parent's), `ours` (rows, child's)."""
        kept, width = down.shape
        up = torch.zeros(width, ours.shape[1])
        if kept == width and is_close(ours[:, :kept], theirs @ down.T):
            up[:, :kept] = down.T
        else:
            a = centred(ours[:, :kept])
            gram = a.T @ a
            gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-30)
            up[:, :kept] = torch.linalg.solve(gram, a.T @ centred(theirs)).T.float()
        return cls(down=down, up=up)


def is_close(found: Tensor, wanted: Tensor) -> bool:
    """Whether they differ by rounding alone."""
    return bool((found - wanted).square().mean() <= EXACT**2 * wanted.square().mean())


def centred(rows: Tensor) -> Tensor:
    """In float64, without the mean."""
    rows = rows.double()
    return rows - rows.mean(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One feature and what is made of it next.

    Attributes:
        rows: (rows, C).
        kernels: of the convolutions that read it, each (out, C, k, k).
    """

    rows: Tensor
    kernels: tuple[Tensor, ...]

    def moments(self) -> tuple[Tensor, Tensor]:
        """Covariance (C, C), and the weight of each channel's error: what is read of it, summed to one."""
        a = centred(self.rows)
        covariance = a.T @ a / len(a)
        width = covariance.shape[0]
        weight = 1e-6 * torch.eye(width, dtype=torch.float64)
        for kernel in self.kernels:
            flat = kernel.double().transpose(0, 1).flatten(1)
            gram = flat @ flat.T
            weight += gram / ((gram * covariance).sum() + 1e-30)
        return covariance, weight


def choose(uses: list[Use], keep: int) -> Tensor:
    """Choose channels, one by one: that from which most of what is read next can be computed linearly.

    With the residual covariance E of all channels after regression on the chosen ones and the weight Q of
    the errors, choosing channel c lowers the weighted error by (E Q E)_cc / E_cc.

    Args:
        uses: the features that share their channels.
        keep: how many; all where there are no more.
    Returns:
        `down` of a View: (kept, C), a one in each row, channels in their order.
    """
    left = [use.moments() for use in uses]
    width = left[0][0].shape[0]
    if keep >= width:
        return torch.eye(width)
    small = [1e-9 * covariance.diagonal().mean() + 1e-30 for covariance, _ in left]
    chosen: list[int] = []
    for _ in range(keep):
        gains = sum(
            ((e @ q @ e).diagonal() / (e.diagonal() + s))
            for (e, q), s in zip(left, small, strict=True)
        )
        assert isinstance(gains, Tensor)
        gains[chosen] = -1.0
        best = int(gains.argmax())
        chosen.append(best)
        left = [
            (e - e[:, [best]] @ e[[best]] / (e[best, best] + s), q)
            for (e, q), s in zip(left, small, strict=True)
        ]
    return torch.eye(width)[sorted(chosen)]


def project(rows: Tensor, kernel: Tensor, keep: int) -> Tensor:
    """The linear combinations of channels of which the next convolution makes most.

    For features without an activation after them: of all maps to `keep` channels that of least error in the
    next convolution's output, its taps taken as independent. With covariance L L^T and the kernel as a matrix
    A (out*k*k, C): A L = U S V^T, the map is V_keep^T L^-1.

    Args:
        rows: (rows, C).
        kernel: (out, C, k, k).
    Returns:
        `down` of a View: (kept, C); the identity where nothing is cut.
    """
    width = rows.shape[1]
    if keep >= width:
        return torch.eye(width)
    a = centred(rows)
    covariance = a.T @ a / len(a)
    covariance.diagonal().add_(RIDGE * covariance.diagonal().mean() + 1e-30)
    root = torch.linalg.cholesky(covariance)
    matrix = kernel.double().transpose(0, 1).flatten(1).T @ root
    v = torch.linalg.svd(matrix, full_matrices=len(matrix) < keep)[2]
    down = torch.linalg.solve_triangular(root.T, v[:keep].T, upper=True).T
    kept: Tensor = down.float()
    return kept
