"""Least squares: a convolution's weights from what it sees and what it should give."""

import torch
from torch import Tensor, nn

from nas.train.inherit.teacher import Pixels
from nas.train.inherit.views import is_close

CHUNK = 2048  # rows that are multiplied in float32; their sums are added in float64
# Of each unknown's own second moment; draws it to its start. 1e-5 to 1e-3 measured the same.
RIDGE = 1e-4
FLOOR = 1e-9  # of their mean, for unknowns that are never seen


def solve(gram: Tensor, cross: Tensor) -> Tensor:
    """Solve ridge regression's normal equations in float64.

    Args:
        gram: (n, n), the inputs' inner products.
        cross: (n, outputs), those of inputs and outputs.
    Returns:
        The weights (n, outputs), float32.
    """
    return torch.cholesky_solve(cross, torch.linalg.cholesky(with_ridge(gram))).float()


def with_ridge(gram: Tensor) -> Tensor:
    """Return the Gram matrix with the ridge on its diagonal."""
    size = gram.diagonal()
    return gram + (RIDGE * size + FLOOR * size.mean() + 1e-30).diag()


def product(a: Tensor, b: Tensor) -> Tensor:
    """Compute a^T b over the rows, summed in float64."""
    total = torch.zeros(a.shape[1], b.shape[1], dtype=torch.float64)
    for start in range(0, len(a), CHUNK):
        total += a[start : start + CHUNK].T @ b[start : start + CHUNK]
    return total


class Fit:
    """One dense convolution of a child: its first channels are fitted, the others stay fresh."""

    def __init__(self, conv: nn.Conv2d, x: Tensor, pixels: Pixels, *, kept: int) -> None:
        """Gather the convolution's inputs.

        Args:
            conv: the convolution; its weights change in place.
            x: its input in the child, (N, C, H, W).
            pixels: where its outputs are compared.
            kept: how many of its channels are fitted.
        """
        self.conv = conv
        self.kept = kept
        # A convolution is linear in what its kernel sees, so its fit is one of least squares.
        columns = pixels.columns(x, conv.kernel_size[0])
        # The bias is the weight of an input that is always one.
        ones = torch.ones(len(columns), 1)
        self._columns = torch.cat([columns, ones], 1) if conv.bias is not None else columns
        self._factor: Tensor | None = None

    def start(self, kernel: Tensor, bias: Tensor | None) -> None:
        """Set the kept channels: weights (kept, C, k, k), bias (kept,) or None for zero."""
        self.conv.weight[: self.kept] = kernel
        if self.conv.bias is not None:
            self.conv.bias[: self.kept] = 0.0 if bias is None else bias

    def outputs(self) -> Tensor:
        """Compute the convolution's output at the pixels, (rows, all channels)."""
        flat = self.conv.weight.flatten(1).T
        if self.conv.bias is not None:
            flat = torch.cat([flat, self.conv.bias[None]], 0)
        return self._columns @ flat

    def reached(self, target: Tensor) -> Tensor:
        """Return the best approximation of a target (rows, outputs) by any weights."""
        return self._columns @ self._solve_for(target)

    def to(self, target: Tensor) -> None:
        """Fit the kept channels to (rows, kept); scale the fresh ones to features of that size.

        Where the target is reached already the weights stay as they are, so that a child that holds
        all of its parent gives exactly its output.
        """
        outputs = self.outputs()[:, : self.kept]
        if not is_close(outputs, target):
            self._add_to_weights(self._solve_for(target - outputs).T)
        self.level(target.std(0).mean())

    def level(self, size: Tensor | float) -> None:
        """Scale the fresh channels' kernels so that features have the standard deviation `size`."""
        if self.kept < self.conv.out_channels:
            deviation = self.outputs()[:, self.kept :].std(0)
            self.conv.weight[self.kept :] *= (size / (deviation + 1e-12))[:, None, None, None]

    def _solve_for(self, residual: Tensor) -> Tensor:
        """Return the weights (inputs, outputs) that give a residual (rows, outputs) best."""
        # One factor serves every target of this convolution: its inputs do not change.
        if self._factor is None:
            self._factor = torch.linalg.cholesky(with_ridge(product(self._columns, self._columns)))
        return torch.cholesky_solve(product(self._columns, residual), self._factor).float()

    def _add_to_weights(self, rows: Tensor) -> None:
        """Add (kept, inputs) to the kept channels; the last input is the bias, if there is one."""
        if self.conv.bias is not None:
            self.conv.bias[: self.kept] += rows[:, -1]
            rows = rows[:, :-1]
        self.conv.weight[: self.kept] += rows.reshape(self.conv.weight[: self.kept].shape)
