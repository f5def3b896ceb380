"""Rounding of float32 to TF32, to the nearest and once: tensor cores would cut the bits off."""

from typing import NamedTuple

import torch
from torch import Tensor

HALF_STEP = 0x1000  # of the 13 bits that TF32 has not, in the bits of a float32
KEPT_BITS = -0x2000


class Rounding(NamedTuple):
    """Which float32 values a launch with TF32 products rounds; by default its operands.

    Attributes:
        x: the map that is read, each value as often as it is an operand. An image is rounded in any
            case.
        weight: the convolution's and the gate's weights.
        out: the map that is written, so that a launch that reads it can do with x=False.
    """

    x: bool = True
    weight: bool = True
    out: bool = False


ROUND_OPERANDS = Rounding()


def round_to_tf32(value: Tensor) -> Tensor:
    """Round float32 to the nearest of 10 bits of mantissa, ties away from zero; NaN stays NaN."""
    bits = (value.view(torch.int32) + HALF_STEP) & KEPT_BITS
    return torch.where(value.isnan(), value, bits.view(torch.float32))
