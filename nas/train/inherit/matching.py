"""Another activation or gate: the size and shift of its input that come nearest to the parent's."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

SIZES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0, 32.0)  # factors of the parent's features
SHIFTS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)  # added to them, in the channel's units
EVERY = 4  # one row of so many is enough to choose a size and a shift


def match(
    apply: Callable[[Tensor, int], Tensor],
    choices: list[Tensor],
    target: Tensor,
    units: Tensor,
    *,
    shift: bool,
) -> tuple[Tensor, Tensor]:
    """Choose for each channel the input whose output follows the target best.

    To follow means to be near an affine function of it.

    What follows is fitted to the output, so its size and mean are free: silu of eight times a
    feature is close to relu, and a gate that halves its input keeps its pattern.

    Args:
        apply: the activation or gate: features (rows / e, C) of every e-th row, and e -> as many.
        choices: features to start from, each (rows, C).
        target: (rows, C): the parent's output at the same place.
        units: (C,): sizes of a shift by 1.
        shift: whether features can be shifted, as a convolution with biases can.
    Returns:
        The features to give as input, and the target as the output then follows it; both (rows, C).
    """
    wanted = target[::EVERY] - target[::EVERY].mean(0)
    power = wanted.square().mean(0) + 1e-30
    best_quality = torch.full_like(power, -1.0)
    best_size, best_shift = torch.ones_like(power), torch.zeros_like(power)
    features = choices[0].clone()

    # Quality is the squared correlation with the target: it does not see size and mean of the
    # output.
    for choice in choices:
        for size, shift_units in itertools.product(SIZES, SHIFTS if shift else (0.0,)):
            output = apply(size * choice[::EVERY] + shift_units * units, EVERY)
            output = output - output.mean(0)
            cross = (output * wanted).mean(0)
            quality = cross.square() / (output.square().mean(0) * power + 1e-30)
            better = quality > best_quality + 1e-6
            best_quality[better] = quality[better]
            best_size[better], best_shift[better] = size, shift_units
            features[:, better] = choice[:, better]

    features = best_size * features + best_shift * units

    # The target on the output's scale: its regression on the true target, over all rows.
    output = apply(features, 1)
    wanted = target - target.mean(0)
    slope = ((output - output.mean(0)) * wanted).mean(0) / (wanted.square().mean(0) + 1e-30)
    return features, output.mean(0) + slope * wanted
