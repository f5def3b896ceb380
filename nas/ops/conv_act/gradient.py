"""The gradient of conv_act, written out: without autograd, by the plain modules' own operators."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

aten = torch.ops.aten
# The gradient of each activation's input, by those of its result and the input itself.
ACTIVATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "silu": aten.silu_backward,
    "relu": lambda grad, f: aten.threshold_backward(grad, f, 0),
    "leaky_relu": lambda grad, f: aten.leaky_relu_backward(grad, f, 0.05, False),
    "leaky_relu_0.1": lambda grad, f: aten.leaky_relu_backward(grad, f, 0.1, False),
    "hardswish": aten.hardswish_backward,
    "gelu": aten.gelu_backward,
}


def gradient(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
    needed: list[bool],
) -> tuple[Tensor, ...]:
    """Return the gradients of `reference` by its six tensors, each laid out as `empty_like` of it.

    Args:
        grad: of the result, in its shape.
        needed: which of x, weight, bias, skip, gate_weight, gate_bias need a gradient.
    Returns:  those gradients, and an empty tensor (0,) for each of the others.
    """
    # The convolution is computed again: keeping its result would cost one map more.
    f = None
    if epilogue not in ("none", "residual"):
        f = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    # The epilogue comes last in the forward, so first here.
    on_f, *others = _differentiate_epilogue(grad, f, epilogue, skip, gate_weight, gate_bias, needed)
    of_convolution: tuple[Tensor | None, ...] = (None, None, None)
    if any(needed[:3]):
        of_convolution = _differentiate_convolution(on_f, x, weight, bias, needed[:3])

    operands = (x, weight, bias, skip, gate_weight, gate_bias)
    return tuple(
        _lay_out_like(value, operand, grad)
        if want and value is not None and operand is not None
        else x.new_empty(0)
        for value, operand, want in zip((*of_convolution, *others), operands, needed, strict=True)
    )


def _differentiate_epilogue(
    grad: Tensor,
    f: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    needed: list[bool],
) -> tuple[Any, ...]:
    """Return gradients by f, skip, gate_weight and gate_bias; None: there is none, or no need."""
    if f is None:
        return grad, grad, None, None  # `none` has no skip, `residual` adds it
    if skip is None:
        return ACTIVATIONS[epilogue](grad, f), None, None, None

    # An attention is (skip + f) * gate(f): f takes part twice, `through` is by way of the gate.
    on_gate = (skip + f).mul_(grad)
    on_weights: tuple[Tensor | None, ...] = (None, None)
    if epilogue == "parameter_free":
        sigmoid = torch.sigmoid(f)
        gate, through = sigmoid - 0.5, aten.sigmoid_backward(on_gate, sigmoid)
    elif epilogue == "hard_parameter_free":
        gate, through = F.hardsigmoid(f) - 0.5, aten.hardsigmoid_backward(on_gate, f)
    else:
        assert weight is not None
        groups = 1 if epilogue == "conv1x1" else weight.shape[0]
        gate = F.conv2d(f, weight, bias, groups=groups)
        masks = [any(needed[:3]), *needed[4:]]
        through, *others = _differentiate_convolution(on_gate, f, weight, bias, masks, groups)
        on_weights = tuple(others)

    on_skip = gate.mul_(grad)
    return on_skip + through if through is not None else None, on_skip, *on_weights


def _differentiate_convolution(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    needed: list[bool],
    groups: int = 1,
) -> tuple[Tensor | None, ...]:
    sizes, half = None if bias is None else [weight.shape[0]], weight.shape[-1] // 2
    gradients: tuple[Tensor | None, ...] = aten.convolution_backward(
        grad, x, weight, sizes, [1, 1], [half, half], [1, 1], False, [0, 0], groups, needed
    )
    return gradients


def _lay_out_like(value: Tensor, operand: Tensor, grad: Tensor) -> Tensor:
    """Return a value in the layout of the operand: itself where it has that, else a copy.

    It is never `grad`: an operator must not return one of its inputs.
    """
    if value is not grad and value.stride() == torch.empty_like(operand, device="meta").stride():
        return value
    return torch.empty_like(operand).copy_(value)
