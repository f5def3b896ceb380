import dataclasses
import json
import re

import pytest

from search_spaces import ArchSpec, BlockSpec, build, published
from search_spaces.published import names
from search_spaces.spec import with_scale

ARCH_IDS = {"span": "bd1225255898", "spanf": "d2e448171e36", "spanv2": "3824a8579007"}


def changed(**fields):
    """SPAN's plain data with some fields replaced."""
    return published("span").to_dict() | fields


def spab(**args):
    return dict(published("span").blocks[0].to_dict()) | args


@pytest.mark.parametrize("name", names())
def test_spec_survives_json(name):
    spec = published(name)
    again = ArchSpec.from_json(spec.to_json())
    assert again == spec
    assert again.arch_id == spec.arch_id
    assert hash(again) == hash(spec)
    assert ArchSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("name", ARCH_IDS)
def test_arch_id_stays_what_old_runs_have_written(name):
    assert published(name).arch_id == ARCH_IDS[name]


def test_arch_id_is_that_of_the_function_and_not_of_its_training_form():
    spec = published("span")
    plain = dataclasses.replace(spec, train_form=None)
    assert plain != spec
    assert plain.arch_id == spec.arch_id


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 2},
        {"normalise": False},
        {"taps": ["block7", "stem", "block1", "block6.inner"]},
        {"skip": {"kind": "nearest"}},
        {"blocks": [spab()] * 5 + [{"kind": "conv", "channels": 28, "kernel": 3, "bias": True}] * 2},
    ],
)
def test_arch_id_differs_with_what_is_computed(change):
    assert ArchSpec.from_dict(changed(**change)).arch_id != published("span").arch_id


def test_arch_id_does_not_depend_on_the_order_in_which_arguments_are_given():
    shuffled = dict(reversed(published("spanv2").to_dict().items()))
    shuffled["blocks"] = [dict(reversed(block.items())) for block in shuffled["blocks"]]
    assert ArchSpec.from_dict(shuffled) == published("spanv2")


def test_spec_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        published("span").scale = 2


