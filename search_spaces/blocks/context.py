"""The context: a dict in which blocks hand values to later blocks, beside their output.

A block class names what it takes and gives in its sets `reads` and `gives`. It is then called with
its input and the dict.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

Context = dict[str, Any]  # the image, maps of a block before
NONE: frozenset[str] = frozenset()


def reads_context(block: nn.Module) -> bool:
    """Return whether a block is called with its input and a `Context`."""
    return bool(getattr(block, "reads", None) or getattr(block, "gives", None))


def call(block: nn.Module, x: Tensor, context: Context | None) -> Tensor:
    """Return a block's output; it is called with the context if it reads or gives something."""
    out: Tensor = block(x, context) if reads_context(block) else block(x)
    return out


def read_and_given(blocks: Iterable[nn.Module]) -> tuple[frozenset[str], frozenset[str]]:
    """Return what blocks, in this order, read of those before them all, and give to later ones."""
    reads, gives = NONE, NONE
    for block in blocks:
        reads |= getattr(block, "reads", NONE) - gives
        # What an earlier block of the row gives is not read from outside.
        gives |= getattr(block, "gives", NONE)
    return reads, gives
