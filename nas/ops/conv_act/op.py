"""The operator nas::conv_act: its schema, its implementations, its gradient and what it costs."""

import importlib
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

from nas.ops.backend import Case, Choice, no_triton
from nas.ops.conv_act.check import check, check_grad
from nas.ops.conv_act.config import precision_of
from nas.ops.conv_act.gradient import gradient
from nas.ops.conv_act.pixels import empty_map
from nas.ops.conv_act.reference import reference
from nas.ops.prepared import Repeat
from nas.ops.rules import (
    follow_autocast,
    implement,
    plain_form,
    refuse_forward_ad,
    refuse_second_derivative,
    transforming,
)

_LIBRARY = torch.library.Library("nas", "FRAGMENT")  # type: ignore[no-untyped-call]
_OPERANDS = (
    "Tensor x, Tensor weight, Tensor? bias, str epilogue, "
    "Tensor? skip, Tensor? gate_weight, Tensor? gate_bias"
)
for _schema in (
    f"conv_act({_OPERANDS}) -> Tensor",
    f"conv_act_backward(Tensor grad, {_OPERANDS}, bool[] needed)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
):
    _LIBRARY.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]

_OP = torch.ops.nas.conv_act.default
_BACKWARD = torch.ops.nas.conv_act_backward.default


def _why_no_triton(device: torch.device, case: Case) -> str | None:
    if missing := no_triton(device):
        return missing
    parts = case if isinstance(case, tuple) else ()
    reason: str | None = _load_kernels().why_not(device, *parts)
    return reason


@cache
def _load_kernels() -> Any:
    """Load the Triton launcher, when it is first used: Triton may be missing."""
    return importlib.import_module("nas.ops.conv_act.triton")


_CHOICE = Choice("conv_act", {"triton": _why_no_triton})


def backend_of(
    device: torch.device,
    channels: int,
    dtype: torch.dtype,
    epilogue: str,
    in_channels: int | None = None,
    kernel: int = 3,
    precision: str | None = None,
    separable: bool = False,
) -> str:
    """Return which backend serves a case: `triton`, which was then run once, or `reference`.

    Args:
        in_channels: by default as many as the result has.
        precision: of float32 products, `tf32` or `tf32x3`; by default that of cuDNN's convolutions.
        separable: the kernel is that of a depthwise convolution before a 1x1 one.
    """
    if precision is None and device.type == "cuda":
        precision = precision_of(dtype)

    # `separable` is part of a case only where it is True: the launcher's probe has it as an option.
    case = (channels, dtype, epilogue, in_channels or channels, kernel, precision)
    return _CHOICE.pick(device, (*case, True) if separable else case)


def prepare(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
) -> Repeat | None:
    """Return a repeat of the launch of a call that has just been made.

    None: it was no launch of Triton's, or one that copies an operand.
    """
    channels, in_channels, kernel, _ = weight.shape
    if backend_of(x.device, channels, weight.dtype, epilogue, in_channels, kernel) != "triton":
        return None
    repeat: Repeat | None = _load_kernels().prepare(
        x, weight, bias, epilogue, skip, gate_weight, gate_bias
    )
    return repeat


