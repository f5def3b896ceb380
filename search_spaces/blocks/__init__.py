"""Block kinds by name: a spec's `kind` is looked up here, so old records can always be rebuilt."""

from collections.abc import Callable

from torch import nn

from search_spaces.blocks.conv import ConvStack, conv, depthwise
from search_spaces.blocks.spab import SPAB

BLOCKS: dict[str, Callable[..., nn.Module]] = {
    "conv": conv,
    "conv_stack": ConvStack,
    "depthwise": depthwise,
    "spab": SPAB,
}
