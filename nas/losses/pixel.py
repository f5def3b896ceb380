"""Losses of single pixels: L1, L2 and Charbonnier."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.losses.base import Weight, check_shapes, check_weight


@dataclass(frozen=True, slots=True, kw_only=True)
class L1:
    """The mean absolute difference.

    Example:
        >>> L1(weight=1.0)(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)).item()
        0.5
    """

    weight: Weight

    def __post_init__(self) -> None:
        check_weight("L1", self.weight)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        check_shapes(output, target)
        return F.l1_loss(output, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class MSE:
    """The mean squared difference, which PSNR is a logarithm of."""

    weight: Weight

    def __post_init__(self) -> None:
        check_weight("MSE", self.weight)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        check_shapes(output, target)
        return F.mse_loss(output, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charbonnier:
    """The mean of sqrt(d^2 + epsilon^2) over differences d: L1 that is smooth at zero.

    Some libraries write sqrt(d^2 + epsilon); their epsilon is the square of this one.

    Source: Lai et al., Deep Laplacian Pyramid Networks, CVPR 2017.
    """

    weight: Weight
    epsilon: float

    def __post_init__(self) -> None:
        check_weight("Charbonnier", self.weight)
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon:g}; 1e-3 is usual")

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        check_shapes(output, target)
        return torch.sqrt((output - target).square() + self.epsilon**2).mean()
