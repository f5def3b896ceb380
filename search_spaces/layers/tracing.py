"""Return whether torch.jit.trace records: with gradients on.

It checks with them off, and wants one graph.
"""

import torch


def is_traced() -> bool:
    """Return whether torch.jit.trace records what runs now."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
