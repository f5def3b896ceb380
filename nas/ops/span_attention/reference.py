"""The two attentions in plain PyTorch: their definition, the CPU path, and written-out derivatives.

`span_attention` and `parameter_free_attention` here are differentiable and may be read as the
definition. The operators run the functions that end in `_forward` and `_backward`: without
autograd, the result in the layout of f, gradients in the layouts of x and f, as
`torch.empty_like` keeps them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def span_attention(x: Tensor, f: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return (x + f) * (W f + b), W a 1x1 convolution; differentiable."""
    return (x + f) * F.conv2d(f, weight, bias)


def parameter_free_attention(x: Tensor, f: Tensor) -> Tensor:
    """Return (x + f) * (sigmoid(f) - 0.5); differentiable."""
    return (x + f) * (torch.sigmoid(f) - 0.5)


def span_attention_forward(x: Tensor, f: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return what `span_attention` does, with one map fewer in memory."""
    return _add_maps(x, f).mul_(F.conv2d(f, weight, bias))


def parameter_free_attention_forward(x: Tensor, f: Tensor) -> Tensor:
    """Return what `parameter_free_attention` does, with two maps fewer in memory."""
    return _add_maps(x, f).mul_(torch.sigmoid(f).sub_(0.5))


def span_attention_backward(
    grad: Tensor, x: Tensor, f: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients by x, f, W and b; the gate is computed again instead of kept."""
    dx = torch.mul(grad, F.conv2d(f, weight, bias), out=torch.empty_like(x))
    dgate = _add_maps(x, f).mul_(grad)

    # f takes part twice: in the sum, whose gradient is dx, and by way of the gate.
    through_gate, dw, db = torch.ops.aten.convolution_backward(
        dgate, f, weight, [bias.numel()], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True] * 3
    )
    return dx, torch.add(dx, through_gate, out=torch.empty_like(f)), dw, db


def parameter_free_attention_backward(grad: Tensor, x: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients by x and f."""
    sigmoid = torch.sigmoid(f)
    dx = torch.mul(grad, sigmoid - 0.5, out=torch.empty_like(x))
    dsigmoid = _add_maps(x, f).mul_(grad)
    slope = sigmoid * (1 - sigmoid)
    return dx, dsigmoid.mul_(slope).add_(dx)


def _add_maps(x: Tensor, f: Tensor) -> Tensor:
    return torch.add(x, f, out=torch.empty_like(f))
