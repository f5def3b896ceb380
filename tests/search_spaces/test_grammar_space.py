"""What a space of a YAML file alone may say, and what it is told where it says something else."""

import re

import pytest

from search_spaces import build
from search_spaces.chooser import ReplayChooser, decisions
from tests.search_spaces.spaces import make_space

SPAB = {
    "kind": "spab",
    "channels": "$channels",
    "activation": "silu",
    "attention": "none",
    "bias": True,
}
CHAIN = {
    "kind": "residual_chain", "channels": "$channels", "num_convs": 2, "activation": "relu",
    "activate_last": False, "attention": "none", "bias": True,
}  # fmt: skip
FRAME = {
    "normalise": True,
    "stem": {"kind": "conv", "channels": "$channels", "kernel": 3, "bias": True},
    "taps": ["stem", "last.inner", "last"],
    "fusion": {"kind": "conv", "channels": "$channels*2", "kernel": 1, "bias": True},
    "upsampler": {"kind": "pixel_shuffle", "kernel": 3, "bias": True},
}


def space(**changes):
    given = {
        "num_blocks": [3], "channels": [8, 12], "choices": {}, "each": ["block"], "contains": [],
        "blocks": {"spab": SPAB, "chain": CHAIN | {"multiple_of": 8}, "late": CHAIN | {"after": "chain"}},
        "frames": {"only": FRAME},
    }  # fmt: skip
    return make_space("attention", **(given | changes))


def member(made, *kinds, **picks):
    names = {f"block{i}": kind for i, kind in enumerate(kinds, start=1)}
    first = {name: options[0] for name, options in decisions(made).items()}
    return made.sample(ReplayChooser(first | names | picks))


def test_positions_choose_their_blocks_and_shares_follow_the_width():
    spec = member(space(), "spab", "chain", "spab")
    assert [block.kind for block in spec.blocks] == ["spab", "residual_chain", "spab"]
    assert dict(spec.fusion.args)["channels"] == 16
    assert build(spec).fusion.in_channels == 24


def test_a_block_that_may_not_stand_gives_its_place_to_the_first():
    made = space()
    kinds = [block.kind for block in member(made, "spab", "chain", "late").blocks]
    assert kinds == ["spab", "residual_chain", "residual_chain"]
    assert [block.kind for block in member(made, "chain", "late", "late", channels=12).blocks] == [
        "spab"
    ] * 3


def test_what_stands_before_a_block_is_what_the_frame_leaves_there():
    """The frame's own first block takes the place of the chain, so nothing of its kind is before."""
    first = {"kind": "conv", "channels": "$channels", "kernel": 3, "bias": True}
    made = space(
        frames={
            "only": {key: one for key, one in FRAME.items() if key != "stem"}
            | {"first": first, "taps": ["last"]}
        }
    )
    kinds = [block.kind for block in member(made, "chain", "late", "late").blocks]
    assert kinds == ["conv", "spab", "spab"]


def test_taps_that_are_not_there_are_left_out():
    assert member(space(), "spab", "spab", "spab").taps == ("stem", "block3.inner", "block3")
    assert member(space(), "spab", "spab", "chain").taps == ("stem", "block3")


NORM = {"kind": "layer_norm", "eps": 1.0e-5}


def test_start_and_end_stand_around_the_blocks_and_are_none_of_them():
    words = ["first", "before_last", "last.inner", "blocks", "end"]
    made = space(frames={"only": FRAME | {"start": NORM, "end": NORM, "taps": words}})
    spec = member(made, "chain", "spab", "spab", channels=8)
    kinds = [block.kind for block in spec.blocks]
    assert kinds == ["layer_norm", "residual_chain", "spab", "spab", "layer_norm"]
    assert spec.taps == ("block2", "block3", "block4.inner", "block4", "block5")
    build(spec)


def test_a_start_may_be_an_alternative():
    made = space(frames={"only": FRAME | {"start": {"none": None, "norm": NORM}}})
    assert decisions(made)["only.start"] == ("none", "norm")
    assert member(made, "spab", "spab", "spab").blocks[0].kind == "spab"
    spec = member(made, "spab", "spab", "spab", **{"only.start": "norm"})
    assert spec.blocks[0].kind == "layer_norm"
    assert spec.taps == ("stem", "block4.inner", "block4")


def test_there_is_no_block_before_the_only_one():
    made = space(num_blocks=[1], frames={"only": FRAME | {"taps": ["before_last", "last"]}})
    assert member(made, "spab").taps == ("block1",)