def _run_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
) -> Tensor:
    refuse_forward_ad("conv_act")
    check(x, weight, bias, epilogue, skip, gate_weight, gate_bias)

    # On the CPU, precision does not matter, and cuDNN's switch is not asked.
    channels, in_channels, kernel, _ = weight.shape
    precision = precision_of(weight.dtype) if x.is_cuda else None
    case = (channels, weight.dtype, epilogue, in_channels, kernel, precision)
    if _CHOICE.pick(x.device, case) == "reference":
        out = reference(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
    else:
        out = _load_kernels().forward(
            x, weight, bias, epilogue, skip, gate_weight, gate_bias, precision
        )
    return out.contiguous(memory_format=torch.channels_last) if x.is_cuda else out


def _fake_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
) -> Tensor:
    """Return a fake result: channels_last on CUDA, elsewhere as the convolution lays it out."""
    check(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
    if x.is_cuda:
        return empty_map(x, weight.shape[0], x.dtype)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _save_operands(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, ctx.epilogue, skip, gate_weight, gate_bias = inputs
    ctx.save_for_backward(x, weight, bias, skip, gate_weight, gate_bias)


def _apply_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    # Argument 3 is the epilogue's name, which has no gradient.
    needed = [flag for i, flag in enumerate(ctx.needs_input_grad) if i != 3]
    x, weight, bias, *rest = ctx.saved_tensors
    values = _BACKWARD(grad, x, weight, bias, ctx.epilogue, *rest, needed)
    grads = [value if flag else None for value, flag in zip(values, needed, strict=True)]
    return (*grads[:3], None, *grads[3:])


def _run_backward(grad: Tensor, *operands: Any) -> tuple[Tensor, ...]:
    refuse_forward_ad("conv_act_backward")
    _check_backward(grad, *operands)
    return gradient(grad, *operands)


def _fake_backward(grad: Tensor, *operands: Any) -> tuple[Tensor, ...]:
    _check_backward(grad, *operands)
    # Gradients that are not needed are empty: an operator cannot return None.
    *tensors, needed = (value for i, value in enumerate(operands) if i != 3)
    return tuple(
        torch.empty_like(value) if want and value is not None else grad.new_empty(0)
        for value, want in zip(tensors, needed, strict=True)
    )


def _check_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> None:
    check(x, weight, *rest[:-1])
    check_grad(grad, x, weight)


@register_flop_formula(torch.ops.nas.conv_act)
def _count_flops(
    x: list[int],
    weight: list[int],
    bias: list[int] | None,
    epilogue: str,
    skip: list[int] | None = None,
    gate_weight: list[int] | None = None,
    gate_bias: list[int] | None = None,
    *,
    out_shape: list[int],
    **kwargs: Any,
) -> int:
    """Count two for each multiply-accumulate of convolution and gate, as for the plain modules."""
    count, _, height, width = out_shape
    weights = weight[0] * weight[1] * weight[2] * weight[3]
    weights += gate_weight[0] * gate_weight[1] if gate_weight is not None else 0
    return 2 * count * height * width * weights


@register_flop_formula(torch.ops.nas.conv_act_backward)
def _count_backward_flops(
    grad: list[int], x: list[int], weight: list[int], bias: Any, epilogue: str, skip: Any,
    gate_weight: list[int] | None, gate_bias: Any, needed: list[bool], **kwargs: Any,
) -> int:  # fmt: skip
    """Count what the plain modules' backward counts; not the convolution that is computed again."""
    count, channels, height, width = grad
    weights = (needed[0] + needed[1]) * weight[0] * weight[1] * weight[2] * weight[3]
    if gate_weight is not None:
        weights += any(needed[:3]) * gate_weight[0] * gate_weight[1]
        # Also of a diagonal gate, which PyTorch counts as if it were dense.
        weights += needed[4] * channels * channels
    return 2 * count * height * width * weights


# The gradient's operands have the forward's dtypes already: only the forward lowers them.
implement(_LIBRARY, "conv_act", _run_forward)
implement(_LIBRARY, "conv_act_backward", _run_backward)
follow_autocast(_LIBRARY, "conv_act", lower=True)
follow_autocast(_LIBRARY, "conv_act_backward", lower=False)
torch.library.register_fake("nas::conv_act", _fake_forward, lib=_LIBRARY)
torch.library.register_fake("nas::conv_act_backward", _fake_backward, lib=_LIBRARY)
torch.library.register_autograd(
    "nas::conv_act", _apply_gradient, setup_context=_save_operands, lib=_LIBRARY
)
refuse_second_derivative(_LIBRARY, "conv_act_backward", "nas.ops.conv_act.reference")


def conv_act(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None = None,
    gate_weight: Tensor | None = None,
    gate_bias: Tensor | None = None,
) -> Tensor:
    """Convolve x, keeping height and width, and apply an activation or attention, in one kernel.

    It is differentiable once. On CUDA the result is channels_last. Without a GPU `reference` runs,
    as it does under forward AD and the transforms of torch.func, which need every derivative.

    Args:
        x: (N, Cin, H, W), floating point, any strides.
        weight: (C, Cin, k, k), k odd.
        bias: (C,).
        epilogue: one of `EPILOGUES`; see `reference` for their meaning.
        skip: (N, C, H, W), for attentions alone.
        gate_weight: (C, C, 1, 1) for `conv1x1`, (C, 1, 1, 1) for `diagonal`.
        gate_bias: (C,), for both.

    Returns:  (N, C, H, W).
    Raises:   ValueError, TypeError: see `check`.
    Example:
        >>> x, weight = torch.ones(1, 2, 3, 3), torch.ones(4, 2, 3, 3)
        >>> conv_act(x, weight, None, "relu").shape
        torch.Size([1, 4, 3, 3])
    """
    out: Tensor
    if transforming():
        operands = (x, weight, bias, epilogue, skip, gate_weight, gate_bias)
        return plain_form(check, reference, operands, lower=True)
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        out = _OP(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
        return out

    # Without gradients the call skips autograd's rule, which is half of what it costs.
    with torch._C._AutoDispatchBelowAutograd():
        out = _OP(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
        return out
