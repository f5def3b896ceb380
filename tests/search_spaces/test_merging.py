"""Merged networks compute what they were made of: everywhere, or all but near the border, and cost
less.
"""

import dataclasses
import random

import pytest
import torch

from nas.measure.cost import summed_cost
from search_spaces import ArchSpec, BlockSpec, build, published
from search_spaces.chooser import RandomChooser
from search_spaces.merging import compose, merge_linear
from search_spaces.published import names
from tests.search_spaces.spaces import SPACES, make_space


def drawn(spec, seed=0):
    torch.manual_seed(seed)
    net = build(spec).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net


def outputs(*nets):
    image = torch.rand(
        1, 3, 60, 56, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        return [net(image) for net in nets]


def assert_same(net, other):
    wanted, found = outputs(net, other)
    assert (wanted - found).abs().max() <= 1e-10 * wanted.abs().max()


@pytest.mark.parametrize(("inner", "outer"), [(3, 3), (1, 3), (3, 1), (5, 3)])
def test_composed_kernel_is_one_convolution_after_the_other(inner, outer):
    first = torch.randn(4, 2, inner, inner, dtype=torch.float64)
    second = torch.randn(3, 4, outer, outer, dtype=torch.float64)
    x = torch.randn(1, 2, 12, 11, dtype=torch.float64)
    wanted = torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, first), second)
    torch.testing.assert_close(torch.nn.functional.conv2d(x, compose(first, second)), wanted)


def test_dscf_becomes_what_varh_ai_made_of_it():
    net = drawn(published("dscf"))
    merged, steps = merge_linear(net)
    assert merged.spec.arch_id == published("dscf_fused").arch_id
    assert [step.exact for step in steps] == [True, False]
    assert (
        str(steps[0])
        == "block7 and its part of the fusion are one 3x3 convolution of block6: the same"
    )
    assert str(steps[1]).endswith(
        "convolution of the image: differs there within 1 LR pixel of the border"
    )
    wanted, found = outputs(net, merged)
    edge = (wanted - found).abs()
    inside = edge[:, :, 4 * 22 : -4 * 22, 4 * 22 : -4 * 22]
    assert inside.max() < 1e-10 * wanted.abs().max()
    assert edge.max() > 1e-6 * wanted.abs().max()


def test_exact_merging_of_dscf_leaves_its_start():
    net = drawn(published("dscf"))
    merged, steps = merge_linear(net, exact=True)
    assert [step.exact for step in steps] == [True]
    assert merged.spec.blocks[0].kind == "spab"
    assert_same(net, merged)


@pytest.mark.parametrize("name", names())
def test_exact_merging_keeps_the_function_of_every_published_network(name):
    net = drawn(published(name))
    merged, steps = merge_linear(net, exact=True)
    if not steps:
        assert merged is net
        return
    assert_same(net, merged)


@pytest.mark.parametrize("name", SPACES)
def test_merging_costs_less_and_goes_as_far_as_it_can(name):
    space = make_space(name)
    for seed in range(10):
        net = drawn(space.sample(RandomChooser(random.Random(seed))))
        merged, steps = merge_linear(net)
        assert merge_linear(merged) == (merged, ())
        before, after = summed_cost(net.spec), summed_cost(merged.spec)
        assert (after["flops"] < before["flops"]) == bool(steps)
        exact, few = merge_linear(net, exact=True)
        if few:
            assert_same(net, exact)


@pytest.mark.parametrize("bias", [True, False])
def test_fusion_and_upsampler_are_one_convolution(bias):
    """With a bias between them the border differs: what is padded there is zero, not the bias."""
    last = dataclasses.replace(
        published("spanf"), taps=("block5",), skip=None,
        fusion=BlockSpec.of("conv", channels=32, kernel=1, bias=bias),
    )  # fmt: skip
    net = drawn(last)
    merged, (step,) = merge_linear(net)
    assert (step.exact, step.border) == ((True, 0) if not bias else (False, 1))
    wanted, found = outputs(net, merged)
    torch.testing.assert_close(
        found[:, :, 4:-4, 4:-4], wanted[:, :, 4:-4, 4:-4], rtol=1e-10, atol=1e-10
    )
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-10) != bias


CONV = {"kind": "conv", "channels": 16, "kernel": 3, "bias": True}
ACTIVATED = CONV | {"kind": "activated_conv", "activation": "relu"}
SPAB = {"kind": "spab", "channels": 16, "activation": "silu", "attention": "none", "bias": True}
CHAIN = SPAB | {"kind": "conv_stack", "activate_last": False}
del CHAIN["attention"]
PLAIN = {
    "scale": 4, "normalise": True, "stem": ACTIVATED, "blocks": [SPAB], "taps": ["block1"],
    "fusion": {"kind": "identity"}, "upsampler": {"kind": "pixel_shuffle", "kernel": 3, "bias": True},
}  # fmt: skip
NARROW, POINT = CONV | {"channels": 4}, CONV | {"kernel": 1}


