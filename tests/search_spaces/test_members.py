"""What the members of every space hold: 200 random ones of each, and what is counted and found
among them.
"""

import functools
import itertools
import random

import pytest
import torch

from nas.commands.search import compose_search
from nas.measure.cost import count, measure_cost, summed_cost
from search_spaces import ArchSpec, build, published
from search_spaces.chooser import RandomChooser, ReplayChooser, decisions
from search_spaces.initialise import initial_network
from search_spaces.parts import parts
from search_spaces.published import names
from search_spaces.spaces.members import find, least, num_members, num_points
from search_spaces.spec import with_scale
from tests.search_spaces.spaces import SPACES, make_space

SIZE = (17, 23)
NUM_MEMBERS = 200
FEWER = {"dwmamba": 50, "haesr": 50}  # members of spaces where each takes long
CLAIMS = [
    (name, network) for name in SPACES for network in getattr(make_space(name), "contains", [])
]


def count_members(name):
    """How many members of a space are tried."""
    return FEWER.get(name, NUM_MEMBERS)


def started(spec, seed):
    """The training form as `build` starts it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(spec, train=True)


def draw_member(space, seed):
    return space.sample(RandomChooser(random.Random(seed)))


@pytest.mark.parametrize(
    ("name", "seeds"),
    [(name, range(i, i + 50)) for name in SPACES for i in range(0, count_members(name), 50)],
    ids=str,
)
def test_random_members_build_run_and_learn(name, seeds):
    space = make_space(name)
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    for seed in seeds:
        spec = draw_member(space, seed)
        again = ArchSpec.from_json(spec.to_json())
        assert again == spec
        assert again.arch_id == spec.arch_id
        with torch.no_grad():
            assert build(spec).eval()(image).shape == (1, 3, 4 * SIZE[0], 4 * SIZE[1])
        learning = (
            initial_network(spec, seed, image, zero_output=False)
            if seed % 2
            else started(spec, seed)
        )
        learning(image).square().mean().backward()
        for key, parameter in learning.named_parameters():
            assert parameter.grad is not None, (key, spec.to_json())
            assert parameter.grad.isfinite().all(), (key, spec.to_json())


def list_traits(spec):
    """What the layers of a network are: their role, kind and each argument's value but the width."""
    traits = set()
    for part in parts(spec):
        blocks = [part.block]
        while blocks:
            block = blocks.pop()
            blocks += block.blocks
            args = [arg for arg in block.args if arg[0] != "channels"]
            traits |= {(part.role, block.kind, *arg) for arg in [(), *args]}
    return traits


@pytest.mark.parametrize("name", SPACES)
def test_members_cost_the_flops_of_a_trace(name):
    """Those with a layer unlike all before, and each tenth: FLOPs are a sum over layers."""
    space, seen = make_space(name), set()
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    for seed in range(count_members(name)):
        spec = draw_member(space, seed)
        if seed % 10 and list_traits(spec) <= seen:
            continue
        seen |= list_traits(spec)
        traced = count(build(spec).eval(), image)
        assert traced.flops == measure_cost(spec, size=SIZE).flops, spec.to_json()


@pytest.mark.parametrize("name", SPACES)
def test_the_sum_of_the_parts_is_the_cost_of_a_member(name):
    space = make_space(name)
    for seed in range(4):
        spec = draw_member(space, seed)
        whole = measure_cost(spec)
        assert summed_cost(spec) == {key: getattr(whole, key) for key in summed_cost(spec)}


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(("name", "network"), CLAIMS)
def test_space_contains_the_published_networks_that_it_claims(name, network, scale):
    space = make_space(name, scale=scale)
    wanted = with_scale(published(network), scale)
    picks = find(space, wanted)
    assert picks is not None
    assert space.sample(ReplayChooser(picks)).arch_id == wanted.arch_id


@functools.cache
def list_shipped():
    """Every space of conf/space as a search gets it, by its name."""
    return {name: compose_search(f"space={name}").space for name in SPACES}


