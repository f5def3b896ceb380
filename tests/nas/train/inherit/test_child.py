import dataclasses

import pytest
import torch

from nas.measure.quality import mean_db, per_image
from nas.train.inherit import Teacher, inherit
from nas.train.inherit.fitting import Fit
from nas.train.linear import linear_filter
from nas.train.proxy import OverBase, bicubic_base
from search_spaces.checkpoints.official import load_strict
from search_spaces.initialise import initial_network
from search_spaces.network import build
from search_spaces.spec import BlockSpec
from tests.nas.train.inherit.families import (
    CPU,
    SMALL,
    V2,
    member,
    patches,
    random_images,
    random_teacher,
    teacher,
    trained,
)
from tests.nas.train.proxies import image_set
from tests.search_spaces.tiny import tiny_spec

GROWTH = [
    ({"channels": 12, "taps": "all"}, {"channels": 20}),
    ({"attention": "hard_parameter_free", "tail_channels": 0.5}, {"taps": "ends", "tail_channels": 1.0}),
    ({"attention": "conv1x1", "taps": "all", "num_blocks": 2}, {"num_blocks": 4, "channels": 12}),
    ({"attention": "diagonal", "bias": False, "num_blocks": 2}, {"num_blocks": 3, "channels": 12}),
    ({"attention": "none", "taps": "ends", "skip": "near"}, {"num_blocks": 3, "channels": 12}),
    ({"attention": "none", "num_blocks": 2}, {"attention": "conv1x1", "skip": "near"}),
    (V2 | {"num_blocks": 2}, {"num_blocks": 4, "channels": 12}),
    (V2 | {"num_blocks": 2, "head": "conv", "taps": "ends"}, {"num_blocks": 3, "channels": 16}),
    (V2 | {"num_blocks": 2, "bias": True, "taps": "last"}, {"taps": "ends", "head": "separable"}),
]  # fmt: skip


@pytest.mark.parametrize(("parent", "changes"), GROWTH)
def test_a_grown_child_gives_the_parents_output(parent, changes):
    spec = tiny_spec(**{"channels": 8} | parent)
    parent_net = random_teacher(spec)
    child = inherit(parent_net, tiny_spec(**{"channels": 8} | parent | changes), seed=3)
    unseen = random_images(2, 19, seed=9)
    with torch.no_grad():
        wanted = parent_net.net(unseen)
        assert wanted.std() > 0.05
        assert (child(unseen) - wanted).abs().max() <= 1e-6 * max(1.0, wanted.abs().max().item())


