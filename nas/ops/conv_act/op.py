"""The operator nas::conv_act: its schema, its implementations, its gradient and what it costs."""

import importlib
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

from nas.ops.backend import Case, Choice, no_triton
from nas.ops.conv_act.check import check
from nas.ops.conv_act.pixels import empty_map
from nas.ops.conv_act.reference import reference

_LIBRARY = torch.library.Library("nas", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define(  # type: ignore[no-untyped-call]
    "conv_act(Tensor x, Tensor weight, Tensor? bias, str epilogue, Tensor? skip, "
    "Tensor? gate_weight, Tensor? gate_bias) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


_OP = torch.ops.nas.conv_act.default


def _why_no_triton(device: torch.device, case: Case) -> str | None:
    if missing := no_triton(device):
        return missing
    if not isinstance(case, tuple):
        return None
    found: str | None = _kernels().why_not(*case)
    return found


@cache
def _kernels() -> Any:
    """The Triton launcher, loaded when first used."""
    return importlib.import_module("nas.ops.conv_act.triton")


_CHOICE = Choice("conv_act", {"triton": _why_no_triton})


def backend_of(device: torch.device, channels: int, dtype: torch.dtype, epilogue: str) -> str:
    """Name the backend that serves a case there: `triton` or `reference`."""
    return _CHOICE.pick(device, (channels, dtype, epilogue))


def _run(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
) -> Tensor:
    check(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
    backend = backend_of(x.device, weight.shape[0], weight.dtype, epilogue)
    run = reference if backend == "reference" else _kernels().forward
    out: Tensor = run(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
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


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The convolution is computed again; what it needs is kept anyhow, its result would be one map more."""
    needed = [flag for i, flag in enumerate(ctx.needs_input_grad) if i != 3]
    with torch.enable_grad():
        held = [
            value.detach().requires_grad_(flag) if value is not None else None
            for value, flag in zip(ctx.saved_tensors, needed, strict=True)
        ]
        x, weight, bias, *rest = held
        assert x is not None
        assert weight is not None
        out = reference(x, weight, bias, ctx.epilogue, *rest)
    wanted = [value for value in held if value is not None and value.requires_grad]
    found = iter(torch.autograd.grad(out, wanted, grad))
    grads = [next(found) if value is not None and value.requires_grad else None for value in held]
    return (*grads[:3], None, *grads[3:])


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


_LIBRARY.impl("conv_act", _run, "CPU")  # type: ignore[no-untyped-call]
_LIBRARY.impl("conv_act", _run, "CUDA")  # type: ignore[no-untyped-call]
torch.library.register_fake("nas::conv_act", _fake, lib=_LIBRARY)
torch.library.register_autograd("nas::conv_act", _backward, setup_context=_keep, lib=_LIBRARY)


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

    Differentiable; on CUDA the result is channels_last. Without a GPU it is `reference`.

    Args:
        x: (N, Cin, H, W), floating point, any strides.
        weight: (C, Cin, k, k), k odd.
        bias: (C,).
        epilogue: one of `EPILOGUES`; see `reference` for their meaning.
        skip: (N, C, H, W), for attentions alone.
        gate_weight: (C, C, 1, 1) for `conv1x1`, (C, 1, 1, 1) for `diagonal`.
        gate_bias: (C,), for both.

    Returns:  (N, C, H, W).
    Raises:   ValueError, TypeError, RuntimeError: see `check`.
    """
    out: Tensor
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        out = _OP(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
        return out
    with torch._C._AutoDispatchBelowAutograd():  # past the rule of its gradient, half of what a call costs
        out = _OP(x, weight, bias, epilogue, skip, gate_weight, gate_bias)
        return out