@pytest.mark.parametrize(
    ("changes", "what", "exact"),
    [
        (
            {"blocks": [SPAB, CONV, POINT], "taps": ["block3"], "fusion": POINT | {"channels": 64}},
            "block2 and block3 are one 3x3 convolution",
            True,
        ),
        ({"blocks": [SPAB, NARROW, CONV], "taps": ["block3", "block1"]}, None, True),
        (
            {"blocks": [SPAB, POINT | {"bias": False}, CONV, SPAB], "taps": ["block4"]},
            "block2 and block3 are one 3x3",
            True,
        ),
        (
            {"blocks": [SPAB, POINT, CONV, SPAB], "taps": ["block4"]},
            "block2 and block3 are one 3x3",
            False,
        ),
        ({"stem": NARROW, "blocks": [CONV, SPAB], "taps": ["block2"]}, None, True),
        (
            {
                "stem": POINT,
                "blocks": [CONV, SPAB],
                "taps": ["block2"],
                "residuals": [CONV | {"feature": "block1"}],
            },
            "stem and block1 are one 3x3",
            False,
        ),
        (
            {"stem": CONV, "blocks": [ACTIVATED, SPAB], "taps": ["block2", "block1"]},
            "stem and block1 are one 5x5",
            False,
        ),
        (
            {"stem": POINT, "blocks": [CHAIN], "taps": ["block1", "block1.inner"]},
            "stem and block1 are one 3x3",
            False,
        ),
        ({"stem": POINT, "blocks": [CHAIN | {"bias": False}]}, None, True),
        (
            {
                "stem": POINT | {"bias": False},
                "blocks": [CHAIN, SPAB],
                "taps": ["block2", "block1.inner"],
            },
            "stem and block1 are one 3x3",
            True,
        ),
        (
            {"blocks": [SPAB, CONV], "taps": ["block2"], "fusion": POINT},
            "block2 and fusion are one 3x3",
            True,
        ),
        (
            {
                "blocks": [SPAB, CONV],
                "taps": ["block2"],
                "fusion": POINT,
                "tail": [SPAB],
                "scaled_taps": True,
            },
            None,
            True,
        ),
        (
            {"blocks": [CONV], "fusion": POINT, "stem": SPAB | {"channels": 16}},
            "block1 and fusion are one 3x3",
            True,
        ),
        ({"fusion": POINT, "tail": [CONV, SPAB]}, "fusion and tail1 are one 3x3", False),
        (
            {
                "fusion": {"kind": "identity"},
                "tail": [SPAB, CONV, POINT],
                "residuals": [{"kind": "identity", "feature": "stem"}],
            },
            "tail2 and tail3 are one 3x3",
            True,
        ),
        (
            {
                "fusion": POINT,
                "upsampler": {
                    "kind": "refined_pixel_shuffle",
                    "kernel": 1,
                    "bias": False,
                    "num_refine": 1,
                },
            },
            "fusion and upsampler are one 1x1",
            True,
        ),
        (
            {
                "tail": [SPAB, POINT],
                "upsampler": {"kind": "pixel_shuffle", "kernel": 1, "bias": False},
            },
            "tail2 and upsampler are one 1x1",
            True,
        ),
        (
            {
                "fusion": POINT,
                "upsampler": {"kind": "pixel_shuffle", "kernel": 1, "bias": False},
                "residuals": [{"kind": "identity", "feature": "stem"}],
            },
            None,
            True,
        ),
    ],
)
def test_a_convolution_and_the_next_layers_first_one_are_merged(changes, what, exact):
    net = drawn(ArchSpec.from_dict(PLAIN | changes))
    _, every = merge_linear(net)
    merged, steps = merge_linear(net, exact=True)
    named = [step for step in every if what and str(step).startswith(what)]
    assert [step.exact for step in named] == ([exact] if what else [])
    assert bool(every) == bool(what)
    assert [step for step in every if step.exact] == list(steps)
    assert_same(net, merged)
    near, border = merge_linear(net)[0], 4 * 12
    wanted, found = (out[:, :, border:-border, border:-border] for out in outputs(net, near))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))


def test_training_branches_are_refused():
    with pytest.raises(ValueError, match="holds training branches; fold it first"):
        merge_linear(build(published("span"), train=True))
