"""conv_act in ONNX's standard operators, for torch.onnx.export(custom_translation_table=...)."""

from collections.abc import Callable
from typing import Any

import torch

from nas.ops.conv_act.reference import ATTENTIONS


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the translation of nas::conv_act, in opset 18.

    Raises:
        ImportError: onnxscript is not installed.
    """
    import onnxscript  # an extra: not there for everyone

    op: Any = onnxscript.opset18

    def conv(x: Any, weight: Any, bias: Any, groups: int) -> Any:
        operands = (x, weight) if bias is None else (x, weight, bias)
        return op.Conv(*operands, pads=[weight.shape[2] // 2] * 4, group=groups)

    def apply_activation(f: Any, name: str) -> Any:
        if name == "relu":
            return op.Relu(f)
        if name == "leaky_relu":
            return op.LeakyRelu(f, alpha=0.05)
        if name == "leaky_relu_0.1":
            return op.LeakyRelu(f, alpha=0.1)
        if name == "silu":
            return op.Mul(f, op.Sigmoid(f))
        if name == "hardswish":
            return op.HardSwish(f)

        # GELU by the error function, as opset 18 has none: f / 2 * (1 + erf(f / sqrt(2))).
        half = op.Mul(f, op.CastLike(0.5, f))
        return op.Mul(
            half, op.Add(op.Erf(op.Mul(f, op.CastLike(0.5**0.5, f))), op.CastLike(1.0, f))
        )

    def apply_attention(f: Any, name: str, skip: Any, weight: Any, bias: Any) -> Any:
        total = op.Add(skip, f)
        if name == "residual":
            return total
        if name == "parameter_free":
            gate = op.Sub(op.Sigmoid(f), op.CastLike(0.5, f))
        elif name == "hard_parameter_free":
            gate = op.Sub(op.HardSigmoid(f, alpha=1 / 6, beta=0.5), op.CastLike(0.5, f))
        else:
            gate = conv(f, weight, bias, 1 if name == "conv1x1" else weight.shape[0])
        return op.Mul(total, gate)

    def conv_act(
        x: Any, weight: Any, bias: Any, epilogue: str, skip: Any, gate_weight: Any, gate_bias: Any
    ) -> Any:
        f = conv(x, weight, bias, 1)
        if epilogue in ATTENTIONS:
            return apply_attention(f, epilogue, skip, gate_weight, gate_bias)
        return f if epilogue == "none" else apply_activation(f, epilogue)

    return {torch.ops.nas.conv_act.default: conv_act}
