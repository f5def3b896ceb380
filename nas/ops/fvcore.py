"""Handles by which fvcore, the challenge's counter, counts the fused operators."""

import math
from collections.abc import Callable
from typing import Any

Handle = Callable[[list[Any], list[Any]], int]


def flop_handles() -> dict[str, Handle]:
    """Return fvcore's handles for the operators' FLOPs, those of the plain modules' convolutions.

    They count multiply-accumulates. Without them fvcore warns that the operators are unsupported,
    and counts 0. The table can be made without fvcore:

        FlopCountAnalysis(fused, image).set_op_handle(**flop_handles()).total()
    """
    return {
        "nas::conv_act": _count_conv_act_flops,
        "nas::span_attention": lambda given, out: (
            math.prod(_read_shape(out[0])) * _read_shape(given[1])[1]
        ),
        "nas::parameter_free_attention": lambda given, out: 0,
    }


def activation_handles() -> dict[str, Handle]:
    """Return fvcore's handles for the operators' activations: values that convolutions give.

    ActivationCountAnalysis(fused, image).set_op_handle(**activation_handles()).total()
    """
    return {
        "nas::conv_act": lambda given, out: (
            math.prod(_read_shape(out[0])) * (2 if _is_gated(given) else 1)
        ),
        "nas::span_attention": lambda given, out: math.prod(_read_shape(out[0])),
        "nas::parameter_free_attention": lambda given, out: 0,
    }


def _count_conv_act_flops(given: list[Any], out: list[Any]) -> int:
    """Count the products of each value: one for a weight of its channel, and of its gate's."""
    products = math.prod(_read_shape(given[1])[1:])
    if _is_gated(given):
        products += _read_shape(given[5])[1]
    return math.prod(_read_shape(out[0])) * products


def _is_gated(given: list[Any]) -> bool:
    # A missing operand is a constant None in the trace; operand 5 is gate_weight.
    return bool(given[5].type().kind() != "NoneType")


def _read_shape(value: Any) -> list[int]:
    """Return the shape of a tensor in a TorchScript trace."""
    sizes: list[int] = value.type().sizes()
    return sizes
