"""What every loss is: a callable with a weight, which may change along a stage."""

from typing import Protocol

import torch
from torch import Tensor

Weight = float | list[float]


class Loss(Protocol):
    """Compares an output with a target; a file of this folder each, built from a recipe.

    Attributes:
        weight: its factor in the sum of losses; a list changes linearly from value to value along
            the stage, so that [0, 0.5, 0] rises to its middle and falls again.

    Example: a loss of one's own.
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True, slots=True, kw_only=True)
        ... class Worst:
        ...     weight: Weight
        ...     def __call__(self, output, target):
        ...         check_shapes(output, target)
        ...         return (output - target).abs().max()
    """

    @property
    def weight(self) -> Weight: ...

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            output: (N, 3, H, W), nominally in [0, 1].
            target: the same shape.
        Raises:
            ValueError: the shapes differ.
        """
        ...


def weight_at(weight: Weight, share: float) -> float:
    """Return a weight at a share of its stage.

    Args:
        share: of the stage's steps that are done, 0 to 1.

    Example:
        >>> [weight_at([0, 0.5, 0], share) for share in (0, 0.25, 0.5, 1)]
        [0.0, 0.25, 0.5, 0.0]
    """
    if not isinstance(weight, list):
        return float(weight)
    if len(weight) == 1:
        return float(weight[0])

    # The values stand at equal distances; between two of them the weight is a line.
    place = min(max(share, 0.0), 1.0) * (len(weight) - 1)
    left = min(int(place), len(weight) - 2)
    return weight[left] + (weight[left + 1] - weight[left]) * (place - left)


def check_weight(name: str, weight: Weight) -> None:
    """Refuse a weight that is below 0, or a list of none.

    Raises:
        ValueError: it is.
    """
    values = weight if isinstance(weight, list) else [weight]
    if not values or not all(value >= 0 for value in values):
        raise ValueError(
            f"{name}: weight must be at least 0, or a list of such numbers, got {weight}"
        )


def check_shapes(output: Tensor, target: Tensor) -> None:
    """Refuse tensors that a loss would broadcast without a word.

    Raises:
        ValueError: the shapes differ.
    """
    if output.shape != target.shape:
        raise ValueError(
            f"output and target must have one shape, got {tuple(output.shape)} and "
            f"{tuple(target.shape)}"
        )


def widen(x: Tensor) -> Tensor:
    """Return half floats as float32, for what they are too coarse for; others as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
