"""Conformance of every space in conf/space, and what the published ones have to contain."""

import random
import re

import pytest
import torch

from search_spaces import ArchSpec, build, published
from search_spaces.chooser import RandomChooser, ReplayChooser, decisions
from search_spaces.initialise import initial_network
from search_spaces.layers.activation import ACTIVATIONS
from search_spaces.layers.attention import ATTENTIONS
from search_spaces.spaces.span import WORDS, SpanSpace
from search_spaces.spec import with_scale
from tests.search_spaces.spaces import SPACES, make_space

NUM_SAMPLES = 12


class Watching(RandomChooser):
    """Draws, and keeps what was asked."""

    def __init__(self, seed):
        super().__init__(random.Random(seed))
        self.asked = []

    def pick(self, name, options):
        self.asked.append((name, tuple(options)))
        return super().pick(name, options)


SPAN_LIKE = [name for name in SPACES if isinstance(make_space(name), SpanSpace)]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {}) for name in SPACES),
        *((name, {"block_channels": [0.75, 1.0, 1.25]}) for name in SPAN_LIKE),
    ],
)
def test_every_sample_builds_and_upscales(name, changes, scale):
    space = make_space(name, scale=scale, **changes)
    x = torch.rand(1, 3, 11, 13)  # the least that every block takes
    for seed in range(NUM_SAMPLES):
        spec = space.sample(RandomChooser(random.Random(seed)))
        assert ArchSpec.from_json(spec.to_json()) == spec
        with torch.no_grad():
            out = initial_network(spec, seed, x, zero_output=False)(x)
            trained = build(spec, train=True)(x)
        assert out.shape == trained.shape == (1, 3, 11 * scale, 13 * scale), spec.to_json()
        assert out.isfinite().all()


def test_words_are_those_of_the_blocks():
    assert WORDS["attention"] == tuple(ATTENTIONS)
    assert WORDS["activation"] == tuple(ACTIVATIONS)


@pytest.mark.parametrize("option", ["bilinear", "nearest"])
def test_fixed_skips_are_added_to_the_output(option):
    space = make_space("span", skip=[option])
    net = build(space.sample(RandomChooser(random.Random(0))))
    for parameter in net.upsampler.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.rand(1, 3, 6, 7)
    align = {"align_corners": False} if option == "bilinear" else {}
    wanted = torch.nn.functional.interpolate(x, scale_factor=4, mode=option, **align)
    torch.testing.assert_close(net(x), wanted)


@pytest.mark.parametrize("name", SPACES)
def test_every_decision_is_asked_in_one_order_with_one_list(name):
    space = make_space(name, **({"block_channels": [0.75, 1.0, 1.25]} if name in SPAN_LIKE else {}))
    wanted = list(decisions(space).items())
    assert len(wanted) == len({name for name, _ in wanted})
    for seed in range(NUM_SAMPLES):
        chooser = Watching(seed)
        space.sample(chooser)
        assert chooser.asked == wanted


@pytest.mark.parametrize("name", SPACES)
def test_samples_repeat_with_their_seed_and_differ_without(name):
    space = make_space(name)
    ids = [
        space.sample(RandomChooser(random.Random(seed))).arch_id for seed in [*range(8), *range(8)]
    ]
    assert ids[:8] == ids[8:]
    assert len(set(ids)) > 4


@pytest.mark.parametrize("name", SPACES)
def test_every_option_of_every_decision_changes_some_network(name):
    """A decision that never matters would only mislead the sampler."""
    space = make_space(name)
    rng = random.Random(0)
    for decision, options in decisions(space).items():
        for _ in range(400):
            picks = {key: rng.choice(values) for key, values in decisions(space).items()}
            found = {
                space.sample(ReplayChooser(picks | {decision: option})).arch_id
                for option in options
            }
            if len(found) == len(options):
                break
        else:
            pytest.fail(f"{name}: {decision} never gives {len(options)} different networks")


