import re

import pytest
import torch

from search_spaces.layers.conv import plain_conv
from search_spaces.parts import make_block
from search_spaces.spec import BlockSpec

SCAB = {"channels": 8, "expansion": 2, "window": 8}
CASES = [("scab", SCAB), ("multi_scale_conv", {"channels": 8})]


def make(kind, in_channels, **args):
    return make_block(BlockSpec.of(kind, **args), in_channels, plain_conv)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(17, 23), (1, 1), (3, 40)])
@pytest.mark.parametrize(("kind", "args"), CASES)
def test_block_and_its_gradients_are_finite_at_any_size(kind, args, size, training):
    torch.manual_seed(0)
    block = make(kind, 8, **args).train(training)
    x = torch.randn(2, 8, *size, requires_grad=True)
    out = block(x)
    out.square().mean().backward()
    assert out.shape == x.shape
    for value in (out, x.grad, *(parameter.grad for parameter in block.parameters())):
        assert value.isfinite().all()


def test_block_adds_its_input():
    block = make("scab", 8, **SCAB)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 8, 9, 9)
    assert torch.equal(block(x), x)


def test_quarters_of_the_channels_see_as_far_as_their_shapes():
    """From a pixel: 1 up and aside, 2 up, 2 aside, twice 1."""
    conv = make("multi_scale_conv", 8, channels=8)
    torch.nn.init.dirac_(conv.pointwise.weight)
    pixel = torch.zeros(1, 8, 9, 9)
    pixel[:, :, 4, 4] = 1
    with torch.no_grad():
        seen = conv(pixel)[0].abs() > 0
    reach = [(int(c.any(1).sum()), int(c.any(0).sum())) for c in seen]
    assert reach == [(3, 3)] * 2 + [(5, 3)] * 2 + [(3, 5)] * 2 + [(5, 5)] * 2


@pytest.mark.parametrize(
    ("kind", "in_channels", "args", "message"),
    [
        (
            "scab",
            4,
            SCAB,
            "scab.channels must be those of its input, which it adds, 4, got 8; use 4",
        ),
        (
            "scab",
            6,
            SCAB | {"channels": 6},
            "scab.channels must be a multiple of 4 (it is split), got 6; use 4 or 8",
        ),
        ("scab", 8, SCAB | {"window": 7.0}, "scab.window must be a whole number, got 7.0"),
        (
            "scab",
            8,
            SCAB | {"expansion": True},
            "scab.expansion must be a whole number, got True",
        ),
        (
            "multi_scale_conv",
            3,
            {"channels": 4},
            "multi_scale_conv.channels must be those of its input, which it adds, 3",
        ),
        (
            "multi_scale_conv",
            6,
            {"channels": 6},
            "multi_scale_conv.channels must be a multiple of 4",
        ),
    ],
)
def test_block_says_what_it_cannot_take(kind, in_channels, args, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(kind, in_channels, **args)
