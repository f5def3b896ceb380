"""What blocks hand to later blocks beside their output: they read it from a dict of names, or write
it there.

A block class says so with `reads` and `gives`, sets of names, and is then called with its input and
the dict.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

Context = dict[str, Any]  # the image, maps of a block before
NONE: frozenset[str] = frozenset()


def reads_context(block: nn.Module) -> bool:
    """Whether a block is called with its input and a `Context`, from which it reads or to which it
    gives.
    """
    return bool(getattr(block, "reads", None) or getattr(block, "gives", None))


def call(block: nn.Module, x: Tensor, context: Context | None) -> Tensor:
    """Run a block, with the context if it wants one."""
    out: Tensor = block(x, context) if reads_context(block) else block(x)
    return out


def read_and_given(blocks: Iterable[nn.Module]) -> tuple[frozenset[str], frozenset[str]]:
    """What blocks that run in this order read of those before them all, and what they give to later
    ones.
    """
    reads, gives = NONE, NONE
    for block in blocks:
        reads |= getattr(block, "reads", NONE) - gives
        gives |= getattr(block, "gives", NONE)
    return reads, gives
