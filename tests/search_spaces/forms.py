"""Every training form, for the tests that hold for all of them."""

import torch
from torch import nn

from search_spaces.reparam import TrainingConv
from search_spaces.spec import BlockSpec

FORMS = {
    "asymmetric": BlockSpec.of("asymmetric"),
    "conv3xc": BlockSpec.of("conv3xc", gain=2),
    "conv3xc_1": BlockSpec.of("conv3xc", gain=1),
    "erb": BlockSpec.of("erb", ratio=2),
    "erb_1": BlockSpec.of("erb", ratio=1),
    "lora": BlockSpec.of("lora", rank=2, alpha=3.0, frozen=False),
    "lora_frozen": BlockSpec.of("lora", rank=3, alpha=3, frozen=True),
    "mbrb": BlockSpec.of("mbrb", expansion=2),
    "repvgg": BlockSpec.of("repvgg"),
}
FORMS["sum"] = BlockSpec(kind="sum", args=(), blocks=(FORMS["erb"], FORMS["mbrb"]))
FORMS["sum_of_sum"] = BlockSpec(
    kind="sum", args=(), blocks=(FORMS["lora"], FORMS["sum"], FORMS["conv3xc_1"])
)
SHAPES = [(3, 5, 3, True), (4, 4, 3, False), (4, 4, 3, True), (6, 2, 5, True), (3, 3, 5, False)]


def draw(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random numbers in every parameter, also in those that start at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) / 2
            )
    return module


def form_conv(form, in_channels, channels, kernel, bias):
    """A convolution in a training form, in float64, with random branches."""
    make = TrainingConv(FORMS[form])
    return draw(make(in_channels, channels, kernel=kernel, bias=bias).double())