@pytest.mark.parametrize(
    ("word", "feature"),
    [("stem", "stem"), ("first", "block1"), ("last", "block3"), ("end", "block4")],
)
def test_a_residual_names_its_feature_by_a_word(word, feature):
    residual = {
        "kind": "conv",
        "feature": word,
        "channels": "$channels*2",
        "kernel": 1,
        "bias": True,
    }
    made = space(frames={"only": FRAME | {"end": NORM, "taps": ["end"], "residuals": [residual]}})
    spec = member(made, "spab", "spab", "spab")
    assert dict(spec.residuals[0].args)["feature"] == feature
    build(spec)


def test_a_share_may_be_the_value_of_another_choice():
    wide = FRAME["fusion"] | {"channels": "$channels*$ratio"}
    narrow = FRAME["fusion"] | {"channels": "$channels/$ratio"}
    for fusion, width in ((wide, 36), (narrow, 4)):
        made = space(choices={"ratio": [1, 3]}, frames={"only": FRAME | {"fusion": fusion}})
        assert decisions(made)["ratio"] == (1, 3)
        spec = member(made, "spab", "spab", "spab", channels=12, ratio=3)
        assert dict(spec.fusion.args)["channels"] == width


def test_a_mapping_of_names_is_a_choice_of_layers():
    frame = FRAME | {
        "skip": {"none": None, "near": {"kind": "near", "kernel": [1, 3], "bias": False}}
    }
    made = space(frames={"only": frame | {"taps": ["skip", "blocks"]}})
    assert decisions(made)["only.skip"] == ("none", "near")
    spec = member(made, "spab", "spab", "spab", **{"only.skip": "near", "only.skip.near.kernel": 3})
    assert spec.taps == ("skip", "block1", "block2", "block3")
    assert dict(spec.skip.args)["kernel"] == 3
    assert member(made, "spab", "spab", "spab").skip is None


def test_a_layer_that_does_not_fit_the_width_gives_its_place_to_the_first():
    tail = {
        "none": [],
        "halves": [{"kind": "local_distillation", "channels": "$channels", "multiple_of": 8}],
    }
    made = space(frames={"only": FRAME | {"tail": tail, "fusion": FRAME["stem"]}})
    kinds = ["spab", "spab", "spab"]
    assert len(member(made, *kinds, **{"only.tail": "halves", "channels": 8}).tail) == 1
    assert member(made, *kinds, **{"only.tail": "halves", "channels": 12}).tail == ()


