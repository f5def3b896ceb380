import re

import pytest
import torch

from search_spaces import BlockSpec, build
from search_spaces.blocks import BLOCKS
from search_spaces.blocks.context import reads_context
from search_spaces.layers.attention.esa import ESA
from tests.search_spaces.blocks.members import SPAB, group, hab, made, member, shab, spab

IMAGE_SPAB = {"kind": "image_spab", "channels": 16, "kernel": 5} | SPAB


@pytest.mark.parametrize("kernel", [1, 3])
def test_group_is_a_convolution_after_its_blocks_and_a_residual(kernel):
    block = made(group(spab(24), spab(16), kernel=kernel), 16)
    x = torch.randn(2, 16, 9, 10)
    inner = block.blocks[1](block.blocks[0](x))
    torch.testing.assert_close(block(x), block.conv(inner) + x)
    assert block.conv.kernel_size == (kernel, kernel)
    assert not reads_context(block)


def test_attention_is_over_the_sum():
    block = made(group(spab(48), attention="esa"), 48)
    assert isinstance(block.attention, ESA)
    assert block.attention.reduce.out_channels == 16
    x = torch.randn(2, 48, 16, 17)
    torch.testing.assert_close(block(x), block.attention(block.conv(block.blocks[0](x)) + x))


@pytest.mark.parametrize(
    ("blocks", "reads", "gives"),
    [
        ([spab()], set(), set()),
        ([hab(), shab()], set(), {"maps"}),
        ([shab(), hab()], {"maps"}, {"maps"}),
        ([shab(), IMAGE_SPAB], {"maps", "image"}, set()),
        ([group(hab()), group(shab())], set(), {"maps"}),
    ],
)
def test_group_reads_and_gives_what_its_blocks_do(blocks, reads, gives):
    block = made(group(*blocks), 16)
    assert (block.reads, block.gives) == (reads, gives)
    assert set(block.sample_context(torch.randn(1, 16, 8, 8))) == reads
    assert reads_context(block) == bool(reads | gives)


def test_context_of_the_network_reaches_the_blocks_inside():
    torch.manual_seed(0)
    flat, nested = build(member(spab(), IMAGE_SPAB)), build(member(group(spab(), IMAGE_SPAB)))
    for i, block in enumerate(flat.blocks.values()):
        nested.blocks["1"].blocks[i].load_state_dict(block.state_dict())
    x = torch.rand(1, 3, 9, 10)
    stem = nested.stem(x)
    context = {"image": x}
    inner = flat.blocks["2"](flat.blocks["1"](stem), context)
    torch.testing.assert_close(
        nested.blocks["1"](stem, context), nested.blocks["1"].conv(inner) + stem
    )
    assert nested(x).shape == (1, 3, 18, 20)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (group(), "group.blocks must hold at least one block, got none; such as a spab"),
        (group(spab(), attention="se"), "group.attention 'se' is not known; known: none, esa"),
        (group(spab(24)), "group.blocks must keep the width, got 16 -> 24 channels"),
    ],
)
def test_what_does_not_fit_is_refused(data, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        made(data, 16)


def test_other_kinds_hold_no_blocks():
    data = spab() | {"blocks": [spab()]}
    with pytest.raises(ValueError, match="block 'spab' holds no blocks; a group does"):
        build(member(data))
    assert "group" in BLOCKS
    assert BlockSpec.from_dict(group(spab())).blocks[0].kind == "spab"
