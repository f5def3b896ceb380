"""Activations by name."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from search_spaces.layers.tracing import is_traced


def _leaky_relu(slope: float, x: Tensor, inplace: bool) -> Tensor:
    return F.leaky_relu(x, slope, inplace=inplace)


ACTIVATIONS: dict[str, Callable[[Tensor, bool], Tensor]] = {
    "silu": lambda x, inplace: F.silu(x, inplace=inplace),
    "relu": lambda x, inplace: F.relu(x, inplace=inplace),
    "leaky_relu": functools.partial(_leaky_relu, 0.05),  # the usual slope of RFDN and its heirs
    "leaky_relu_0.1": functools.partial(_leaky_relu, 0.1),  # that of ERRN2
    "hardswish": lambda x, inplace: F.hardswish(x, inplace=inplace),
    "gelu": lambda x, inplace: F.gelu(x),
}


def check_activation(name: str) -> str:
    """Return the name of an activation if it is known.

    Raises:
        ValueError: it is not; the message lists the known ones.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r} is not known; known: {', '.join(ACTIVATIONS)}")
    return name


def activate(name: str, x: Tensor) -> Tensor:
    """Apply an activation; without gradients it overwrites its input, as the released networks do.

    A trace overwrites nothing: its graph must not depend on whether gradients are on.
    """
    # Overwriting saves one map of memory; with gradients it would break the graph.
    return ACTIVATIONS[name](x, not (torch.is_grad_enabled() or is_traced()))