def test_blocks_within_blocks_have_choices_too():
    group = {
        "kind": "group",
        "kernel": 1,
        "bias": True,
        "attention": ["none", "esa"],
        "blocks": [SPAB, CHAIN],
    }
    group["blocks"][1] = CHAIN | {"num_convs": [2, 4]}
    made = space(blocks={"group": group}, num_blocks=[1])
    assert decisions(made) == {
        "channels": (8, 12), "group.attention": ("none", "esa"), "group.blocks.2.num_convs": (2, 4)
    }  # fmt: skip
    spec = made.sample(
        ReplayChooser({"channels": 8, "group.attention": "esa", "group.blocks.2.num_convs": 4})
    )
    assert [dict(block.args).get("num_convs") for block in spec.blocks[0].blocks] == [None, 4]
    build(spec)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 5}, "space.scale must be one of (2, 3, 4), got 5"),
        ({"num_blocks": [0]}, "space.num_blocks must be at least 1 and at most 256, got 0"),
        (
            {"num_blocks": [10**9]},
            "space.num_blocks must be at least 1 and at most 256, got 1000000000",
        ),
        ({"channels": []}, "space.channels must list at least one option and none twice, got []"),
        (
            {"choices": {"a": [1, 1]}},
            "space.choices.a must list at least one option and none twice, got [1, 1]",
        ),
        ({"blocks": {}}, "space.blocks must hold at least one, got none"),
        ({"blocks": {"x": {"bias": True}}}, "space.blocks.x must have a kind, got ['bias']"),
        (
            {"blocks": {"x": SPAB | {"bias": []}}},
            "space.blocks.x.bias must list at least one option",
        ),
        (
            {"blocks": {"x": SPAB | {"after": "x"}}},
            "space.blocks.x stands in for others: it must have no multiple_of",
        ),
        (
            {"blocks": {"x": SPAB, "y": CHAIN | {"after": "z"}}},
            "space.blocks.y.after: 'z' is no block here; known: x",
        ),
        (
            {"blocks": {"x": SPAB | {"bias": "$b"}}},
            "space.blocks.x: $b is no named choice; known: $channels",
        ),
        (
            {"each": ["width"]},
            "space.each: 'width' is no argument of a block; known: block, activate_last",
        ),
        (
            {"frames": {"x": {"stem": None}}},
            "space.frames.x: fusion, normalise, taps, upsampler missing",
        ),
        (
            {"frames": {"x": FRAME | {"tail": [SPAB | {"multiple_of": 4}]}}},
            "space.frames.x.tail: its first layer stands in for others: it must have no multiple_of",
        ),
        (
            {"blocks": {"x": SPAB, "y": CHAIN | {"after": ["x"]}}},
            "space.blocks.y.after: ['x'] is no block here",
        ),
        (
            {"blocks": {"x": SPAB, "y": CHAIN | {"multiple_of": 0}}},
            "space.blocks.y.multiple_of must be a whole number of at least 1, got 0",
        ),
        (
            {"blocks": {"x": SPAB, "y": CHAIN | {"multiple_of": "a"}}},
            "space.blocks.y.multiple_of must be a whole number of at least 1, got 'a'",
        ),
        ({"blocks": {True: SPAB}}, "space.blocks: a name must be text, got True; quote it"),
        (
            {"blocks": {"x": SPAB | {"channels": "$channels/0"}}},
            "space.blocks.x: $channels/0 must be a share of whole numbers, by 1 or more",
        ),
        (
            {"blocks": {"x": SPAB | {"channels": "$channels/2.5"}}},
            "space.blocks.x: $channels/2.5 is no named choice",
        ),
        (
            {"blocks": {"x": SPAB | {"bias": "$a/2"}}, "choices": {"a": ["silu"]}},
            "space.blocks.x: $a/2 must be a share of whole numbers",
        ),
        (
            {"blocks": {"x": SPAB | {"channels": "$channels*$a"}}},
            "space.blocks.x: $channels*$a is no named choice; known: $channels",
        ),
        (
            {"blocks": {"x": SPAB | {"channels": "$channels/$a"}}, "choices": {"a": [1, 0]}},
            "space.blocks.x: $channels/$a must be a share of whole numbers, by 1 or more",
        ),
        (
            {"blocks": {"x": SPAB | {"channels": "$channels*$a"}}, "choices": {"a": [1, 1.5]}},
            "space.blocks.x: $channels*$a must be a share of whole numbers, by 1 or more",
        ),
        (
            {"frames": {"x": FRAME | {"residuals": [{"kind": "identity", "feature": "blocks"}]}}},
            "space.frames.x.residuals: 'blocks' is no feature; known: stem, skip, first, last, end",
        ),
        (
            {"frames": {"x": FRAME | {"residuals": [{"kind": "identity"}]}}},
            "space.frames.x.residuals: None is no feature; known: stem, skip, first, last, end",
        ),
        (
            {
                "frames": {
                    "x": FRAME | {"residuals": {"a": [{"kind": "identity", "feature": "end"}]}}
                }
            },
            "space.frames.x.residuals: there is no end; give the frame a layer `end`",
        ),
        (
            {"frames": {"x": FRAME | {"residuals": {"kind": "identity", "feature": "stem"}}}},
            "space.frames.x.residuals must be a list of layers such as [{kind: identity",
        ),
        ({"choices": {"a": [1, 2]}}, "space.choices.a: nothing uses $a; use it or leave it out"),
        (
            {"frames": {"x": FRAME | {"fusion": {}}}},
            "space.frames.x.fusion must hold a layer, or at least one alternative, got {}",
        ),
        (
            {"frames": {"x": FRAME | {"taps": "last"}}},
            "space.frames.x.taps must be a list of features such as [last], got 'last'",
        ),
        (
            {"frames": {"x": FRAME | {"taps": {"a": ["lst"]}}}},
            "space.frames.x.taps: 'lst' is no feature; known: stem, skip, first, last",
        ),
        (
            {"frames": {"x": FRAME | {"taps": ["end"]}}},
            "space.frames.x.taps: there is no end; give the frame a layer `end`",
        ),
        (
            {"frames": {"x": FRAME | {"colour": 1}}},
            "space.frames.x: colour unknown; known: end, first, fusion",
        ),
    ],
)
def test_space_says_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        space(**changes)


def test_choices_without_effect_are_one_network():
    made = space(
        num_blocks=[1, 3], frames={"only": FRAME, "other": FRAME | {"normalise": [True, False]}}
    )
    ids = {
        member(made, "spab", last, "late", num_blocks=1, **{"other.normalise": other}).arch_id
        for last in ("spab", "chain")
        for other in (True, False)
    }
    assert len(ids) == 1
    assert member(made, "chain", "spab", "late", num_blocks=1).arch_id not in ids
