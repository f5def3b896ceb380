"""The operators nas::span_attention and nas::parameter_free_attention: schema, dispatch, gradient.

In every backend the result is laid out as `torch.empty_like(f)`: channels_last for channels_last,
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
    """Return (x + f) * (W f + b), SPANV2's attention, in one pass over x and f.

    Args:
        x: (N, C, H, W), any layout.
        f: of x's shape, dtype and device; the result has its layout.
        weight: (C, C, 1, 1).
        bias: (C,).
    Raises:
        ValueError, TypeError: a shape or device, or a dtype, does not fit.
        nas.ops.backend.BackendError: the backend that was set by name cannot serve.
    Example:
        >>> x, weight, bias = torch.ones(1, 2, 1, 1), torch.ones(2, 2, 1, 1), torch.ones(2)
        >>> span_attention(x, x, weight, bias).flatten().tolist()
        [6.0, 6.0]
    """
    # Only the plain form has the derivatives that forward AD and torch.func ask for.
    if transforming():
        return plain_form(check_span, reference.span_attention, (x, f, weight, bias), lower=True)
    return _call_operator(_SPAN, x, f, weight, bias)


def parameter_free_attention(x: Tensor, f: Tensor) -> Tensor:
    """Return (x + f) * (sigmoid(f) - 0.5), SPAN's attention, in one pass over x and f.

    Args:
        x: (N, C, H, W), any layout.
        f: of x's shape, dtype and device; the result has its layout.
    Raises:
        ValueError, TypeError: a shape or device, or a dtype, does not fit.
        nas.ops.backend.BackendError: the backend that was set by name cannot serve.
    Example:
        >>> x, f = torch.ones(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)
        >>> parameter_free_attention(x, f).flatten().tolist()
        [0.0, 0.0]
    """
    if transforming():
        return plain_form(check_pair, reference.parameter_free_attention, (x, f), lower=False)
    return _call_operator(_FREE, x, f)


def _call_operator(op: Any, *tensors: Tensor) -> Tensor:
    """Call an operator, without gradients past autograd's rule, which costs more than the rest."""
    result: Tensor
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        result = op(*tensors)
        return result
    with torch._C._AutoDispatchBelowAutograd():
        result = op(*tensors)
        return result


@cache
def _load_kernels(backend: str) -> Any:
    """Load the module of a backend's kernels when it is first used: it may need Triton or nvcc."""
    return importlib.import_module(f"nas.ops.span_attention.{backend}")


# By operator, filled by `_register_operator`.
_CHOICES: dict[str, Choice] = {}


def prepare(
    name: str, x: Tensor, f: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
) -> Repeat | None:
    """Return a repeat of the launch of a call that has just been made.

    None: the plain form ran, or a launch that copies a map.
    """
    backend = _CHOICES[name].pick(f.device, (f.shape[1], f.dtype))
    if backend == "reference":
        return None
    repeat: Repeat | None = _load_kernels(backend).prepare(x, f, weight, bias)
    return repeat


def _register_operator(
    name: str,
    place: int,
    check: Callable[..., None],
    plain: Callable[..., Any],
    backends: tuple[str, ...],
) -> None:
    """Implement an operator by its plain form and the kernels of its backends.

    Args:
        place: of f among the operator's arguments.
        plain: of `reference`.
    """

    def probe(backend: str) -> Callable[[torch.device, Case], str | None]:
        def ask(device: torch.device, case: Case) -> str | None:
            if backend == "triton" and (missing := no_triton(device)):
                return missing
            reason: str | None = _load_kernels(backend).why_not(name, device, case)
            return reason

        return ask

    # Kernels are looked up at the first call that a backend serves, when it is loaded.
    choice = _CHOICES[name] = Choice(name, {backend: probe(backend) for backend in backends})
    kernels: dict[str, Callable[..., Any]] = {"reference": plain}

    def run(*tensors: Tensor) -> Any:
        refuse_forward_ad(name)
        check(*tensors)
        f = tensors[place]
        backend = choice.pick(f.device, (f.shape[1], f.dtype))
        if backend not in kernels:
            kernels[backend] = getattr(
                _load_kernels(backend), f"{name}_forward" if place == 1 else name
            )
        return kernels[backend](*tensors)

    # Autocast lowers span_attention alone, for its convolution; gradients come in lowered dtypes.
    implement(_LIBRARY, name, run)
    follow_autocast(_LIBRARY, name, lower=name == "span_attention")


def _check_span_backward(grad: Tensor, x: Tensor, f: Tensor, weight: Tensor, bias: Tensor) -> None:
    check_span(x, f, weight, bias)
    check_grad(grad, f)


def _check_free_backward(grad: Tensor, x: Tensor, f: Tensor) -> None:
    check_pair(x, f)
    check_grad(grad, f)


_register_operator(
    "span_attention", 1, check_span, reference.span_attention_forward, ("cuda", "triton")
)
# Gradients have no CUDA kernel: where `cuda` is set, they run as under `auto`.
_register_operator(
    "span_attention_backward",
    2,
    _check_span_backward,
    reference.span_attention_backward,
    ("triton",),
)
_register_operator(
    "parameter_free_attention",
    1,
    check_pair,
    reference.parameter_free_attention_forward,
    ("cuda", "triton"),
)
_register_operator(
    "parameter_free_attention_backward",
    2,
    _check_free_backward,
    reference.parameter_free_attention_backward,
    ("triton",),
)


# Fakes tell torch.compile and torch.export the results' shapes and layouts, without computing.
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


def _save_operands(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate_span(ctx: Any, grad: Tensor) -> Any:
    return _SPAN_BACKWARD(grad, *ctx.saved_tensors)


def _differentiate_free(ctx: Any, grad: Tensor) -> Any:
    return _FREE_BACKWARD(grad, *ctx.saved_tensors)


# Each operator has one derivative; a second one raises a line that names the plain form.
for _name in ("span_attention_backward", "parameter_free_attention_backward"):
    refuse_second_derivative(_LIBRARY, _name, "nas.ops.span_attention.reference")
torch.library.register_autograd(
    "nas::span_attention", _differentiate_span, setup_context=_save_operands, lib=_LIBRARY
)
torch.library.register_autograd(
    "nas::parameter_free_attention", _differentiate_free, setup_context=_save_operands, lib=_LIBRARY
)


@register_flop_formula(torch.ops.nas.span_attention)
def _count_span_flops(
    x: Any, f: Any, weight: Any, bias: Any, *args: Any, out_shape: Any = None, **kwargs: Any
) -> int:
    num, channels, height, width = f
    return int(2 * channels * channels * num * height * width)


@register_flop_formula(torch.ops.nas.span_attention_backward)
def _count_span_backward_flops(
    grad: Any, x: Any, f: Any, weight: Any, bias: Any, *args: Any, out_shape: Any = None,
    **kwargs: Any,
) -> int:  # fmt: skip
    """Count W^T dgate and dW, as the plain form's backward does; not the gate, computed again."""
    num, channels, height, width = f
    return int(4 * channels * channels * num * height * width)


@register_flop_formula(
    [torch.ops.nas.parameter_free_attention, torch.ops.nas.parameter_free_attention_backward]
)
def _count_no_flops(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 0
