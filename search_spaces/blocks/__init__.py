"""Block kinds by name: a spec's `kind` is looked up here, so old records can always be rebuilt."""

from collections.abc import Callable

from torch import nn

from search_spaces.blocks.acb import ACB, LocalDistillation
from search_spaces.blocks.chain import ResidualChain
from search_spaces.blocks.conv import ActivatedConv, ConvStack, conv, depthwise, identity
from search_spaces.blocks.dwmamba.wavelet import Wavelet
from search_spaces.blocks.group import Group
from search_spaces.blocks.haesr.hab import HAB, SHAB
from search_spaces.blocks.hfeb import HFEB
from search_spaces.blocks.mhcb import MHCB
from search_spaces.blocks.norm import LayerNorm
from search_spaces.blocks.rfdb import RFDB
from search_spaces.blocks.safm import SAFMBlock
from search_spaces.blocks.scab import SCAB, MultiScaleConv
from search_spaces.blocks.spab import SPAB, ImageSPAB

BLOCKS: dict[str, Callable[..., nn.Module]] = {
    "acb": ACB,
    "activated_conv": ActivatedConv,
    "conv": conv,
    "conv_stack": ConvStack,
    "depthwise": depthwise,
    "group": Group,
    "hab": HAB,
    "hfeb": HFEB,
    "identity": identity,
    "image_spab": ImageSPAB,
    "layer_norm": LayerNorm,
    "local_distillation": LocalDistillation,
    "mhcb": MHCB,
    "multi_scale_conv": MultiScaleConv,
    "residual_chain": ResidualChain,
    "rfdb": RFDB,
    "safm": SAFMBlock,
    "scab": SCAB,
    "shab": SHAB,
    "spab": SPAB,
    "wavelet": Wavelet,
}
