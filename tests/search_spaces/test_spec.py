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
        {
            "blocks": [spab()] * 5
            + [{"kind": "conv", "channels": 28, "kernel": 3, "bias": True}] * 2
        },
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
        ({"scale": "4"}, "scale must be one of (2, 3, 4), got '4'"),
        ({"scale": True}, "scale must be one of (2, 3, 4), got True"),
        ({"normalise": 1}, "normalise must be true or false, got 1"),
        ({"blocks": []}, "blocks must hold at least one block, got none"),
        (
            {"taps": []},
            "taps must name at least one feature, got none; the last block is the usual one",
        ),
        ({"taps": ["block9"]}, "taps: 'block9' is no feature of this network; known: ['block1'"),
        ({"taps": ["skip"]}, "taps: 'skip' is no feature of this network"),
        (
            {"blocks": [spab(channels=0)]},
            "spab.channels must be a whole number of at least 1 and at most 1024, got 0",
        ),
        (
            {"blocks": [spab(channels=28.0)]},
            "spab.channels must be a whole number of at least 1 and at most 1024, got 28.0",
        ),
        (
            {"blocks": [spab(channels=True)]},
            "spab.channels must be a whole number of at least 1 and at most 1024, got True",
        ),
        (
            {"blocks": [spab(channels=None)]},
            "spab.channels must be text, a number or true/false, got None",
        ),
        ({"blocks": ["spab"]}, "a block must be a mapping with a `kind`, got 'spab'"),
        ({"fusion": {"channels": 28}}, "a block must be a mapping with a `kind`"),
        (
            {"fusion": {"kind": "conv", "channels": 28, "kernel": 2, "bias": True}},
            "conv.kernel must be odd to keep height and width, got 2; use 1, 3 or 5",
        ),
        ({"colour": 1}, "architecture: unknown field colour; known: ['blocks'"),
        ({1: 1}, "architecture: unknown field 1; known: ['blocks'"),
        ({"fusion": None}, "architecture: fusion missing; needed: ['blocks'"),
        ({"blocks": [spab(channels=10**9)]}, "at most 1024, got 1000000000"),
        ({"blocks": [spab() | {2: 3}]}, "spab: the name of an argument must be text, got 2"),
        (
            {"blocks": [{"kind": "layer_norm", "eps": float("inf")}] * 7},
            "layer_norm.eps must be finite, got inf",
        ),
        (
            {"taps": ["block7", "block7"]},
            "taps must name each feature once, got ['block7', 'block7']",
        ),
        (
            {"taps": ["block1"]},
            "taps or residuals must read block7, or it is computed for nothing, got ['block1']",
        ),
        (
            {"taps": ["block7.inner"]},
            "taps or residuals must read block7, or it is computed for nothing",
        ),
        (
            {"skip": {"kind": "bilinear"}, "taps": ["skip", "block7"]},
            "taps: 'skip' is no feature of this network (bilinear is added to the output)",
        ),
        (
            {"skip": {"kind": "near", "kernel": 3, "bias": False}},
            "taps or residuals must read skip, or the 'near' branch leads nowhere",
        ),
        ({"tail": [{"kind": "identity"}]}, "tail: identity changes nothing there; leave it out"),
        ({"stem": {"kind": "identity"}}, "stem: identity changes nothing there; leave it out"),
        (
            {"normalise": False, "wrap": [{"kind": "centre", "restore": True}] * 2},
            "wrap must hold each kind of layer once, got centre, centre",
        ),
    ],
)
def test_spec_says_what_is_wrong(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ArchSpec.from_dict(changed() | fields)


def test_spec_names_what_is_missing():
    with pytest.raises(
        ValueError, match=re.escape("architecture: taps missing; needed: ['blocks'")
    ):
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
            {
                "residuals": [
                    {"kind": "conv", "feature": "stem", "channels": 4, "kernel": 1, "bias": True}
                ]
            },
            "has 4 channels, the fused features have 28",
        ),
        ({"blocks": [spab(blocks=[spab()])] * 7}, "block 'spab' holds no blocks; a group does"),
        (
            {"fusion": {"kind": "conv", "channels": 28, "bias": True}},
            "block 'conv' takes the arguments ['bias', 'channels', 'kernel']: missing ['kernel'], unknown []",
        ),
        (
            {"blocks": [spab(activation="mish")] * 7},
            "activation 'mish' is not known; known: silu, relu",
        ),
        (
            {"blocks": [spab(attention="self")] * 7},
            "attention 'self' is not known; known: parameter_free",
        ),
        (
            {"taps": ["block7", "block7.inner"]},
            "taps: block7.inner is not there, a 'conv' block has no inner feature",
        ),
        (
            {"upsampler": {"kind": "deconv"}},
            "upsampler 'deconv' is not known; known: pixel_shuffle",
        ),
        (
            {"skip": {"kind": "far"}, "taps": ["skip", "block7"]},
            "skip: skip 'far' is not known; known: near, bilinear, nearest",
        ),
        (
            {"skip": {"kind": "bilinear", "kernel": 3}},
            "skip: block 'bilinear' takes the arguments []: missing [], unknown ['kernel']",
        ),
        (
            {"blocks": [spab()] * 6 + [{"kind": "layer_norm", "eps": 1}]},
            "block7: layer_norm.eps must be a number with a point (1.0e-5), got 1",
        ),
        (
            {"wrap": [{"kind": "pad", "mode": "reflect", "multiple": 1}]},
            "wrap1: pad.multiple of 1 changes nothing",
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


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            BlockSpec.of("bnrep", gain=4),
            "train_form 'bnrep' is not known here; known: asymmetric, conv3xc",
        ),
        (
            BlockSpec.of("conv3xc"),
            "train_form 'conv3xc' takes the arguments ['gain']: missing ['gain']",
        ),
        (
            BlockSpec.of("erb", ratio=True),
            "erb.ratio must be a whole number of at least 1, got True",
        ),
    ],
)
def test_build_refuses_a_training_form_that_is_not_known(train, form, message):
    spec = published("span")
    build(dataclasses.replace(spec, train_form=BlockSpec.of("erb", ratio=1)), train=train)
    with pytest.raises(
        ValueError, match=re.escape(f"stem: {message}") if message[0] == "t" else message
    ):
        build(dataclasses.replace(spec, train_form=form), train=train)
    block = dataclasses.replace(spec.blocks[2], train_form=form)
    with pytest.raises(
        ValueError, match="block3: " + re.escape(message).replace("erb", ".*erb", 1)
    ):
        build(
            dataclasses.replace(spec, blocks=(*spec.blocks[:2], block, *spec.blocks[3:])),
            train=train,
        )


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
        one.arch_id
        == dataclasses.replace(spec, residuals=(other, *spec.residuals)).arch_id
        != spec.arch_id
    )