def test_with_scale_changes_the_scale_alone():
    spec = with_scale(published("spanv2"), 3)
    assert spec.scale == 3
    assert with_scale(spec, 4) == published("spanv2")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": 5}, "scale must be one of (2, 3, 4), got 5"),
        ({"scale": "4"}, "architecture: scale must be int, got '4'"),
        ({"scale": True}, "architecture: scale must be int, got True"),
        ({"normalise": 1}, "architecture: normalise must be bool, got 1"),
        ({"blocks": []}, "blocks must hold at least one block, got none"),
        ({"taps": []}, "taps must name at least one feature, got none; the last block is the usual one"),
        ({"taps": ["block9"]}, "taps: 'block9' is no feature of this network; known: ['block1'"),
        ({"taps": ["skip"]}, "taps: 'skip' is no feature of this network"),
        ({"blocks": [spab(channels=0)]}, "spab.channels must be a whole number of at least 1, got 0"),
        ({"blocks": [spab(channels=28.0)]}, "spab.channels must be a whole number of at least 1, got 28.0"),
        ({"blocks": [spab(channels=True)]}, "spab.channels must be a whole number of at least 1, got True"),
        ({"blocks": [spab(channels=None)]}, "spab.channels must be text, a number or true/false, got None"),
        ({"blocks": ["spab"]}, "a block must be a mapping with a `kind`, got 'spab'"),
        ({"fusion": {"channels": 28}}, "a block must be a mapping with a `kind`"),
        (
            {"fusion": {"kind": "conv", "channels": 28, "kernel": 2, "bias": True}},
            "conv.kernel must be odd to keep height and width, got 2; use 1, 3 or 5",
        ),
        ({"colour": 1}, "architecture: unknown field colour; known: ['blocks'"),
    ],
)
def test_spec_says_what_is_wrong(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ArchSpec.from_dict(changed(**fields))


def test_spec_names_what_is_missing():
    with pytest.raises(ValueError, match=re.escape("architecture: taps missing; needed: ['blocks'")):
        ArchSpec.from_dict({key: value for key, value in changed().items() if key != "taps"})


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "architecture is no JSON"), ("[1]", "must be a mapping of fields, got list")],
)
def test_json_that_is_no_spec_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ArchSpec.from_json(text)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"blocks": [{"kind": "resnet", "channels": 8}] * 7},
            "block kind 'resnet' is not known; known: acb, activated_conv, conv, conv_stack, depthwise",
        ),
        ({"blocks": [spab(kernel=3)] * 7}, "missing [], unknown ['kernel']"),
        ({"blocks": [spab(bias=1)] * 7}, "spab.bias must be true or false, got 1"),
        ({"blocks": [spab(activation=1)] * 7}, "spab.activation must be text, got 1"),
        (
            {"wrap": [{"kind": "pad", "mode": "reflect", "multiple": 8.0}]},
            "pad.multiple must be a whole number, got 8.0",
        ),
        (
            {"wrap": [{"kind": "pad", "mode": "reflect", "multiple": 0}]},
            "pad.multiple must be a whole number of at least 1, got 0",
        ),
        (
            {"wrap": [{"kind": "pad", "mode": "edge", "multiple": 8}]},
            "pad mode 'edge' is not known; known: reflect, symmetric",
        ),
        ({"wrap": [{"kind": "frame"}]}, "wrap 'frame' is not known; known: centre, pad"),
        (
            {"residuals": [{"kind": "identity", "feature": "block9"}]},
            "residuals: 'identity' must name a `feature`",
        ),
        (
            {"residuals": [{"kind": "conv", "feature": "stem", "channels": 4, "kernel": 1, "bias": True}]},
            "has 4 channels, the fused features have 28",
        ),
        ({"blocks": [spab(blocks=[spab()])] * 7}, "block 'spab' holds no blocks; a group does"),
        (
            {"fusion": {"kind": "conv", "channels": 28, "bias": True}},
            "block 'conv' takes the arguments ['bias', 'channels', 'kernel']: missing ['kernel'], unknown []",
        ),
        ({"blocks": [spab(activation="mish")] * 7}, "activation 'mish' is not known; known: silu, relu"),
        ({"blocks": [spab(attention="self")] * 7}, "attention 'self' is not known; known: parameter_free"),
        ({"taps": ["block7.inner"]}, "taps: block7.inner is not there, a 'conv' block has no inner feature"),
        ({"upsampler": {"kind": "deconv"}}, "upsampler 'deconv' is not known; known: pixel_shuffle"),
        (
            {"skip": {"kind": "far"}, "taps": ["skip"]},
            "skip 'far' is not known; known: near, bilinear, nearest",
        ),
    ],
)
def test_build_says_what_does_not_fit(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(ArchSpec.from_dict(changed(**fields)))


def test_build_refuses_an_unknown_activation_of_a_stack():
    stack = published("spanf").blocks[0]
    wrong = BlockSpec.of(stack.kind, **{**dict(stack.args), "activation": "mish"})
    spec = published("spanf")
    with pytest.raises(ValueError, match="activation 'mish' is not known"):
        build(dataclasses.replace(spec, blocks=(wrong, *spec.blocks[1:])))


def test_build_refuses_an_unknown_training_form_when_it_is_asked_for():
    spec = dataclasses.replace(published("span"), train_form=BlockSpec.of("bnrep", gain=4))
    build(spec)
    with pytest.raises(ValueError, match="train_form 'bnrep' is not known here; known: asymmetric, conv3xc"):
        build(spec, train=True)


def test_published_name_that_is_not_known_is_refused_with_a_hint():
    with pytest.raises(
        ValueError, match=r"published network 'spam' is not known; did you mean 'span'\? known: "
    ):
        published("spam")


def test_residuals_are_a_sum_in_any_order():
    spec = published("dscf_fused")
    other = BlockSpec.of("identity", feature="stem")
    one = dataclasses.replace(spec, residuals=(*spec.residuals, other))
    assert (
        one.arch_id == dataclasses.replace(spec, residuals=(other, *spec.residuals)).arch_id != spec.arch_id
    )
