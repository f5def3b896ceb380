import re

import pytest
import torch

from search_spaces.layers.conv import plain_conv
from search_spaces.parts import make_block
from search_spaces.spec import BlockSpec

ACB = {"channels": 6, "expansion": 2, "window": 8}
CASES = [("acb", ACB), ("local_distillation", {"channels": 6})]


def make(kind, in_channels, **args):
    return make_block(BlockSpec.of(kind, **args), in_channels, plain_conv)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(17, 23), (1, 1), (3, 40)])
@pytest.mark.parametrize(("kind", "args"), CASES)
def test_block_and_its_gradients_are_finite_at_any_size(kind, args, size, training):
    torch.manual_seed(0)
    block = make(kind, 6, **args).train(training)
    x = torch.randn(2, 6, *size, requires_grad=True)
    out = block(x)
    out.square().mean().backward()
    assert out.shape == x.shape
    for value in (out, x.grad, *(parameter.grad for parameter in block.parameters())):
        assert value.isfinite().all()


def test_block_adds_its_input():
    block = make("acb", 6, **ACB)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 6, 9, 9)
    assert torch.equal(block(x), x)


def test_last_distilled_feature_is_made_of_two_inputs_each():
    last = make("local_distillation", 6, channels=6).last
    assert last.weight.shape == (3, 2, 3, 3)


@pytest.mark.parametrize(
    ("kind", "in_channels", "args", "message"),
    [
        ("acb", 8, ACB, "acb.channels must be those of its input, which it adds, 8, got 6; use 8"),
        (
            "acb",
            5,
            ACB | {"channels": 5},
            "acb.channels must be a multiple of 2 (it is split), got 5; use 4 or 6",
        ),
        (
            "acb",
            6,
            ACB | {"window": 0},
            "acb.window must be a whole number of at least 1, got 0; such as 72",
        ),
        ("acb", 6, ACB | {"expansion": 1.5}, "acb.expansion must be a whole number, got 1.5"),
        (
            "local_distillation",
            8,
            {"channels": 6},
            "local_distillation.channels must be those of its input, which it adds, 8",
        ),
        (
            "local_distillation",
            7,
            {"channels": 7},
            "local_distillation.channels must be a multiple of 2",
        ),
        ("acb", 6, {"channels": 6}, "missing ['expansion', 'window'], unknown []"),
    ],
)
def test_block_says_what_it_cannot_take(kind, in_channels, args, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(kind, in_channels, **args)
