"""Which channels of its parent a child keeps, and how one's features are read as the other's."""

from dataclasses import dataclass

import torch
from torch import Tensor

EXACT = 1e-5  # of the size of a feature: what rounding alone does, twenty layers deep
RIDGE = 1e-6  # of a feature's variance


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A child's features beside a parent's.

    Attributes:
        down: (kept, parent's channels): maps the parent's features to the child's first channels.
        up: (parent's channels, child's channels): the linear map that gives the parent's features
            from the child's best. The child's channels beyond the kept ones are not used.
    """

    down: Tensor
    up: Tensor

    @classmethod
    def between(cls, down: Tensor, theirs: Tensor, ours: Tensor) -> "View":
        """Fit `up` to rows of features.

        Args:
            down: (kept, parent's channels).
            theirs: (rows, parent's channels).
            ours: (rows, child's channels).
        """
        kept, width = down.shape
        up = torch.zeros(width, ours.shape[1])

        # Where nothing was cut or changed `down` is orthogonal and its transpose is exact.
        if kept == width and is_close(ours[:, :kept], theirs @ down.T):
            up[:, :kept] = down.T
        else:
            inputs = centre_rows(ours[:, :kept])
            gram = inputs.T @ inputs
            gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-30)
            up[:, :kept] = torch.linalg.solve(gram, inputs.T @ centre_rows(theirs)).T.float()

        return cls(down=down, up=up)


def is_close(features: Tensor, target: Tensor) -> bool:
    """Return whether features differ from a target by rounding alone."""
    return bool((features - target).square().mean() <= EXACT**2 * target.square().mean())


def centre_rows(rows: Tensor) -> Tensor:
    """Return the rows in float64 with their mean subtracted."""
    rows = rows.double()
    return rows - rows.mean(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One feature and the convolutions that read it.

    Attributes:
        rows: (rows, C).
        kernels: of the convolutions that read it, each (out, C, k, k).
    """

    rows: Tensor
    kernels: tuple[Tensor, ...]

    def moments(self) -> tuple[Tensor, Tensor]:
        """Compute the covariance (C, C), and the weights (C, C) of errors in what is read.

        The weights are scaled so that each kernel's output has a mean square of one.
        """
        rows = centre_rows(self.rows)
        covariance = rows.T @ rows / len(rows)
        width = covariance.shape[0]

        # A little for each channel, so that one that no kernel reads is chosen last, not never.
        weight = 1e-6 * torch.eye(width, dtype=torch.float64)
        for kernel in self.kernels:
            flat = kernel.double().transpose(0, 1).flatten(1)
            gram = flat @ flat.T
            weight += gram / ((gram * covariance).sum() + 1e-30)

        return covariance, weight


def choose(uses: list[Use], keep: int) -> Tensor:
    """Choose channels one by one, each time the one that explains most of what is read next.

    With the residual covariance E of all channels after regression on the chosen ones and the
    weights Q of errors, choosing channel c lowers the weighted error by (E Q E)_cc / E_cc: greedy
    subset selection, as in orthogonal least squares (Chen, Cowan and Grant, 1991).

    Args:
        uses: the features that share their channels.
        keep: how many channels; all of them where there are no more.
    Returns:
        `down` of a View: (kept, C), a one in each row, channels in their order.
    """
    left = [use.moments() for use in uses]
    width = left[0][0].shape[0]
    if keep >= width:
        return torch.eye(width)

    # Kept from division by zero: a chosen channel has no variance left.
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

        # Regress all channels on the chosen one: what is left of their covariance.
        left = [
            (e - e[:, [best]] @ e[[best]] / (e[best, best] + s), q)
            for (e, q), s in zip(left, small, strict=True)
        ]

    return torch.eye(width)[sorted(chosen)]


def project(rows: Tensor, kernel: Tensor, keep: int) -> Tensor:
    """Find the linear combinations of channels that serve the next convolution best.

    For features without an activation after them. Of all maps to `keep` channels it is the one of
    least error in the next convolution's output, whose taps are taken as independent. With the
    covariance L L^T and the kernel as a matrix A (out k k, C): A L = U S V^T, and the map is
    V_keep^T L^-1 (a low-rank approximation weighted by the data, after Eckart and Young, 1936).

    Args:
        rows: (rows, C): the features.
        kernel: (out, C, k, k): of the convolution that reads them.
        keep: how many combinations.
    Returns:
        `down` of a View: (kept, C); the identity where nothing is cut.
    """
    width = rows.shape[1]
    if keep >= width:
        return torch.eye(width)

    centred = centre_rows(rows)
    covariance = centred.T @ centred / len(centred)
    covariance.diagonal().add_(RIDGE * covariance.diagonal().mean() + 1e-30)

    # A full V only where the matrix has too few rows for `keep` singular vectors.
    root = torch.linalg.cholesky(covariance)
    matrix = kernel.double().transpose(0, 1).flatten(1).T @ root
    v = torch.linalg.svd(matrix, full_matrices=len(matrix) < keep)[2]
    down = torch.linalg.solve_triangular(root.T, v[:keep].T, upper=True).T
    combinations: Tensor = down.float()
    return combinations
