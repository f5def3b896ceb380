"""A small wavelet block whose every parameter has an effect, as after some training."""

from typing import Any

import torch
from torch import nn

from search_spaces.blocks.dwmamba.wavelet import Wavelet
from search_spaces.layers.conv import plain_conv

SIZES = {
    "window": 4,
    "shift": 2,
    "num_heads": 2,
    "hidden": 10,
    "inner": 12,
    "d_state": 3,
    "num_classes": 5,
    "rank": 6,
}


def wavelet(channels: int = 8, **changes: Any) -> Wavelet:
    """In evaluation, without noise."""
    arguments = {"channels": channels, **SIZES, "noise": False, **changes}
    return Wavelet(channels, **arguments, make_conv=plain_conv).eval()


def trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with parameters that are drawn anew, those that start at zero too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return module
