"""The attentions in ONNX's standard operators, for torch.onnx.export(custom_translation_table)."""

from collections.abc import Callable
from typing import Any

import torch

import nas.ops.span_attention.op  # noqa: F401 - registers the operators


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the translation of both operators, in opset 18: the nodes that plain blocks export to.

    Raises:
        ImportError: onnxscript is not installed.
    """
    from onnxscript import opset18  # an extra: not there for everyone

    op: Any = opset18

    def span_attention(x: Any, f: Any, weight: Any, bias: Any) -> Any:
        return op.Mul(op.Add(x, f), op.Conv(f, weight, bias))

    def parameter_free_attention(x: Any, f: Any) -> Any:
        return op.Mul(op.Add(x, f), op.Sub(op.Sigmoid(f), op.CastLike(0.5, f)))

    return {
        torch.ops.nas.span_attention.default: span_attention,
        torch.ops.nas.parameter_free_attention.default: parameter_free_attention,
    }
