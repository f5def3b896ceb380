# ruff: noqa: E501 - one case a line
"""Released names belong to a family: relatives of published networks, by arch= and from the file
alone.
"""

import dataclasses
import random
import re

import pytest
import torch
from torch.nn import functional as F

from search_spaces import ArchSpec, BlockSpec, build, published
from search_spaces.checkpoints.families import released_entries, with_blocks
from search_spaces.checkpoints.key_names import released_name
from search_spaces.checkpoints.official import describe_origin, load_official, recognise
from search_spaces.published import names
from search_spaces.spec import with_scale
from tests.search_spaces.span_files import merge_all, span_state

IMAGE = torch.rand(1, 3, 9, 8, generator=torch.Generator().manual_seed(2))
MEAN = torch.tensor((0.4488, 0.4371, 0.4040)).view(1, 3, 1, 1)
SPANS = [  # channels, blocks, scale, normalised; what the file holds
    ((12, 6, 2, True), "both"), ((12, 6, 2, True), "branches"), ((16, 4, 4, True), "merged"), ((5, 1, 3, False), "both"),
    ((8, 12, 4, False), "merged"), ((26, 6, 4, True), "both"), ((28, 6, 4, False), "branches"), ((48, 2, 3, True), "merged"),
]  # fmt: skip


class Conv3XC(torch.nn.Module):
    """As the repository of SPAN has it, which merges in every evaluation."""

    def __init__(self, a, b):
        super().__init__()
        self.sk, self.eval_conv = torch.nn.Conv2d(a, b, 1), torch.nn.Conv2d(a, b, 3, padding=1)
        self.conv = torch.nn.Sequential(
            torch.nn.Conv2d(a, 2 * a, 1),
            torch.nn.Conv2d(2 * a, 2 * b, 3),
            torch.nn.Conv2d(2 * b, b, 1),
        )

    def forward(self, x):
        return self.conv(F.pad(x, (1, 1, 1, 1))) + self.sk(x)


class Span(torch.nn.Module):
    """As released, of any shape."""

    def __init__(self, channels, num_blocks, scale, norm):
        super().__init__()
        self.num_blocks, self.scale, self.norm = num_blocks, scale, norm
        if not norm:
            self.register_buffer("no_norm", torch.zeros(1))
        self.conv_1, self.conv_2 = Conv3XC(3, channels), Conv3XC(channels, channels)
        for i in range(1, num_blocks + 1):
            convs = {f"c{j}_r": Conv3XC(channels, channels) for j in (1, 2, 3)}
            setattr(self, f"block_{i}", torch.nn.ModuleDict(convs))
        self.conv_cat = torch.nn.Conv2d(4 * channels, channels, 1)
        self.upsampler = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 3 * scale**2, 3, padding=1), torch.nn.PixelShuffle(scale)
        )

    def forward(self, image):
        x = first = self.conv_1(255 * (image - MEAN) if self.norm else image)
        outputs = []
        for i in range(1, self.num_blocks + 1):
            block = getattr(self, f"block_{i}")
            inner = F.silu(block["c1_r"](x))
            o = block["c3_r"](F.silu(block["c2_r"](inner)))
            x = (o + x) * (torch.sigmoid(o) - 0.5)
            outputs.append(x)
        return self.upsampler(
            self.conv_cat(torch.cat([first, self.conv_2(x), outputs[0], inner], 1))
        )


def span_spec(channels, num_blocks, scale, norm):
    conv = BlockSpec.of("conv", channels=channels, kernel=3, bias=True)
    spab = BlockSpec.of(
        "spab", channels=channels, activation="silu", attention="parameter_free", bias=True
    )
    return ArchSpec(
        scale=scale,
        normalise=norm,
        stem=conv,
        blocks=(*[spab] * num_blocks, conv),
        taps=("stem", f"block{num_blocks + 1}", "block1", f"block{num_blocks}.inner"),
        fusion=BlockSpec.of("conv", channels=channels, kernel=1, bias=True),
        upsampler=BlockSpec.of("pixel_shuffle", kernel=3, bias=True),
        train_form=BlockSpec.of("conv3xc", gain=2),
    )


def saved(tmp_path, state):
    torch.save(state, tmp_path / "span.pth")
    return tmp_path / "span.pth"


def only(state, form):
    """What a file holds of the three kinds: merged convolutions, branches, or both."""
    if form == "merged":
        return merge_all({key: value for key, value in state.items() if ".eval_conv." not in key})
    return {
        key: value for key, value in state.items() if form == "both" or ".eval_conv." not in key
    }