SPANV2 = {
    "num_blocks": 5, "channels": 32, "tail_channels": 1.0, "attention": "conv1x1", "activation": "relu",
    "bias": False, "skip": "near", "taps": "last", "head": "separable",
}  # fmt: skip
SPANF = SPANV2 | {
    "attention": "parameter_free", "activation": "silu", "bias": True, "taps": "ends", "head": "conv",
}  # fmt: skip
SPAN = {
    "num_blocks": 6, "channels": 28, "tail_channels": 1.0, "attention": "parameter_free",
    "activation": "silu", "skip": "none", "taps": "all",
}  # fmt: skip


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(
    ("name", "network", "picks"),
    [("span", "span", SPAN), ("spanv2", "spanv2", SPANV2), ("spanv2", "spanf", SPANF)],
)
def test_space_contains_the_published_network(name, network, picks, scale):
    space = make_space(name, scale=scale)
    assert set(picks) == set(decisions(space))
    wanted = with_scale(published(network), scale)
    assert (
        space.sample(ReplayChooser(picks)).arch_id == wanted.arch_id
    )  # SPANF's head has its own training form


def test_blocks_choose_their_own_widths():
    space = make_space("span", block_channels=[0.75, 1.0, 1.25], num_blocks=[3], channels=[20, 28])
    shares = {"block1.channels": 0.75, "block2.channels": 1.0, "block3.channels": 1.25}
    spec = space.sample(
        ReplayChooser({k: v for k, v in SPAN.items() if k != "num_blocks"} | shares)
    )
    assert [dict(block.args)["channels"] for block in spec.blocks] == [20, 28, 36, 36]
    state = build(spec).state_dict()
    assert state["blocks.1.shortcut.weight"].shape == (20, 28, 1, 1)
    assert "blocks.4.shortcut.weight" not in state


def test_decisions_without_effect_are_dropped():
    """The widths of blocks that are not there: the same network, so the same arch_id."""
    space = make_space("span", block_channels=[0.75, 1.0])
    picks = SPAN | {"num_blocks": 2} | {f"block{i}.channels": 1.0 for i in range(1, 7)}
    other = picks | {"block3.channels": 0.75, "block6.channels": 0.75}
    assert space.sample(ReplayChooser(picks)).arch_id == space.sample(ReplayChooser(other)).arch_id


def test_replay_refuses_what_is_no_option():
    with pytest.raises(
        ValueError, match=re.escape("num_blocks: 9 is not among the options [1, 2, 3, 4, 5, 6]")
    ):
        make_space("span").sample(ReplayChooser(SPAN | {"num_blocks": 9}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 5}, "space.scale must be one of (2, 3, 4), got 5"),
        (
            {"channels": [16, 0]},
            "space.channels must be at least 1 and at most 1024, got 0; such as 28",
        ),
        ({"num_blocks": [0]}, "space.num_blocks must be at least 1 and at most 256, got 0"),
        ({"block_channels": [0.0]}, "space.block_channels must be above 0 and at most 4, got 0.0"),
        ({"tail_channels": [5.0]}, "space.tail_channels must be above 0 and at most 4, got 5.0"),
        ({"entry": ["door"]}, "space.entry: 'door' is not known; known: stem, block"),
        ({"skip": ["far"]}, "space.skip: 'far' is not known; known: none, near, bilinear, nearest"),
        ({"taps": ["first"]}, "space.taps: 'first' is not known; known: all, ends, last"),
        ({"head": ["fc"]}, "space.head: 'fc' is not known; known: conv, separable"),
        ({"attention": ["self"]}, "space.attention: 'self' is not known; known: parameter_free"),
        ({"activation": ["mish"]}, "space.activation: 'mish' is not known; known: silu"),
        ({"channels": []}, "space.channels must list at least one option and none twice, got []"),
        ({"skip": ["none", "none"]}, "space.skip must list at least one option and none twice"),
    ],
)
def test_space_says_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_space("span", **changes)
