"""Another activation or another gate: at which size and shift of its input it does most of the parent's."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

SIZES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0, 32.0)  # factors of the parent's features
SHIFTS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)  # added to them
EVERY = 4  # rows; a size and a shift need no more


def match(
    give: Callable[[Tensor, int], Tensor],
    choices: list[Tensor],
    target: Tensor,
    units: Tensor,
    *,
    shift: bool,
) -> tuple[Tensor, Tensor]:
    """Choose for each channel the size and shift whose output is nearest to an affine function of the target.

    What follows is fitted to what comes out, so its size and mean are free: silu of eight times a feature is
    close to relu, and a gate that halves its input keeps its pattern.

    Args:
        give: what follows: features (rows / e, C) of every e-th row, and e -> (rows / e, C).
        choices: features to start from, each (rows, C).
        target: (rows, C), the parent's after it.
        units: (C,) of the shifts.
        shift: whether there are biases, so that features can be shifted.
    Returns:
        what the features should be, and the target as the output then follows it, both (rows, C).
    """
    some = target[::EVERY]
    wanted = some - some.mean(0)
    power = wanted.square().mean(0) + 1e-30
    best, size_of, shift_of = (
        torch.full_like(power, -1.0),
        torch.ones_like(power),
        torch.zeros_like(power),
    )
    features = choices[0].clone()
    for choice in choices:
        for size, shifted in itertools.product(SIZES, SHIFTS if shift else (0.0,)):
            y = give(size * choice[::EVERY] + shifted * units, EVERY)
            y = y - y.mean(0)
            cross = (y * wanted).mean(0)
            quality = cross.square() / (y.square().mean(0) * power + 1e-30)
            better = quality > best + 1e-6
            best[better] = quality[better]
            size_of[better], shift_of[better] = size, shifted
            features[:, better] = choice[:, better]
    features = size_of * features + shift_of * units
    y = give(features, 1)
    wanted = target - target.mean(0)
    slope = ((y - y.mean(0)) * wanted).mean(0) / (wanted.square().mean(0) + 1e-30)
    return features, y.mean(0) + slope * wanted
