"""Losses of edges: of an image's gradient and of its Laplacian."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from nas.losses.base import Weight, check_shapes, check_weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """The mean difference of horizontal and of vertical differences of neighbouring pixels.

    Attributes:
        rho: of each difference, its absolute value or its square. At SPANV2's weights the absolute
            form pulls 12 times as hard as the squared one.
    """

    weight: Weight
    rho: Literal["absolute", "square"]

    def __post_init__(self) -> None:
        check_weight("Gradient", self.weight)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        check_shapes(output, target)
        difference = output - target
        across, down = difference.diff(dim=-1), difference.diff(dim=-2)
        if self.rho == "absolute":
            return across.abs().mean() + down.abs().mean()
        return across.square().mean() + down.square().mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class Laplacian:
    """The mean absolute difference of Laplacians, by the kernel of four neighbours.

    Pixels of the border, which lack a neighbour, are left out.
    """

    weight: Weight

    def __post_init__(self) -> None:
        check_weight("Laplacian", self.weight)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        check_shapes(output, target)
        d = output - target
        inner = d[..., 1:-1, 1:-1]
        beside = d[..., 1:-1, :-2] + d[..., 1:-1, 2:]
        above_and_below = d[..., :-2, 1:-1] + d[..., 2:, 1:-1]
        return (beside + above_and_below - 4 * inner).abs().mean()
