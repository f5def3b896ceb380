"""Least squares: a convolution's weights from what it sees and what it should give."""

import torch
from torch import Tensor, nn

from nas.train.inherit.teacher import Pixels
from nas.train.inherit.views import is_close

CHUNK = 2048  # rows multiplied in float32; their sums are added in float64
RIDGE = 1e-4  # of each unknown's own second moment, drawing it to its start; 1e-5 to 1e-3 measure the same
FLOOR = 1e-9  # of their mean, for unknowns that are never seen


def solve(gram: Tensor, cross: Tensor) -> Tensor:
    """Ridge regression from normal equations in float64, (n, n) and (n, outputs), to (n, outputs)."""
    return torch.cholesky_solve(cross, torch.linalg.cholesky(with_ridge(gram))).float()


def with_ridge(gram: Tensor) -> Tensor:
    """The Gram matrix with the ridge on its diagonal."""
    size = gram.diagonal()
    return gram + (RIDGE * size + FLOOR * size.mean() + 1e-30).diag()


def product(a: Tensor, b: Tensor) -> Tensor:
    """a^T b over the rows, in float64."""
    total = torch.zeros(a.shape[1], b.shape[1], dtype=torch.float64)
    for start in range(0, len(a), CHUNK):
        total += a[start : start + CHUNK].T @ b[start : start + CHUNK]
    return total


class Fit:
    """One dense convolution of a child: its first channels are fitted, others keep fresh kernels."""

    def __init__(self, conv: nn.Conv2d, x: Tensor, pixels: Pixels, *, kept: int) -> None:
        """Gather what the convolution sees.

        Args:
            x: its input in the child, (N, C, H, W).
            kept: how many channels are fitted.
        """
        self.conv = conv
        self.kept = kept
        columns = pixels.columns(x, conv.kernel_size[0])
        ones = torch.ones(len(columns), 1)
        self._columns = torch.cat([columns, ones], 1) if conv.bias is not None else columns
        self._factor: Tensor | None = None

    def start(self, kernel: Tensor, bias: Tensor | None) -> None:
        """Set the kept channels: (kept, C, k, k) and (kept,); a bias is zero where None or not there."""
        self.conv.weight[: self.kept] = kernel
        if self.conv.bias is not None:
            self.conv.bias[: self.kept] = 0.0 if bias is None else bias

    def outputs(self) -> Tensor:
        """(rows, all channels)."""
        flat = self.conv.weight.flatten(1).T
        if self.conv.bias is not None:
            flat = torch.cat([flat, self.conv.bias[None]], 0)
        return self._columns @ flat

    def reached(self, target: Tensor) -> Tensor:
        """What least squares makes of any target (rows, outputs)."""
        return self._columns @ self._solve(target)

    def to(self, target: Tensor) -> None:
        """Fit to (rows, kept), unless that is there already; fresh channels get features of that size."""
        found = self.outputs()[:, : self.kept]
        if not is_close(found, target):
            self._add(self._solve(target - found).T)
        self.level(target.std(0).mean())

    def level(self, size: Tensor | float) -> None:
        """Scale the kernels of the fresh channels to features of a standard deviation."""
        if self.kept < self.conv.out_channels:
            found = self.outputs()[:, self.kept :].std(0)
            self.conv.weight[self.kept :] *= (size / (found + 1e-12))[:, None, None, None]

    def _solve(self, residual: Tensor) -> Tensor:
        if self._factor is None:
            self._factor = torch.linalg.cholesky(with_ridge(product(self._columns, self._columns)))
        return torch.cholesky_solve(product(self._columns, residual), self._factor).float()

    def _add(self, rows: Tensor) -> None:
        if self.conv.bias is not None:
            self.conv.bias[: self.kept] += rows[:, -1]
            rows = rows[:, :-1]
        self.conv.weight[: self.kept] += rows.reshape(self.conv.weight[: self.kept].shape)
