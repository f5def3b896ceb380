"""The smaller and the larger of two sizes.

In a trace they stay symbols, where min and max would decide.
"""

from typing import Any

import torch

_min: Any = torch.sym_min
_max: Any = torch.sym_max


def smaller(a: int | torch.SymInt, b: int) -> int:
    """Return the smaller size."""
    size: int = _min(a, b) if isinstance(a, torch.SymInt) else min(a, b)
    return size


def larger(a: int | torch.SymInt, b: int) -> int:
    """Return the larger size."""
    size: int = _max(a, b) if isinstance(a, torch.SymInt) else max(a, b)
    return size
