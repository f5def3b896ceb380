"""How float32 becomes TF32: rounded to the nearest, once; the tensor cores would cut off what is too much."""

from typing import NamedTuple

import torch
from torch import Tensor

HALF_STEP = 0x1000  # of the 13 bits that TF32 has not, in the bits of a float32
KEPT_BITS = -0x2000


class Rounding(NamedTuple):
    """What a launch with TF32 products rounds itself. By default its operands, wherever they come from.

    Attributes:
        x: the map that is read; each value as often as it is an operand. An image always is.
        weight: the convolution's and the gate's.
        out: the float32 map that is written, for launches that read it with x=False.
    """

    x: bool = True
    weight: bool = True
    out: bool = False


ROUND_OPERANDS = Rounding()


def round_to_tf32(value: Tensor) -> Tensor:
    """Round float32 to the nearest value of 10 bits of mantissa, ties away from zero; NaN stays NaN."""
    bits = (value.view(torch.int32) + HALF_STEP) & KEPT_BITS
    return torch.where(value.isnan(), value, bits.view(torch.float32))