def test_new_channels_take_gradients():
    spec = tiny_spec(channels=8, num_blocks=2)
    child = inherit(random_teacher(spec), tiny_spec(channels=12, num_blocks=2), seed=3)
    images = random_images()
    optimizer = torch.optim.SGD(child.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        child(images).square().mean().backward()
        optimizer.step()
    for name, value in child.named_parameters():
        if name.startswith("blocks.1") and name.endswith("weight"):
            assert value.grad[8:].abs().max() > 0, name
            assert value.grad[:, 8:].abs().max() > 0, name


def test_a_child_equal_to_its_parent_is_its_parent():
    child = inherit(teacher(), trained().spec, seed=0)
    for name, value in trained().state_dict().items():
        torch.testing.assert_close(child.state_dict()[name], value, rtol=0, atol=1e-5)


def db(net):
    return mean_db(per_image(OverBase(net), image_set("astronaut", "chelsea", role="val"), CPU))


@torch.no_grad()
def first_channels(net, spec):
    """The parent's weights, of each tensor what comes first; taps keep their place."""
    child = build(spec)
    theirs, width = dict(net.state_dict()), net.stem.out_channels
    for name, value in child.state_dict().items():
        source = theirs[name]
        if name == "fusion.weight":
            source = torch.cat([part[:, :8] for part in source.split(width, 1)], 1)
        value.copy_(source[tuple(slice(size) for size in value.shape)])
    return child


@pytest.fixture(scope="module")
def linear_db():
    images = image_set("astronaut", "chelsea", role="val")
    return mean_db(per_image(linear_filter(patches(), CPU), images, CPU))


def test_a_cut_child_of_a_trained_parent_beats_the_first_channels_and_a_linear_filter(linear_db):
    spec = tiny_spec(**SMALL | {"channels": 8})
    found = db(inherit(teacher(), spec, seed=0))
    assert db(trained()) > linear_db + 0.1
    assert found > linear_db
    assert found > db(first_channels(trained(), spec)) + 0.2


@pytest.mark.parametrize(
    "changes",
    [{"num_blocks": 2}, {"activation": "relu"}, {"attention": "conv1x1"}, {"tail_channels": 0.75},
     {"attention": "hard_parameter_free"}, {"taps": "ends"}, {"head": "separable"}, {"skip": "near"},
     {"num_blocks": 4}, {"channels": 16, "num_blocks": 2}],
)  # fmt: skip
def test_a_changed_child_of_a_trained_parent_beats_a_linear_filter(changes, linear_db):
    assert db(inherit(teacher(), tiny_spec(**SMALL | changes), seed=0)) > linear_db


@pytest.mark.parametrize("changes", [{"channels": 8}, {"num_blocks": 2}, {"activation": "relu"}])
def test_regression_brings_a_child_nearer_to_its_parent(changes, monkeypatch):
    images, _ = patches().batch(77, 8, 24)
    spec = tiny_spec(**SMALL | changes)

    wanted = trained()(images).detach()

    def error():
        return (inherit(teacher(), spec, seed=0)(images) - wanted).square().mean().item()

    found = error()
    monkeypatch.setattr(Fit, "_add_to_weights", lambda self, rows: None)
    assert found < 0.8 * error()


def test_a_residual_child_of_a_whole_parent_takes_its_target():
    """The parent gives the image itself, the child its output minus the base."""
    images, _ = patches().batch(5, 10, 16)
    whole = initial_network(tiny_spec(channels=8), 0, images, zero_output=False)
    parent = Teacher(whole, images, rows=2048)
    with torch.no_grad():
        target = whole(images) - bicubic_base(images, 4)
        child = inherit(parent, whole.spec, seed=0, target=target)
        error = (child(images) - target).square().mean()
        assert error < 0.5 * (whole(images) - target).square().mean()


@pytest.mark.parametrize("space", ["span", "spanv2"])
def test_random_members_inherit_finite_weights(space):
    largest = {"num_blocks": [3], "channels": [16]}
    parents = [random_teacher(member(space, seed, **largest), rows=512) for seed in range(3)]
    small = {"num_blocks": [2, 3, 4], "channels": [8, 12, 20], "block_channels": [0.75, 1.0, 1.25]}
    for seed in range(30):
        spec = member(space, seed, **small)
        state = inherit(parents[seed % 3], spec, seed=seed).state_dict()
        load_strict(build(spec), state, "child")
        assert all(value.isfinite().all() for value in state.values()), spec


def test_the_same_seed_gives_the_same_child():
    spec = tiny_spec(channels=10, num_blocks=2, activation="relu")
    states = []
    for seed in (4, 4, 5):
        torch.rand(3)
        states.append(inherit(random_teacher(tiny_spec(channels=8)), spec, seed=seed).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_the_parent_is_left_as_it_is():
    before = {name: value.clone() for name, value in trained().state_dict().items()}
    child = inherit(teacher(), trained().spec, seed=0)
    with torch.no_grad():
        for value in child.parameters():
            value.zero_()
    assert all(torch.equal(before[name], value) for name, value in trained().state_dict().items())


def test_what_does_not_correspond_is_refused():
    parent = random_teacher(tiny_spec())
    with pytest.raises(ValueError, match="stem of a child"):
        inherit(parent, tiny_spec(**V2), seed=0)
    with pytest.raises(ValueError, match="target must be"):
        inherit(parent, tiny_spec(), seed=0, target=torch.zeros(1, 3, 4, 4))
    blocks = (BlockSpec.of("depthwise", kernel=3, bias=True),)
    other = dataclasses.replace(tiny_spec(), blocks=blocks, taps=("block1",))
    with pytest.raises(ValueError, match="blocks must be"):
        inherit(parent, other, seed=0)
    with pytest.raises(ValueError, match="images must be"):
        Teacher(parent.net, torch.zeros(3, 8, 8))
