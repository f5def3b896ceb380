"""Checks of the attentions' operands; each error is one line of argument, rule and value."""

import torch
from torch import Tensor

from nas.ops.rules import DTYPES


def check_pair(x: Tensor, f: Tensor) -> None:
    """Refuse maps that differ in shape, dtype or device, are not floating, or have no pixel.

    Raises:
        ValueError: the first rule that is broken.
        TypeError: it is one of dtypes, or x or f is no tensor.
    """
    if x is None or f is None:  # how the dispatcher hands over what was None
        raise TypeError(f"{'x' if x is None else 'f'} must be a tensor, got None")
    # One condition for the usual case: this runs in every call of an operator.
    same = x.shape == f.shape and x.dtype is f.dtype and x.device == f.device
    if not same or f.dim() != 4 or f.dtype not in DTYPES:
        raise _find_fault(x, f)
    _, channels, height, width = f.shape
    if height == 0 or width == 0 or channels == 0:
        raise ValueError(
            f"x and f must have at least one channel, row and column, got {_read_shape(f)}"
        )


def check_span(x: Tensor, f: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Refuse what `check_pair` refuses, and a weight or bias that does not fit f.

    Raises:
        ValueError, TypeError: the first rule that is broken, as in `check_pair`.
    """
    check_pair(x, f)
    if weight is None or bias is None:
        raise TypeError(f"{'weight' if weight is None else 'bias'} must be a tensor, got None")
    channels = f.shape[1]
    if weight.shape != (channels, channels, 1, 1) or bias.shape != (channels,):
        raise ValueError(
            f"weight must be (C, C, 1, 1) and bias (C,) with the C of f,"
            f" got weight {_read_shape(weight)}, bias {_read_shape(bias)} and f {_read_shape(f)}"
        )
    if not f.dtype is weight.dtype is bias.dtype:
        raise TypeError(
            f"weight and bias must have the dtype of f, {f.dtype},"
            f" got {weight.dtype} and {bias.dtype}"
        )
    if not f.device == weight.device == bias.device:
        raise ValueError(
            f"weight and bias must lie on the device of f, {f.device},"
            f" got {weight.device} and {bias.device}"
        )


def check_grad(grad: Tensor, f: Tensor) -> None:
    """Refuse a gradient that is not like the result.

    Raises:
        ValueError: its shape or device is another.
        TypeError: its dtype is.
    """
    if grad.shape != f.shape or grad.device != f.device:
        raise ValueError(
            f"grad must have f's shape and device, {_read_shape(f)} and {f.device},"
            f" got {_read_shape(grad)} and {grad.device}"
        )
    if grad.dtype != f.dtype:
        raise TypeError(f"grad must have the dtype of f, {f.dtype}, got {grad.dtype}")


def _find_fault(x: Tensor, f: Tensor) -> ValueError | TypeError:
    """Return the error of two maps that do not fit: looked for only when one is there."""
    for name, value in (("x", x), ("f", f)):
        if value.dim() != 4:
            return ValueError(
                f"{name} must have four dimensions (N, C, H, W), got {_read_shape(value)}"
            )
        if value.dtype not in DTYPES:
            return TypeError(
                f"{name} must be float64, float32, float16 or bfloat16, got {value.dtype}"
            )
    if x.shape != f.shape:
        return ValueError(
            f"x and f must have one shape, got x {_read_shape(x)} and f {_read_shape(f)}"
        )
    if x.dtype != f.dtype:
        return TypeError(f"x and f must have one dtype, got x {x.dtype} and f {f.dtype}")
    return ValueError(f"x and f must lie on one device, got x on {x.device} and f on {f.device}")


def _read_shape(value: Tensor) -> tuple[int | torch.SymInt, ...]:
    return tuple(value.shape)
