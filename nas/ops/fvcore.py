"""What fvcore, the challenge's counter, has to be told to see through the fused operators."""

import math
from collections.abc import Callable
from typing import Any

Handle = Callable[[list[Any], list[Any]], int]


def flop_handles() -> dict[str, Handle]:
    """The FLOPs of the operators, as multiply-accumulates: those of the plain modules' convolutions.

    fvcore itself is not needed to make the table:

        FlopCountAnalysis(fused, image).set_op_handle(**flop_handles()).total()

    Without it fvcore names the operators as unsupported and counts 0 for them.
    """
    return {
        "nas::conv_act": _conv_act_flops,
        "nas::span_attention": lambda given, out: math.prod(_shape(out[0])) * _shape(given[1])[1],
        "nas::parameter_free_attention": lambda given, out: 0,
    }


def activation_handles() -> dict[str, Handle]:
    """The activations of the operators: values that the plain modules' convolutions give.

    ActivationCountAnalysis(fused, image).set_op_handle(**activation_handles()).total()
    """
    return {
        "nas::conv_act": lambda given, out: (
            math.prod(_shape(out[0])) * (2 if _is_gated(given) else 1)
        ),
        "nas::span_attention": lambda given, out: math.prod(_shape(out[0])),
        "nas::parameter_free_attention": lambda given, out: 0,
    }


def _conv_act_flops(given: list[Any], out: list[Any]) -> int:
    """A value of the result takes a product for each weight of its channel, and of its channel's gate."""
    products = math.prod(_shape(given[1])[1:])
    if _is_gated(given):
        products += _shape(given[5])[1]
    return math.prod(_shape(out[0])) * products


def _is_gated(given: list[Any]) -> bool:
    return bool(given[5].type().kind() != "NoneType")


def _shape(value: Any) -> list[int]:
    """The shape of a tensor in a TorchScript trace."""
    sizes: list[int] = value.type().sizes()
    return sizes
