import dataclasses

import pytest
import torch

from search_spaces import ArchSpec, BlockSpec, build
from search_spaces.layers.conv import plain_conv
from search_spaces.parts import make_block


def group(*blocks, **changes):
    spec = BlockSpec.of("group", **{"kernel": 3, "bias": True, "attention": "none", **changes})
    return dataclasses.replace(spec, blocks=blocks)


CONV = BlockSpec.of("conv", channels=6, kernel=3, bias=True)


def test_group_is_its_blocks_a_convolution_and_the_residual():
    made = make_block(group(CONV, CONV, kernel=1), 6, plain_conv)
    x = torch.randn(1, 6, 17, 23)
    with torch.no_grad():
        torch.testing.assert_close(made(x), made.conv(made.blocks[1](made.blocks[0](x))) + x)
    assert made.conv.kernel_size == (1, 1)


def test_convolutions_of_a_group_have_the_training_form():
    spec = ArchSpec(
        scale=2,
        normalise=False,
        stem=CONV,
        blocks=(group(CONV, group(CONV)),),
        taps=("block1",),
        fusion=CONV,
        upsampler=BlockSpec.of("pixel_shuffle", kernel=3, bias=True),
        train_form=BlockSpec.of("conv3xc", gain=2),
    )
    assert ArchSpec.from_json(spec.to_json()) == spec
    torch.manual_seed(0)
    net, x = build(spec, train=True), torch.rand(1, 3, 17, 23)
    with torch.no_grad():
        torch.testing.assert_close(net.fold()(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (group(), r"group.blocks must hold at least one block, got none"),
        (group(CONV, attention="cbam"), r"'cbam' is not known; known: none"),
    ],
)
def test_what_does_not_fit_is_named(spec, message):
    with pytest.raises(ValueError, match=message):
        make_block(spec, 6, plain_conv)
