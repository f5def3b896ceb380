"""Whether what runs is recorded: as a trace, or as a graph whose sizes are symbols."""

import torch
from torch import Tensor


def is_traced() -> bool:
    """Return whether torch.jit.trace records what runs now, with gradients on.

    It checks with them off, and wants one graph.
    """
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def has_symbols(x: Tensor) -> bool:
    """Return whether height or width of (N, C, H, W) are symbols, as torch.export has them.

    A decision on a symbol would hold for one size only, so the graph must not take any.
    """
    return any(isinstance(side, torch.SymInt) for side in x.shape[2:])