@pytest.mark.parametrize("network", names())
def test_every_published_network_is_a_member_of_a_space_that_ships(network):
    wanted = published(network)
    claimed = [
        space for space in list_shipped().values() if network in getattr(space, "contains", ())
    ]
    assert claimed
    for space in claimed:
        picks = find(space, wanted)
        assert picks is not None
        assert space.sample(ReplayChooser(picks)).arch_id == wanted.arch_id


SPABS = {"num_blocks": 6, "activation": "silu", "bias": True} | {
    f"block{i}": "spab" for i in range(1, 8)
}
CHOICES = {
    ("esr", "dscf_fused"): SPABS
    | {
        "channels": 26, "frame": "merged", "merged.normalise": True, "merged.first.kernel": 5,
        "merged.first.attention": "parameter_free", "merged.taps": "all",
        "spab.attention": "parameter_free",
    },
    ("esr", "mambagate"): SPABS
    | {"channels": 48, "frame": "centred", "centred.taps": "all", "spab.attention": "mamba_gate"},
    ("haesr", "haesr"): {
        "num_blocks": 3, "channels": 48, "strip": 31, "kernel": 1, "attention": "esa",
        "haesr.normalise": False, "haesr.taps": "last", "haesr.fusion.kernel": 3,
        "haesr.skip": "none", "block2": "shab", "block3": "shab",
    },
    ("dwmamba", "dwmamba"): {
        "num_blocks": 4, "channels": 48, "window": 16, "mlp_ratio": 2, "ssm_ratio": 2,
        "d_state": 8, "kernel": 3, "dwmamba.fusion.kernel": 3, "dwmamba.skip": "none",
    } | {f"block{i}": "pair" for i in range(1, 5)},
}  # fmt: skip


@pytest.mark.parametrize("idle", [0, -1])
@pytest.mark.parametrize(("name", "network"), CHOICES)
def test_these_choices_are_the_published_network_whatever_the_others_are(name, network, idle):
    space = list_shipped()[name]
    others = {key: options[idle] for key, options in decisions(space).items()}
    assert CHOICES[name, network].keys() <= others.keys()
    spec = space.sample(ReplayChooser(others | CHOICES[name, network]))
    assert spec.arch_id == published(network).arch_id


def test_every_space_of_the_grammar_claims_something():
    assert {name for name, _ in CLAIMS} == {
        name for name in SPACES if hasattr(make_space(name), "contains")
    }


def test_a_network_that_is_no_member_is_not_found():
    assert find(make_space("span"), published("spanv2")) is None
    assert "rfdn_span" in names()
    assert find(make_space("attention"), published("rfdn_span")) is None


ONE = {"activation": ["silu"], "bias": [True]}
SMALL = {"num_blocks": [1, 3], "channels": [8, 16], "choices": ONE}


def test_members_are_counted_once_each(monkeypatch):
    """The estimate from draws against the exact count, in a space where most decisions are idle."""
    space = make_space("attention", **SMALL)
    exact = num_members(space)
    monkeypatch.setattr("search_spaces.spaces.members.MAX_COUNTED", 0)
    estimated = num_members(make_space("attention", **SMALL))
    assert exact < num_points(space) / 4
    assert estimated == pytest.approx(exact, rel=0.25)


def test_least_is_the_least_of_all():
    spab = {"kind": "spab", "channels": "$channels", "activation": "silu", "bias": True}
    blocks = {"spab": spab | {"attention": ["parameter_free", "conv1x1", "esa"]}}
    space = make_space("attention", **SMALL, blocks=blocks)
    every = [
        space.sample(ReplayChooser(dict(zip(decisions(space), point, strict=True))))
        for point in itertools.product(*decisions(space).values())
    ]
    for sign in (1, -1):
        found, spec = least(space, lambda one, sign=sign: sign * summed_cost(one)["flops"])
        assert found == min(
            sign * summed_cost(one)["flops"] for one in {e.arch_id: e for e in every}.values()
        )
        assert sign * summed_cost(spec)["flops"] == found
