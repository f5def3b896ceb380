"""The operators `nas::span_attention` and `nas::parameter_free_attention`: schema, dispatch, autograd, FLOPs.

Layout, in every backend: the result is laid out as `torch.empty_like(f)`: channels_last for channels_last,
dense where f is a slice. Gradients by x and f are laid out as `empty_like` of x and f.
"""

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from nas.ops.backend import Case, Choice, no_triton
from nas.ops.prepared import Repeat
from nas.ops.rules import (
    follow_autocast,
    implement,
    plain_form,
    refuse_forward_ad,
    refuse_second_derivative,
    transforming,
)
from nas.ops.span_attention import reference
from nas.ops.span_attention.check import check_grad, check_pair, check_span

# Lives as long as the process.
_LIBRARY = torch.library.Library("nas", "FRAGMENT")  # type: ignore[no-untyped-call]
for _schema in (
    "span_attention(Tensor x, Tensor f, Tensor weight, Tensor bias) -> Tensor",
    "span_attention_backward(Tensor grad, Tensor x, Tensor f, Tensor weight, Tensor bias)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    "parameter_free_attention(Tensor x, Tensor f) -> Tensor",
    "parameter_free_attention_backward(Tensor grad, Tensor x, Tensor f) -> (Tensor, Tensor)",
):
    _LIBRARY.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]

_SPAN = torch.ops.nas.span_attention.default
_SPAN_BACKWARD = torch.ops.nas.span_attention_backward.default
_FREE = torch.ops.nas.parameter_free_attention.default
_FREE_BACKWARD = torch.ops.nas.parameter_free_attention_backward.default


