# ruff: noqa: E501 - one case a line, with its whole message
"""Training forms are the functions that are folded from them: in float64, borders and gradients
too.
"""

import copy
import dataclasses
import pickle
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from search_spaces import BlockSpec, build, published
from search_spaces.blocks import BLOCKS
from search_spaces.published import names
from search_spaces.reparam import RepConv2d, TrainingConv, rep_convs
from search_spaces.reparam.forms import KINDS
from tests.search_spaces.forms import FORMS, SHAPES, draw, form_conv

IMAGE = torch.randn(2, 6, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
KINDS_OF_FORMS = ("asymmetric", "conv3xc", "erb", "lora", "mbrb", "repvgg", "sum")
# A form is a convolution's own affair: one network takes them all, each other one takes two.
NETWORKS_IN_FORMS = [
    (name, form)
    for place, name in enumerate(names())
    for step, form in enumerate(KINDS_OF_FORMS)
    if name == "span" or (step - place) % len(KINDS_OF_FORMS) in (0, 3)
]
every_form = pytest.mark.parametrize("form", FORMS)
every_shape = pytest.mark.parametrize(("in_channels", "channels", "kernel", "bias"), SHAPES)


def error(found, wanted):
    """The largest difference as a share of the largest value."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


@every_form
@every_shape
def test_merged_kernel_is_the_branches_at_the_borders_too(
    form, in_channels, channels, kernel, bias
):
    conv = form_conv(form, in_channels, channels, kernel, bias)
    x = IMAGE[:, :in_channels]
    assert error(conv(x), conv.branches(x)) <= 1e-12
    assert error(conv(x[:, :, :2, :1]), conv.branches(x[:, :, :2, :1])) <= 1e-12  # borders alone
    weight, offset = conv.merged()
    assert weight.shape == conv.shape == (channels, in_channels, kernel, kernel)
    assert (offset is not None) == bias == conv.has_bias


@every_form
@every_shape
def test_merged_kernel_gives_the_gradients_of_the_branches(
    form, in_channels, channels, kernel, bias
):
    conv = form_conv(form, in_channels, channels, kernel, bias)
    x = IMAGE[:, :in_channels].clone().requires_grad_()
    wanted = [x, *(p for p in conv.parameters() if p.requires_grad)]
    weights = torch.randn(2, channels, 6, 7, dtype=torch.float64)
    merged = torch.autograd.grad((conv(x) * weights).sum(), wanted)
    branches = torch.autograd.grad((conv.branches(x) * weights).sum(), wanted)
    for one, other in zip(merged, branches, strict=True):
        assert error(one, other) <= 1e-10


def reference(kind, conv, x):
    """Each form from its formula, with nothing of ours but its numbers."""
    p = {name: value.detach() for name, value in conv.named_parameters()}
    k, same = conv.shape[-1], conv.shape[0] == conv.shape[1]
    padded = F.pad(x, [k // 2] * 4)

    def apply(name, image, **more):
        return F.conv2d(image, p[f"{name}.weight"], p.get(f"{name}.bias"), **more)

    if kind == "conv3xc":
        return apply("project", apply("conv", apply("expand", padded))) + apply("shortcut", x)
    if kind == "erb":
        inner = apply("expand", x)
        bias = p.get("expand.bias", torch.zeros(inner.shape[1], dtype=x.dtype)).view(1, -1, 1, 1)
        ring = bias.expand(len(x), -1, x.shape[2] + k - 1, x.shape[3] + k - 1).clone()
        ring[:, :, k // 2 : -(k // 2), k // 2 : -(k // 2)] = inner  # padded with E's bias
        out = apply("project", apply("conv", ring) + inner)
        return out + x if same else out
    if kind == "lora":
        change = (p["lora_b"] @ p["lora_a"]).reshape(conv.shape) * 3.0 / 2
        return apply("conv", x, padding=k // 2) + F.conv2d(x, change, padding=k // 2)
    out = apply("conv", x, padding=k // 2)
    if kind in ("repvgg", "mbrb"):
        out = out + apply("pointwise", x) + (x if same else 0)
    if kind in ("asymmetric", "mbrb"):
        out = out + apply("row", x, padding=(0, k // 2)) + apply("column", x, padding=(k // 2, 0))
    return out + apply("reduce", apply("expand", padded)) if kind == "mbrb" else out


@pytest.mark.parametrize("kind", [kind for kind in KINDS_OF_FORMS if kind != "sum"])
@every_shape
def test_form_is_its_formula(kind, in_channels, channels, kernel, bias):
    conv = form_conv(kind, in_channels, channels, kernel, bias)
    x = IMAGE[:, :in_channels]
    assert error(conv(x), reference(kind, conv, x)) <= 1e-12


def test_shapes_of_lora_are_those_of_the_paper():
    conv = TrainingConv(FORMS["lora"])(5, 7, kernel=3, bias=True)
    assert conv.lora_a.shape == (2 * 3, 5 * 3)
    assert conv.lora_b.shape == (7 * 3, 2 * 3)
    assert conv.lora_a.abs().max() > 0
    assert torch.equal(conv.merged().weight, conv.conv.weight)  # B starts at zero
    frozen = TrainingConv(FORMS["lora_frozen"])(5, 7, kernel=3, bias=True)
    trained = {name for name, value in frozen.named_parameters() if value.requires_grad}
    assert trained == {"lora_a", "lora_b"}


@every_form
@every_shape
def test_from_plain_gives_the_kernel_to_the_branches(form, in_channels, channels, kernel, bias):
    conv = TrainingConv(FORMS[form])(in_channels, channels, kernel=kernel, bias=bias).double()
    plain = draw(nn.Conv2d(in_channels, channels, kernel, bias=bias).double(), seed=3)
    conv.from_plain(plain.weight, plain.bias)
    weight, offset = conv.merged()
    assert error(weight, plain.weight) <= 1e-10
    assert not bias or error(offset, plain.bias) <= 1e-10
    trained = [value.requires_grad for value in conv.parameters()]
    assert any(trained)
    assert all(trained) == ("frozen" not in form)


@pytest.mark.parametrize("form", ["conv3xc_1", "erb_1", "sum_of_sum"])
def test_from_plain_is_exact_in_float32_too_when_the_outer_branches_are_nearly_singular(form):
    torch.manual_seed(0)
    for _ in range(20):
        conv = TrainingConv(FORMS[form])(12, 12, kernel=3, bias=True)
        for part in conv.modules():
            if form != "sum_of_sum" and isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1):
                with torch.no_grad():
                    part.weight[:, 0] = part.weight[:, 1]
        plain = nn.Conv2d(12, 12, 3)
        conv.from_plain(plain.weight, plain.bias)
        weight, offset = conv.merged()
        assert error(weight, plain.weight) <= 1e-5
        assert error(offset, plain.bias) <= 1e-5


@pytest.mark.parametrize(
    ("weight", "bias"), [((5, 3, 3, 3), None), ((5, 3, 5, 5), (5,)), ((3, 5, 3, 3), (5,))]
)
def test_from_plain_refuses_another_shape(weight, bias):
    conv = TrainingConv(FORMS["erb"])(3, 5, kernel=3, bias=True)
    with pytest.raises(
        ValueError, match=re.escape("weight and bias ((5, 3, 3, 3), (5,)) cannot hold")
    ):
        conv.from_plain(torch.zeros(weight), bias and torch.zeros(bias))


@pytest.mark.parametrize("form", ["asymmetric", "erb", "lora", "mbrb", "repvgg", "sum"])
def test_a_chain_of_fresh_layers_keeps_the_size_of_its_features(form):
    """Without normalisation a plain sum of branches and identities grows a thousand times and more."""
    torch.manual_seed(0)
    x = torch.randn(1, 16, 24, 24)
    size = x.std()
    for _ in range(12):
        x = TrainingConv(FORMS[form])(16, 16, kernel=3, bias=True)(x)
    assert x.std() <= (10 if form in ("erb", "sum") else 1) * size


@every_form
def test_a_form_is_copied_pickled_and_compiled(form):
    conv = form_conv(form, 4, 4, 3, True)
    x = IMAGE[:, :4]
    wanted = conv(x)
    for twin in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv))):
        assert torch.equal(twin(x), wanted)
        assert [p.requires_grad for p in twin.parameters()] == [
            p.requires_grad for p in conv.parameters()
        ]
    torch._dynamo.reset()
    compiled = torch.compile(conv, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), wanted, rtol=0, atol=1e-12)


@every_form
def test_a_network_in_a_form_is_saved_and_loaded(form, tmp_path):
    spec = dataclasses.replace(published("errn2"), train_form=FORMS[form])
    torch.manual_seed(0)
    net, other = build(spec, train=True), build(spec, train=True)
    save_file(
        net.state_dict(), tmp_path / "net.safetensors"
    )  # which refuses tensors that are there twice
    other.load_state_dict(load_file(tmp_path / "net.safetensors"))
    x = torch.rand(1, 3, 6, 6)
    assert torch.equal(net(x), other(x))
    assert torch.equal(net(x), pickle.loads(pickle.dumps(copy.deepcopy(net)))(x))


@pytest.mark.parametrize(("name", "form"), NETWORKS_IN_FORMS)
def test_every_network_folds_and_unfolds_in_every_form(name, form):
    folds_back(dataclasses.replace(published(name), train_form=FORMS[form]))


def folds_back(spec):
    torch.manual_seed(0)
    net = build(spec, train=True).double().eval()  # some draw random numbers in training
    assert list(rep_convs(net))
    x = torch.rand(1, 3, 12, 11, dtype=torch.float64)
    plain = net.fold()
    assert not list(rep_convs(plain))
    assert all(value.requires_grad and value.is_leaf for value in plain.parameters())
    with torch.no_grad():
        assert error(plain(x), net(x)) <= 1e-10
        again = plain.unfold(seed=3)
        assert again.state_dict().keys() == net.state_dict().keys()
        assert error(again(x), plain(x)) <= 1e-10
        for _, conv in rep_convs(again):
            conv.forward = conv.branches
        assert error(again(x), plain(x)) <= 1e-10


@pytest.mark.parametrize("name", [name for name in names() if published(name).train_form])
def test_published_network_folds_from_its_own_form(name):
    folds_back(published(name))


@pytest.mark.parametrize(
    ("name", "numbers"), [("span", 634_048), ("spanf", None), ("spanv2", None)]
)
def test_training_form_holds_its_branches(name, numbers):
    """634,048 is what SPAN's repository counts for its own training branches (DESIGN 2)."""
    net = build(published(name), train=True)
    held = sum(p.numel() for p in net.parameters())
    plain = sum(p.numel() for p in build(published(name)).parameters())
    assert held > 4 * plain
    assert numbers in (None, held)


def test_fold_keeps_dtype_mode_and_the_original():
    net = build(published("spanv2"), train=True).double().eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    folded = net.fold()
    assert not folded.training
    assert next(folded.parameters()).dtype == torch.float64
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_fold_of_a_plain_network_is_a_copy():
    net = build(published("spanv2"))
    x = torch.rand(1, 3, 8, 8)
    folded = net.fold()
    torch.testing.assert_close(functional_call(folded, dict(net.state_dict()), (x,)), net(x))
    torch.testing.assert_close(folded(x), net(x))


def test_unfold_repeats_by_its_seed_and_keeps_the_generator_the_mode_and_the_outer_branches_of_a_start():
    net = build(published("span")).eval()
    state = torch.get_rng_state()
    one, same, other = (net.unfold(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert not one.training
    assert all(
        torch.equal(value, same.state_dict()[key]) for key, value in one.state_dict().items()
    )
    for branch in ("expand", "project", "shortcut"):
        found = one.blocks["1"].conv1.get_submodule(branch).weight
        assert not torch.equal(found, other.blocks["1"].conv1.get_submodule(branch).weight)
        assert found.abs().max() <= found.shape[1] ** -0.5  # as PyTorch starts them


def test_unfold_of_a_training_form_and_of_a_network_without_one_is_a_copy():
    x = torch.rand(1, 3, 8, 8)
    for net in (build(published("span"), train=True), build(published("rfdn_span"))):
        copied = net.unfold(seed=0)
        assert copied is not net
        assert copied.state_dict().keys() == net.state_dict().keys()
        assert torch.equal(copied(x), net(x))


def test_unfolded_network_takes_gradients_everywhere():
    net = build(published("errn2")).unfold(seed=1)
    net(torch.rand(1, 3, 8, 8)).square().mean().backward()
    for name, value in net.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name


def test_a_part_has_its_own_form_or_none():
    own, none = BlockSpec.of("repvgg"), BlockSpec.of("none")
    spec = published("span")
    first, second, *rest = spec.blocks
    blocks = (
        dataclasses.replace(first, train_form=own),
        dataclasses.replace(second, train_form=none),
        *rest,
    )
    upsampler = dataclasses.replace(spec.upsampler, train_form=own)
    changed = dataclasses.replace(spec, blocks=blocks, upsampler=upsampler)
    assert changed.arch_id == spec.arch_id
    net = build(changed, train=True)
    kinds = {name: type(conv).__name__ for name, conv in rep_convs(net)}
    assert kinds["stem"] == kinds["blocks.3.conv1"] == kinds["blocks.7"] == "Conv3XC"
    assert kinds["blocks.1.conv3"] == kinds["upsampler.conv"] == "RepVGG"
    assert not any(name.startswith(("blocks.2", "fusion")) for name in kinds)
    assert not any(isinstance(module, RepConv2d) for module in build(changed).modules())


class Pair(nn.Sequential):
    """A group of blocks, one after the other."""

    def __init__(self, in_channels, *, make_conv, blocks):
        super().__init__(*blocks)


def test_a_block_within_a_group_has_its_own_form_or_the_groups(monkeypatch):
    monkeypatch.setitem(BLOCKS, "pair", Pair)
    conv = BlockSpec.of("conv", channels=28, kernel=3, bias=True)
    inner = (dataclasses.replace(conv, train_form=BlockSpec.of("repvgg")), conv)
    pair = BlockSpec(kind="pair", args=(), blocks=inner, train_form=BlockSpec.of("asymmetric"))
    spec = dataclasses.replace(published("span"), blocks=(pair,), taps=("block1",), fusion=conv)
    found = dict(rep_convs(build(spec, train=True)))
    assert [type(found[f"blocks.1.{i}"]).__name__ for i in (0, 1)] == ["RepVGG", "Asymmetric"]
    assert not list(rep_convs(build(spec)))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"kind": "bnrep"}, f"train_form 'bnrep' is not known here; known: {', '.join(KINDS)}"),
        ({"kind": "lora", "rank": 4}, "'lora' takes the arguments ['alpha', 'frozen', 'rank']: missing ['alpha', 'frozen'], unknown []"),
        ({"kind": "repvgg", "gain": 2}, "'repvgg' takes the arguments []: missing [], unknown ['gain']"),
        ({"kind": "conv3xc", "gain": 0}, "conv3xc.gain must be a whole number of at least 1 and at most 64, got 0"),
        ({"kind": "erb", "ratio": 0}, "erb.ratio must be a whole number of at least 1, got 0"),
        ({"kind": "erb", "ratio": 1.5}, "erb.ratio must be a whole number of at least 1, got 1.5"),
        ({"kind": "mbrb", "expansion": True}, "mbrb.expansion must be a whole number of at least 1, got True"),
        ({"kind": "lora", "rank": 0, "alpha": 1, "frozen": True}, "lora.rank must be a whole number of at least 1, got 0"),
        ({"kind": "lora", "rank": 1, "alpha": 0.0, "frozen": True}, "lora.alpha must be a finite number above 0, got 0.0"),
        ({"kind": "lora", "rank": 1, "alpha": 1, "frozen": 1}, "lora.frozen must be true or false, got 1"),
        ({"kind": "sum", "blocks": [{"kind": "repvgg"}]}, "'sum' takes two or more forms as blocks"),
        ({"kind": "sum", "blocks": [{"kind": "repvgg"}, {"kind": "none"}]}, "train_form 'none' is not known here"),
        ({"kind": "repvgg", "blocks": [{"kind": "repvgg"}]}, "and holds no blocks"),
        ({"kind": "repvgg", "train_form": {"kind": "repvgg"}}, "has no train_form of its own"),
        ({"kind": "none", "gain": 1}, "train_form 'none' takes no arguments"),
    ],
)  # fmt: skip
def test_a_form_that_is_none_is_refused_when_it_is_asked_for(form, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(
            dataclasses.replace(published("span"), train_form=BlockSpec.from_dict(form)), train=True
        )
