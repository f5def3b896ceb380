"""A fused network is the plain one: same state, same numbers, same counts, other operators."""

import copy
import random

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from nas.measure.cost import count
from nas.ops.fuse import fuse, unfused
from search_spaces import ArchSpec, BlockSpec, build, published
from search_spaces.blocks.spab import SPAB
from search_spaces.chooser import RandomChooser
from search_spaces.layers.attention import VALUEWISE
from tests.nas.measure.networks import random_spec
from tests.nas.ops import torch_warnings
from tests.search_spaces.spaces import make_space
from tests.search_spaces.test_spaces import SPAN_LIKE

LEVELS = ("operator", "epilogue")
IMAGE = torch.rand(2, 3, 11, 13, generator=torch.Generator().manual_seed(0))


class Calls(TorchDispatchMode):
    """Counts the operators that the dispatcher sees."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        self.seen[name] = self.seen.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


def calls(net):
    with torch.no_grad(), Calls() as mode:
        net(IMAGE)
    return {
        name: num
        for name, num in mode.seen.items()
        if name.startswith(("nas::", "aten::convolution"))
    }


def same_counts(net, image):
    plain = count(net, image)
    for level in LEVELS:
        fused = count(fuse(net, attention=level), image)
        for field in ("params", "flops", "activations", "num_conv"):
            assert getattr(fused, field) == getattr(plain, field), (level, field)
    return plain


def check_equal(net):
    with torch.no_grad():
        wanted = net(IMAGE)
        for level in LEVELS:
            assert torch.equal(fuse(net, attention=level)(IMAGE), wanted)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["span", "spanf", "spanv2"])
def test_a_fused_copy_has_the_same_state_and_leaves_the_network_alone(name, level):
    net = build(published(name)).eval()
    parts, before = list(net.named_modules()), copy.deepcopy(net.state_dict())
    fused = fuse(net, attention=level)
    assert fused.spec is net.spec or fused.spec == net.spec
    assert not fused.training
    assert list(fused.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in fused.state_dict().items())
    assert list(net.named_modules()) == parts
    mine = {value.data_ptr() for value in fused.parameters()}
    assert mine.isdisjoint(value.data_ptr() for value in net.parameters())
    other = build(published(name))
    fused.load_state_dict(other.state_dict())
    with torch.no_grad():
        assert torch.equal(fused(IMAGE), other(IMAGE))
    other.load_state_dict(fused.state_dict())


@pytest.mark.parametrize(
    ("name", "level", "wanted"),
    [
        ("span", "operator", (22, 6, 0, 0)),
        ("span", "epilogue", (22, 0, 0, 0)),
        ("spanf", "operator", (17, 4, 0, 1)),
        ("spanv2", "operator", (16, 0, 4, 2)),
        ("spanv2", "epilogue", (16, 0, 0, 2)),
    ],
)
def test_the_dispatcher_sees_the_fused_operators(name, level, wanted):
    seen = calls(fuse(build(published(name)), attention=level))
    names = (
        "nas::conv_act",
        "nas::parameter_free_attention",
        "nas::span_attention",
        "aten::convolution",
    )
    assert tuple(seen.get(name, 0) for name in names) == wanted


@pytest.mark.parametrize("name", ["span", "spanf", "spanv2"])
def test_published_networks_keep_output_and_counts(name):
    check_equal(build(published(name)).eval())
    with torch.device("meta"):
        net, image = build(published(name)).eval(), torch.empty(1, 3, 256, 256)
    cost = same_counts(net, image)
    if name == "spanv2":
        assert (cost.flops, cost.num_conv, cost.activations) == (9_107_931_136, 22, 51_380_224)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("space", SPAN_LIKE)
def test_samples_keep_output_and_counts(space, seed):
    made = make_space(space, block_channels=[0.75, 1.0, 1.25])
    net = build(made.sample(RandomChooser(random.Random(seed)))).eval()
    check_equal(net)
    same_counts(net, torch.rand(1, 3, 9, 10))


@pytest.mark.parametrize("seed", range(10))
def test_any_network_of_the_grammar_keeps_output_and_counts(seed):
    net = build(random_spec(seed)).eval()
    check_equal(net)
    same_counts(net, torch.rand(1, 3, 9, 10))


@pytest.mark.parametrize("level", LEVELS)
def test_a_fused_network_learns_as_the_plain_one(level):
    spec = random_spec(3)
    net = build(spec).double()
    fused = fuse(net, attention=level)
    for each in (net, fused):
        each(IMAGE.double()).square().mean().backward()
    wanted = {name: value.grad for name, value in net.named_parameters()}
    assert all(value is not None for value in wanted.values())
    torch.testing.assert_close(
        {name: value.grad for name, value in fused.named_parameters()}, wanted
    )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["span", "spanf", "spanv2"])
def test_learning_costs_the_flops_of_the_plain_network(name, level):
    net = build(published(name))
    totals = []
    for each in (net, fuse(net, attention=level)):
        with FlopCounterMode(display=False) as counter:
            each(IMAGE).sum().backward()
        totals.append(counter.get_total_flops())
    assert totals[0] == totals[1] > 0


@pytest.mark.parametrize("attention", VALUEWISE)
def test_every_gate_of_single_values_leaves_no_plain_convolution_in_the_body(attention):
    block = BlockSpec.of("spab", channels=8, activation="silu", attention=attention, bias=True)
    net = build(ArchSpec(**_spec(block))).eval()
    for level in LEVELS:
        fused = fuse(net, attention=level)
        assert unfused(fused) == {}
        assert "aten::convolution" not in calls(fused)
    check_equal(net)


def _spec(block):
    return {
        "scale": 2, "normalise": True, "blocks": (block, block), "taps": ("block2", "block1.inner"),
        "fusion": BlockSpec.of("conv", channels=8, kernel=1, bias=True),
        "upsampler": BlockSpec.of("pixel_shuffle", kernel=3, bias=True),
    }  # fmt: skip


def test_what_stays_plain_is_listed_with_its_reason():
    fused = fuse(build(published("spanv2")))
    assert unfused(fused) == {
        "fusion": "a convolution in 80 groups has no kernel",
        "skip": "a convolution in 3 groups has no kernel",
    }
    named = unfused(build(published("spanv2")))
    assert named["blocks.1.conv1"] == named["blocks.2.attention.conv"] == "it was not fused"
    assert set(unfused(fused)) < set(named)


class Unknown(SPAB):
    """Derived from a known block, and computes something else."""

    def forward_with_inner(self, x):
        out, inner = super().forward_with_inner(x)
        return -out, inner


class Strided(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(32, 32, 3, stride=2, padding=1)
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x):
        return self.up(self.down(x))[:, :, : x.shape[2], : x.shape[3]]


def test_blocks_that_are_not_known_stay_and_what_is_in_them_is_fused():
    net = build(published("spanv2")).eval()
    net.blocks["3"].__class__ = Unknown
    net.blocks["4"] = Strided()
    fused = fuse(net)
    check_equal(net)
    assert type(fused.blocks["3"]) is Unknown
    assert "blocks.3.conv1" not in unfused(fused)
    assert "keep height and width" in unfused(fused)["blocks.4.down"]
    assert unfused(fused)["blocks.4.up"] == "Upsample has no kernel"


def test_training_forms_are_refused_by_name():
    net = build(published("span"), train=True)
    with pytest.raises(
        ValueError, match="fuse: stem holds training branches; fold the network first"
    ):
        fuse(net)
    check_equal(net.fold().eval())


def test_a_level_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="attention must be operator or epilogue, got 'inside'"):
        fuse(build(published("span")), attention="inside")


def test_half_a_network_and_moved_networks_work():
    fused = fuse(build(published("spanv2")).eval(), attention="epilogue")
    with torch.no_grad():
        assert fused.to(torch.bfloat16)(IMAGE.bfloat16()).dtype == torch.bfloat16
        assert fused.to("meta")(IMAGE.bfloat16().to("meta")).shape == (2, 3, 44, 52)


@torch_warnings.IGNORED
def test_it_compiles_as_one_graph():
    fused = fuse(build(random_spec(1)).eval())
    with torch.no_grad():
        compiled = torch.compile(fused, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(IMAGE), fused(IMAGE))