@pytest.mark.parametrize(("shape", "form"), SPANS)
def test_a_span_of_any_shape_loads_and_is_recognised(tmp_path, shape, form):
    torch.manual_seed(1)
    released = Span(*shape)
    path = saved(tmp_path, {"params": only(released.state_dict(), form)})
    spec = span_spec(*shape)
    assert recognise(path).arch_id == spec.arch_id
    with torch.no_grad():
        wanted = released(IMAGE)
        for train in (False, True):
            net = build(spec, train=train)
            load_official(net, path)
            assert (net(IMAGE) - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.parametrize(
    ("shape", "change", "message"),
    [
        ((12, 4, 2, True), {"conv_cat.weight": None}, "missing conv_cat.weight"),
        ((12, 4, 2, True), {"block_5.c1_r.sk.bias": torch.zeros(12)}, "unexpected block_5.c1_r.sk.bias"),
        ((12, 4, 2, True), {"conv_2.sk.bias": torch.zeros(9)}, "conv_2.sk.bias has shape (9,) instead of (12,)"),
        ((12, 4, 2, True), {"no_norm": torch.zeros(1)}, "unexpected no_norm (trained on the image itself"),
        ((12, 4, 2, False), {"no_norm": None}, "missing no_norm (trained on 255 * (image - mean), not on the image itself: use normalise: true)"),
        ((12, 4, 2, True), {"conv_cat.weight": torch.zeros(12, 48, 1, 1, dtype=torch.int8)}, "conv_cat.weight holds int8 instead of real numbers"),
    ],
)  # fmt: skip
def test_a_relative_is_loaded_as_strictly_as_a_published_network(tmp_path, shape, change, message):
    channels, num_blocks, scale, norm = shape
    state = span_state(channels=channels, num_blocks=num_blocks, scale=scale, norm=norm) | change
    path = saved(tmp_path, {key: value for key, value in state.items() if value is not None})
    net = build(span_spec(*shape))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=re.escape(f"does not fit the network: {message}")):
        load_official(net, path)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("change", [{"activation": "relu"}, {"attention": "none"}, {"bias": False}])
def test_other_parts_are_no_relative_and_take_their_own_names_alone(tmp_path, change):
    spec = span_spec(12, 4, 2, True)
    args = dict(spec.blocks[0].args) | change
    other = dataclasses.replace(spec, blocks=(*[BlockSpec.of("spab", **args)] * 4, spec.blocks[-1]))
    assert released_entries(other) == []
    assert describe_origin(other) == "no relative of a published network"
    with pytest.raises(ValueError, match="it has none of its names"):
        load_official(build(other), saved(tmp_path, span_state(channels=12, num_blocks=4, scale=2)))
    torch.manual_seed(0)
    source, net = build(other), build(other)
    load_official(net, saved(tmp_path, source.state_dict()))
    assert torch.equal(net(IMAGE), source(IMAGE))


def relatives():
    """Of each published network one of other depth and scale."""
    rng = random.Random(0)
    for name in names():
        spec = published(name)
        shapes = [
            with_blocks(spec, count) for count in range(len(spec.blocks) - 2, len(spec.blocks) + 3)
        ]
        found = [one for one in shapes if one is not None and one != spec]
        yield pytest.param(name, with_scale(rng.choice(found), rng.choice((2, 3))), id=name)


@pytest.mark.parametrize(("name", "spec"), list(relatives()))
def test_a_relative_of_each_published_network_goes_there_and_back(tmp_path, name, spec):
    """Written under the released names, read by arch= and recognised."""
    torch.manual_seed(0)
    source, net = build(spec), build(spec)
    patterns = next(found["official_keys"] for found in released_entries(spec))
    state = {released_name(key, patterns): value for key, value in source.state_dict().items()}
    assert not state.keys() & source.state_dict().keys()
    path = saved(tmp_path, {"params_ema": state})
    assert recognise(path).arch_id == spec.arch_id
    load_official(net, path)
    assert all(value.equal(source.state_dict()[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", names())
def test_a_published_network_is_recognised_under_both_names(tmp_path, name):
    torch.manual_seed(0)
    state = build(published(name)).state_dict()
    patterns = released_entries(published(name))[0]["official_keys"]
    for file in (state, {released_name(key, patterns): value for key, value in state.items()}):
        assert recognise(saved(tmp_path, {"netG": file})).arch_id == published(name).arch_id


def test_widths_of_two_kinds_are_told_apart(tmp_path):
    spec = published("pds")
    blocks = tuple(dataclasses.replace(block, args=tuple(sorted((dict(block.args) | {"channels": 18}).items()))) for block in spec.blocks)  # fmt: skip
    spec = dataclasses.replace(
        spec, blocks=blocks, fusion=BlockSpec.of("conv", channels=10, kernel=1, bias=True)
    )
    patterns = released_entries(spec)[0]["official_keys"]
    state = {released_name(key, patterns): value for key, value in build(spec).state_dict().items()}
    assert recognise(saved(tmp_path, state)).arch_id == spec.arch_id
    assert describe_origin(spec).startswith("a relative of published/p")


def test_what_is_not_known_is_not_recognised_and_says_what_to_give(tmp_path):
    for state in ({"a.weight": torch.zeros(3, 3)}, span_state() | {"mask": torch.zeros(1)}):
        with pytest.raises(
            ValueError, match=r"span\.pth is not recognised, .*say what it is of: arch="
        ):
            recognise(saved(tmp_path, state))
