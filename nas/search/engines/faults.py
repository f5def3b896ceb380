"""Whose fault it is that a task failed, by what its method raised."""

import torch

from nas.search.engines.base import Fault
from nas.system.faults import ArchitectureError

# What allocators of PyTorch, CUDA and its libraries say; most raise a RuntimeError like any other.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def find_fault(error: Exception) -> Fault:
    """Return whose fault an exception is; what nobody foresaw is the machine's.

    Example:
        >>> find_fault(ArchitectureError("it cannot be built"))
        'architecture'
        >>> find_fault(RuntimeError("CUDA error: out of memory"))
        'memory'
        >>> find_fault(FileNotFoundError("data/1.png"))
        'machine'
    """
    if isinstance(error, ArchitectureError):
        return "architecture"
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return "memory"
    if isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in OUT_OF_MEMORY
    ):
        return "memory"
    return "machine"
