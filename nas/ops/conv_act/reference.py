"""What conv_act means, in plain torch: a convolution, then an activation or an attention."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.ops.rules import transforming
from search_spaces.layers.activation import ACTIVATIONS

ATTENTIONS = ("parameter_free", "hard_parameter_free", "conv1x1", "diagonal", "residual")
GATED = ("conv1x1", "diagonal")  # those that hold a gate of their own
EPILOGUES = ("none", *ACTIVATIONS, *ATTENTIONS)


def reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
) -> Tensor:
    """Return the convolution f of x, zero padded to keep height and width, after its epilogue.

    Without gradients the epilogue overwrites f, as the plain blocks do.

    Args:
        x: (N, Cin, H, W).
        weight: (C, Cin, k, k), k odd.
        bias: (C,).
        epilogue: `none`, an activation by its name in the blocks, or an attention:
            `residual`             skip + f
            `parameter_free`       (skip + f) * (sigmoid(f) - 0.5)
            `hard_parameter_free`  the same with the piecewise linear sigmoid
            `conv1x1`, `diagonal`  (skip + f) * (gate_weight f + gate_bias)
        skip: (N, C, H, W), for attentions.
        gate_weight: (C, C, 1, 1) for `conv1x1`, (C, 1, 1, 1) for `diagonal`.
        gate_bias: (C,), for both.
    Returns:  (N, C, H, W).
    Example:
        >>> x, weight = torch.ones(1, 1, 2, 2), torch.full((1, 1, 1, 1), -2.0)
        >>> reference(x, weight, None, "residual", x, None, None).flatten().tolist()
        [-1.0, -1.0, -1.0, -1.0]
    """
    f = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    # A derivative needs f as it is.
    operands = (x, weight, bias, skip, gate_weight, gate_bias)
    keeps = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in operands)
    keeps = keeps or transforming()
    if epilogue in ACTIVATIONS:
        return ACTIVATIONS[epilogue](f, not keeps)
    if skip is None:
        return f
    if epilogue == "residual":
        return skip + f if keeps else f.add_(skip)
    gate = _compute_gate(f, epilogue, gate_weight, gate_bias)
    return (skip + f) * gate if keeps else f.add_(skip).mul_(gate)


def _compute_gate(f: Tensor, epilogue: str, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if epilogue == "parameter_free":
        return torch.sigmoid(f) - 0.5
    if epilogue == "hard_parameter_free":
        return F.hardsigmoid(f) - 0.5
    assert weight is not None
    return F.conv2d(f, weight, bias, groups=weight.shape[0] if epilogue == "diagonal" else 1)
