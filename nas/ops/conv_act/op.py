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
    found: str | None = _kernels().why_not(device, *(case if isinstance(case, tuple) else ()))
    return found


@cache
def _kernels() -> Any:
    """The Triton launcher, loaded when first used."""
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
    """Name the backend that serves a case there: `triton`, which was then run once, or `reference`.

    Args:
        in_channels: by default as many as the result has.
        precision: of float32 products, `tf32` or `tf32x3`; by default that of cuDNN's convolutions.
        separable: the kernel is that of a depthwise convolution before a 1x1 one.
    """
    if precision is None and device.type == "cuda":
        precision = precision_of(dtype)
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
    """The launch of a call that has just been made, to be made again; None: there is none."""
    channels, in_channels, kernel, _ = weight.shape
    if backend_of(x.device, channels, weight.dtype, epilogue, in_channels, kernel) != "triton":
        return None
    found: Repeat | None = _kernels().prepare(
        x, weight, bias, epilogue, skip, gate_weight, gate_bias
    )
    return found


def _run(
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
    channels, in_channels, kernel, _ = weight.shape
    precision = precision_of(weight.dtype) if x.is_cuda else None
    case = (channels, weight.dtype, epilogue, in_channels, kernel, precision)
    if _CHOICE.pick(x.device, case) == "reference":
        out = reference(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
    else:
        out = _kernels().forward(x, weight, bias, epilogue, skip, gate_weight, gate_bias, precision)
    return out.contiguous(memory_format=torch.channels_last) if x.is_cuda else out


def _fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
) -> Tensor:
    """On CUDA always channels_last; elsewhere what the convolution gives."""
    check(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
    if x.is_cuda:
        return empty_map(x, weight.shape[0], x.dtype)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, ctx.epilogue, skip, gate_weight, gate_bias = inputs
    ctx.save_for_backward(x, weight, bias, skip, gate_weight, gate_bias)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needed = [flag for i, flag in enumerate(ctx.needs_input_grad) if i != 3]
    x, weight, bias, *rest = ctx.saved_tensors
    found = _BACKWARD(grad, x, weight, bias, ctx.epilogue, *rest, needed)
    grads = [value if flag else None for value, flag in zip(found, needed, strict=True)]
    return (*grads[:3], None, *grads[3:])


def _run_backward(grad: Tensor, *operands: Any) -> tuple[Tensor, ...]:
    refuse_forward_ad("conv_act_backward")
    _check_backward(grad, *operands)
    return gradient(grad, *operands)


def _fake_backward(grad: Tensor, *operands: Any) -> tuple[Tensor, ...]:
    _check_backward(grad, *operands)
    *tensors, needed = (value for i, value in enumerate(operands) if i != 3)
    return tuple(
        torch.empty_like(value) if want and value is not None else grad.new_empty(0)
        for value, want in zip(tensors, needed, strict=True)
    )


def _check_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> None:
    check(x, weight, *rest[:-1])
    check_grad(grad, x, weight)


@register_flop_formula(torch.ops.nas.conv_act)
def _flops(
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
    """Two a multiply-accumulate, of the convolution and of the gate's, as the plain modules count."""
    count, _, height, width = out_shape
    weights = weight[0] * weight[1] * weight[2] * weight[3]
    weights += gate_weight[0] * gate_weight[1] if gate_weight is not None else 0
    return 2 * count * height * width * weights


@register_flop_formula(torch.ops.nas.conv_act_backward)
def _flops_backward(
    grad: list[int], x: list[int], weight: list[int], bias: Any, epilogue: str, skip: Any,
    gate_weight: list[int] | None, gate_bias: Any, needed: list[bool], **kwargs: Any,
) -> int:  # fmt: skip
    """What the plain modules' backward counts; not what is computed again."""
    count, channels, height, width = grad
    weights = (needed[0] + needed[1]) * weight[0] * weight[1] * weight[2] * weight[3]
    if gate_weight is not None:
        weights += any(needed[:3]) * gate_weight[0] * gate_weight[1]
        weights += (
            needed[4] * channels * channels
        )  # also a diagonal's: PyTorch counts it as if it were dense
    return 2 * count * height * width * weights


implement(_LIBRARY, "conv_act", _run)
implement(_LIBRARY, "conv_act_backward", _run_backward)
follow_autocast(_LIBRARY, "conv_act", lower=True)
follow_autocast(_LIBRARY, "conv_act_backward", lower=False)
torch.library.register_fake("nas::conv_act", _fake, lib=_LIBRARY)
torch.library.register_fake("nas::conv_act_backward", _fake_backward, lib=_LIBRARY)
torch.library.register_autograd("nas::conv_act", _differentiate, setup_context=_keep, lib=_LIBRARY)
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
    """A convolution that keeps height and width, with its activation or attention in one kernel.

    Differentiable once; on CUDA the result is channels_last. Without a GPU it is `reference`, as it is
    under forward AD and the transforms of torch.func, which have every derivative.

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
    """
    out: Tensor
    if transforming():
        operands = (x, weight, bias, epilogue, skip, gate_weight, gate_bias)
        return plain_form(check, reference, operands, lower=True)
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        out = _OP(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
        return out
    with (
        torch._C._AutoDispatchBelowAutograd()
    ):  # past the rule of its gradient, half of what a call costs
        out = _OP(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
        return out
