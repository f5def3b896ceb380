"""What the operators take; everything else gets one line that names the argument, the rule and the value."""

import torch
from torch import Tensor


def check_pair(x: Tensor, f: Tensor) -> None:
    """Refuse what is not two maps of one shape, floating dtype and device.

    Raises:
        ValueError: the first rule that is broken.
    """
    same = x.shape == f.shape and x.dtype is f.dtype and x.device == f.device
    if not same or f.dim() != 4 or not f.is_floating_point():
        raise ValueError(_fault_of_pair(x, f))


def check_span(x: Tensor, f: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Refuse what `check_pair` refuses, and a weight or bias that does not fit f.

    Raises:
        ValueError: the first rule that is broken.
    """
    check_pair(x, f)
    channels = f.shape[1]
    if weight.shape != (channels, channels, 1, 1) or bias.shape != (channels,):
        raise ValueError(
            f"weight must be (C, C, 1, 1) and bias (C,) with the C of f,"
            f" got weight {_shape(weight)}, bias {_shape(bias)} and f {_shape(f)}"
        )
    if not f.dtype is weight.dtype is bias.dtype:
        raise ValueError(
            f"weight and bias must have the dtype of f, {f.dtype}, got {weight.dtype} and {bias.dtype}"
        )
    if not f.device == weight.device == bias.device:
        raise ValueError(
            f"weight and bias must lie on the device of f, {f.device}, got {weight.device} and {bias.device}"
        )


def check_grad(grad: Tensor, f: Tensor) -> None:
    """Refuse a gradient that is not like the result.

    Raises:
        ValueError: its shape, dtype or device is another.
    """
    if grad.shape != f.shape or grad.dtype != f.dtype or grad.device != f.device:
        raise ValueError(
            f"grad must have f's shape, dtype and device ({_shape(f)}, {f.dtype}, {f.device}),"
            f" got {_shape(grad)}, {grad.dtype}, {grad.device}"
        )


def _fault_of_pair(x: Tensor, f: Tensor) -> str:
    for name, value in (("x", x), ("f", f)):
        if value.dim() != 4:
            return f"{name} must have four dimensions (N, C, H, W), got {_shape(value)}"
        if not value.dtype.is_floating_point:
            return f"{name} must be of a floating dtype, got {value.dtype}; convert it to float32 or float16"
    if x.shape != f.shape:
        return f"x and f must have one shape, got x {_shape(x)} and f {_shape(f)}"
    if x.dtype != f.dtype:
        return f"x and f must have one dtype, got x {x.dtype} and f {f.dtype}"
    return f"x and f must lie on one device, got x on {x.device} and f on {f.device}"


def _shape(value: Tensor) -> tuple[int | torch.SymInt, ...]:
    return tuple(value.shape)
