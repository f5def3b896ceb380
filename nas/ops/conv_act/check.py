"""Checks of conv_act's operands; each error is one line."""

from torch import Tensor

from nas.ops.conv_act.reference import ATTENTIONS, EPILOGUES, GATED
from nas.ops.rules import DTYPES


def check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
) -> None:
    """Refuse what the operator cannot take.

    Raises:
        ValueError: a shape, a device, a name, or an operand that is missing or has no use, by name.
        TypeError: dtypes differ, or are not known; x or weight is no tensor.
    """
    if x is None or weight is None:  # how the dispatcher hands over what was None
        raise TypeError(f"conv_act: {'x' if x is None else 'weight'} must be a tensor, got None")
    _check_convolution(x, weight, epilogue)

    # Which further operands there may be depends on the epilogue, their shapes on the weight.
    channels = weight.shape[0]
    attends, gated = epilogue in ATTENTIONS, epilogue in GATED
    skip_shape = (x.shape[0], channels, *x.shape[2:])
    gate_shape = (channels, channels if epilogue == "conv1x1" else 1, 1, 1)
    _check_alike("weight", weight, x)
    _check_operand("bias", bias, (channels,), x, epilogue, used=True)
    _check_operand("skip", skip, skip_shape, x, epilogue, used=attends, needed=attends)
    _check_operand("gate_weight", gate_weight, gate_shape, x, epilogue, used=gated, needed=gated)
    _check_operand("gate_bias", gate_bias, (channels,), x, epilogue, used=gated)


def _check_convolution(x: Tensor, weight: Tensor, epilogue: str) -> None:
    """Refuse an epilogue, shapes or a dtype of x and weight that no kernel takes."""
    if epilogue not in EPILOGUES:
        raise ValueError(
            f"conv_act: epilogue {epilogue!r} is not known; known: {', '.join(EPILOGUES)}"
        )
    if x.dim() != 4 or weight.dim() != 4:
        raise ValueError(
            "conv_act: x must be (N, Cin, H, W) and weight (C, Cin, k, k), "
            f"got {tuple(x.shape)} and {tuple(weight.shape)}"
        )

    channels, in_channels, kernel, columns = weight.shape
    _, given, height, width = x.shape
    if kernel != columns or kernel % 2 == 0:
        raise ValueError(
            f"conv_act: kernel must be square and odd, got {kernel}x{columns}; use 1, 3 or 5"
        )
    if given != in_channels:
        raise ValueError(
            f"conv_act: x must have the weight's {in_channels} channels, got {tuple(x.shape)}"
        )

    # A batch of none is fine; a map without a pixel has no kernel, and no meaning here.
    if height == 0 or width == 0 or channels == 0 or in_channels == 0:
        raise ValueError(
            "conv_act: x and weight must have at least one channel, row and column, "
            f"got {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    if x.dtype not in DTYPES:
        raise TypeError(f"conv_act: x must be float64, float32, float16 or bfloat16, got {x.dtype}")


def check_grad(grad: Tensor, x: Tensor, weight: Tensor) -> None:
    """Refuse a gradient that is not like the result.

    Raises:
        ValueError: its shape or device is another.
        TypeError: its dtype is.
    """
    shape = (x.shape[0], weight.shape[0], *x.shape[2:])
    if grad.shape != shape:
        raise ValueError(f"conv_act: grad must have the shape {shape}, got {tuple(grad.shape)}")
    _check_alike("grad", grad, x)


def _check_operand(
    name: str,
    value: Tensor | None,
    shape: tuple[int, ...],
    x: Tensor,
    epilogue: str,
    *,
    used: bool,
    needed: bool = False,
) -> None:
    if value is None:
        if needed:
            raise ValueError(
                f"conv_act: epilogue {epilogue!r} needs {name} of shape {shape}, got None"
            )
        return

    if not used:
        raise ValueError(f"conv_act: epilogue {epilogue!r} has no use for {name}; leave it out")
    if value.shape != shape:
        raise ValueError(f"conv_act: {name} must have the shape {shape}, got {tuple(value.shape)}")
    _check_alike(name, value, x)


def _check_alike(name: str, value: Tensor, x: Tensor) -> None:
    if value.dtype != x.dtype:
        raise TypeError(f"conv_act: {name} must have the dtype of x, {x.dtype}, got {value.dtype}")
    if value.device != x.device:
        raise ValueError(
            f"conv_act: {name} must be on the device of x, {x.device}, got {value.device}"
        )