def span_attention(x: Tensor, f: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(x + f) * (W f + b): SPANV2's attention in one pass over x and f.

    Args:
        x: (N, C, H, W), any layout.
        f: of x's shape, dtype and device; the result has its layout.
        weight: (C, C, 1, 1).
        bias: (C,).
    Raises:
        ValueError, TypeError: a shape or device, or a dtype, does not fit.
        nas.ops.backend.BackendError: the backend that was set by name cannot serve.
    """
    if transforming():
        return plain_form(check_span, reference.span_attention, (x, f, weight, bias), lower=True)
    return _call(_SPAN, x, f, weight, bias)


def parameter_free_attention(x: Tensor, f: Tensor) -> Tensor:
    """(x + f) * (sigmoid(f) - 0.5): SPAN's attention in one pass over x and f.

    Args:
        x: (N, C, H, W), any layout.
        f: of x's shape, dtype and device; the result has its layout.
    Raises:
        ValueError, TypeError: a shape or device, or a dtype, does not fit.
        nas.ops.backend.BackendError: the backend that was set by name cannot serve.
    """
    if transforming():
        return plain_form(check_pair, reference.parameter_free_attention, (x, f), lower=False)
    return _call(_FREE, x, f)


def _call(op: Any, *tensors: Tensor) -> Tensor:
    """Call an operator; without gradients past its autograd rule, which costs more than all the rest."""
    result: Tensor
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        result = op(*tensors)
        return result
    with torch._C._AutoDispatchBelowAutograd():
        result = op(*tensors)
        return result


@cache
def _kernels(backend: str) -> Any:
    """The module of a backend's kernels, loaded when first used: it may need Triton or nvcc."""
    return importlib.import_module(f"nas.ops.span_attention.{backend}")


_CHOICES: dict[str, Choice] = {}


def prepare(
    name: str, x: Tensor, f: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
) -> Repeat | None:
    """The launch of a call of an operator that has just been made, to be made again; None: there is none."""
    backend = _CHOICES[name].pick(f.device, (f.shape[1], f.dtype))
    found: Repeat | None = (
        _kernels(backend).prepare(x, f, weight, bias) if backend != "reference" else None
    )
    return found


def _register(
    name: str,
    place: int,
    check: Callable[..., None],
    plain: Callable[..., Any],
    backends: tuple[str, ...],
) -> None:
    """Implement an operator; `place` is where f stands among its arguments."""

    def probe(backend: str) -> Callable[[torch.device, Case], str | None]:
        def ask(device: torch.device, case: Case) -> str | None:
            if backend == "triton" and (missing := no_triton(device)):
                return missing
            found: str | None = _kernels(backend).why_not(name, device, case)
            return found

        return ask

    choice = _CHOICES[name] = Choice(name, {backend: probe(backend) for backend in backends})
    kernels: dict[str, Callable[..., Any]] = {"reference": plain}

    def run(*tensors: Tensor) -> Any:
        refuse_forward_ad(name)
        check(*tensors)
        f = tensors[place]
        backend = choice.pick(f.device, (f.shape[1], f.dtype))
        if backend not in kernels:
            kernels[backend] = getattr(_kernels(backend), f"{name}_forward" if place == 1 else name)
        return kernels[backend](*tensors)

    implement(_LIBRARY, name, run)
    follow_autocast(_LIBRARY, name, lower=name == "span_attention")


def _check_span_backward(grad: Tensor, x: Tensor, f: Tensor, weight: Tensor, bias: Tensor) -> None:
    check_span(x, f, weight, bias)
    check_grad(grad, f)


def _check_free_backward(grad: Tensor, x: Tensor, f: Tensor) -> None:
    check_pair(x, f)
    check_grad(grad, f)


_register("span_attention", 1, check_span, reference.span_attention_forward, ("cuda", "triton"))
_register(
    "span_attention_backward",
    2,
    _check_span_backward,
    reference.span_attention_backward,
    ("triton",),
)
_register(
    "parameter_free_attention",
    1,
    check_pair,
    reference.parameter_free_attention_forward,
    ("cuda", "triton"),
)
_register(
    "parameter_free_attention_backward",
    2,
    _check_free_backward,
    reference.parameter_free_attention_backward,
    ("triton",),
)


def _fake_span(x: Tensor, f: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    check_span(x, f, weight, bias)
    return torch.empty_like(f)


def _fake_span_backward(
    grad: Tensor, x: Tensor, f: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check_span_backward(grad, x, f, weight, bias)
    return (
        torch.empty_like(x),
        torch.empty_like(f),
        torch.empty_like(weight),
        torch.empty_like(bias),
    )


def _fake_free(x: Tensor, f: Tensor) -> Tensor:
    check_pair(x, f)
    return torch.empty_like(f)


def _fake_free_backward(grad: Tensor, x: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    _check_free_backward(grad, x, f)
    return torch.empty_like(x), torch.empty_like(f)


for _name, _fake in (
    ("span_attention", _fake_span),
    ("span_attention_backward", _fake_span_backward),
    ("parameter_free_attention", _fake_free),
    ("parameter_free_attention_backward", _fake_free_backward),
):
    torch.library.register_fake(f"nas::{_name}", _fake, lib=_LIBRARY)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate_span(ctx: Any, grad: Tensor) -> Any:
    return _SPAN_BACKWARD(grad, *ctx.saved_tensors)


def _differentiate_free(ctx: Any, grad: Tensor) -> Any:
    return _FREE_BACKWARD(grad, *ctx.saved_tensors)


for _name in ("span_attention_backward", "parameter_free_attention_backward"):
    refuse_second_derivative(_LIBRARY, _name, "nas.ops.span_attention.reference")
torch.library.register_autograd(
    "nas::span_attention", _differentiate_span, setup_context=_keep, lib=_LIBRARY
)
torch.library.register_autograd(
    "nas::parameter_free_attention", _differentiate_free, setup_context=_keep, lib=_LIBRARY
)


@register_flop_formula(torch.ops.nas.span_attention)
def _(
    x: Any, f: Any, weight: Any, bias: Any, *args: Any, out_shape: Any = None, **kwargs: Any
) -> int:
    num, channels, height, width = f
    return int(2 * channels * channels * num * height * width)


@register_flop_formula(torch.ops.nas.span_attention_backward)
def _(
    grad: Any,
    x: Any,
    f: Any,
    weight: Any,
    bias: Any,
    *args: Any,
    out_shape: Any = None,
    **kwargs: Any,
) -> int:
    """What the plain form's backward counts, W^T dgate and dW; not the gate, which is computed again."""
    num, channels, height, width = f
    return int(4 * channels * channels * num * height * width)


@register_flop_formula(
    [torch.ops.nas.parameter_free_attention, torch.ops.nas.parameter_free_attention_backward]
)
def _(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 0
