"""Block kinds by name: a spec's `kind` is looked up here, so old records can always be rebuilt."""

from collections.abc import Callable

from torch import nn

from search_spaces.blocks.acb import ACB, LocalDistillation
from search_spaces.blocks.chain import ResidualChain
from search_spaces.blocks.conv import ActivatedConv, ConvStack, conv, depthwise, identity
from search_spaces.blocks.rfdb import RFDB
from search_spaces.blocks.scab import SCAB, MultiScaleConv
from search_spaces.blocks.spab import SPAB, ImageSPAB

BLOCKS: dict[str, Callable[..., nn.Module]] = {
    "acb": ACB,
    "activated_conv": ActivatedConv,
    "conv": conv,
    "conv_stack": ConvStack,
    "depthwise": depthwise,
    "identity": identity,
    "image_spab": ImageSPAB,
    "local_distillation": LocalDistillation,
    "multi_scale_conv": MultiScaleConv,
    "residual_chain": ResidualChain,
    "rfdb": RFDB,
    "scab": SCAB,
    "spab": SPAB,
}
