"""What the operators have in common: dtypes, transforms, autocast, and what they refuse."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd import forward_ad

DTYPES = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
LOWERED = DTYPES - {torch.float64}  # what autocast converts
_transforms_active = torch._C._are_functorch_transforms_active

# Looked up once: `is_bare` is part of each prepared launch, and each attribute costs host time.
is_compiling, is_grad_enabled = torch.compiler.is_compiling, torch.is_grad_enabled
num_modes, has_function_mode = (
    torch._C._len_torch_dispatch_stack,
    torch._C._is_torch_function_mode_enabled,
)
is_autocasting, tracing_state = torch._C._is_any_autocast_enabled, torch._C._get_tracing_state


def transforming() -> bool:
    """Return whether forward AD or a transform of torch.func is under way.

    Operators then run in their plain form, which has all derivatives. An operator has its gradient
    alone, and would drop a tangent in silence.
    """
    return forward_ad._current_level >= 0 or _transforms_active()


def is_bare(x: Tensor) -> bool:
    """Return whether a launch on x may go past the dispatcher.

    x is a CUDA tensor, and no gradient, mode, transform, trace or autocast wants to see the call.
    """
    return (
        not is_compiling()
        and not is_grad_enabled()
        and type(x) is Tensor
        and x.is_cuda
        and not num_modes()
        and not has_function_mode()
        and not is_autocasting()
        and tracing_state() is None
        and not transforming()
    )


def plain_form(
    check: Callable[..., None],
    reference: Callable[..., Tensor],
    values: tuple[Any, ...],
    *,
    lower: bool,
) -> Tensor:
    """Call an operator's plain form after its checks, in the operator's dtypes under autocast.

    Args:
        lower: as in `follow_autocast`.
    """
    # As the operator's own rule would: lower precision is chosen before dtypes are checked.
    device = next(value.device.type for value in values if isinstance(value, Tensor))
    if device in ("cpu", "cuda") and torch.is_autocast_enabled(device):
        values = in_one_dtype(device, lower, values)
    check(*values)
    return reference(*values)


def refuse_forward_ad(name: str) -> None:
    """Refuse a call of `torch.ops.nas` under forward AD; the public functions run in plain form.

    Raises:
        RuntimeError: forward AD is under way.
    """
    if forward_ad._current_level >= 0:
        raise RuntimeError(
            f"torch.ops.nas.{name} has no forward derivative; call it through nas.ops"
        )


def refuse_second_derivative(library: torch.library.Library, name: str, reference: str) -> None:
    """Register that deriving a gradient raises one line, which names the plain form.

    Args:
        name: of the operator that is a gradient.
        reference: where its plain form is.
    """

    def refuse(ctx: Any, *grads: Any) -> NoReturn:
        raise RuntimeError(
            f"{name.removesuffix('_backward')} has no second derivative; use {reference}"
        )

    torch.library.register_autograd(
        f"nas::{name}", refuse, setup_context=_keep_nothing, lib=library
    )


def implement(library: torch.library.Library, name: str, run: Callable[..., Any]) -> None:
    """Register an operator for dense tensors on the CPU and on CUDA; others raise one line."""
    # Sparse tensors and other devices fall through to the composite key.
    for key in ("CPU", "CUDA"):
        library.impl(name, run, key)  # type: ignore[no-untyped-call]
    refuse = partial(_refuse_kind, name)
    library.impl(name, refuse, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]


def follow_autocast(library: torch.library.Library, name: str, *, lower: bool) -> None:
    """Register what an operator does with its tensors' dtypes under autocast.

    Args:
        lower: convert them to the device's autocast dtype, as for a convolution; else to the widest
            of their own, as for an addition. float64 stays.
    """
    op = getattr(torch.ops.nas, name).default
    for device, key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
        call = partial(_call_in_one_dtype, op, device, lower)
        library.impl(name, call, key)  # type: ignore[no-untyped-call]


def in_one_dtype(device: str, lower: bool, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert the tensors among some values as `follow_autocast` does."""
    if lower:
        dtype = torch.get_autocast_dtype(device)
    else:
        dtypes = [value.dtype for value in values if isinstance(value, Tensor)]
        dtype = reduce(torch.promote_types, dtypes)

    return tuple(
        value.to(dtype) if isinstance(value, Tensor) and value.dtype in LOWERED else value
        for value in values
    )


def _call_in_one_dtype(op: Callable[..., Any], device: str, lower: bool, *values: Any) -> Any:
    # With autocast off: the operator is called again, and would come back here.
    with torch.autocast(device, enabled=False):
        return op(*in_one_dtype(device, lower, values))


def _refuse_kind(name: str, *values: Any) -> NoReturn:
    # The first tensor that is not dense is at fault; else all are on a device without a kernel.
    tensors = [value for value in values if isinstance(value, Tensor)]
    odd = next((value for value in tensors if value.layout is not torch.strided), tensors[0])
    raise ValueError(
        f"{name}: tensors must have the layout torch.strided and lie on the CPU or a CUDA device,"
        f" got {odd.layout} of {odd.dtype} on {odd.device}; use to_dense()"
    )


def _keep_nothing(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    pass
