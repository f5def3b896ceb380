# ruff: noqa: E501 - one case a line, with its whole message
"""Checkpoints with training branches, as the repositories of SPAN and its heirs write them."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from search_spaces import BlockSpec, build, published
from search_spaces.checkpoints.key_names import our_branch, our_name, released_branch, released_name
from search_spaces.checkpoints.official import load_official
from search_spaces.checkpoints.state_dict import Release
from search_spaces.published import entry, names
from search_spaces.reparam import rep_convs
from tests.search_spaces.forms import FORMS
from tests.search_spaces.span_files import span_state

REFERENCE = Path(__file__).parents[4] / "shared" / "reference"
WITH_BRANCHES = [
    name for name in names() if any("eval_conv" in key for key in entry(name)["official_keys"])
]
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference outputs are not there: {REFERENCE}"
)
IMAGE = torch.rand(1, 3, 9, 8, generator=torch.Generator().manual_seed(2))


def conv(state, name, x, padding=0):
    return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)


def conv3xc(state, name, x):
    inner = conv(state, f"{name}.conv.0", F.pad(x, [1] * 4))
    return conv(state, f"{name}.conv.2", conv(state, f"{name}.conv.1", inner)) + conv(
        state, f"{name}.sk", x
    )


def span(state, image, layer=conv3xc):
    """Section 1 of the reference, from the tensors of a file."""
    state = {key: value.double() for key, value in state.items()}
    mean = torch.tensor((0.4488, 0.4371, 0.4040), dtype=torch.float64).view(1, 3, 1, 1)
    x = first = layer(state, "conv_1", 255 * (image.double() - mean))
    blocks, inner = [], x
    for i in range(1, 7):
        inner = F.silu(layer(state, f"block_{i}.c1_r", x))
        o = layer(state, f"block_{i}.c3_r", F.silu(layer(state, f"block_{i}.c2_r", inner)))
        x = (o + x) * (torch.sigmoid(o) - 0.5)
        blocks.append(x)
    tail = layer(state, "conv_2", x)
    fused = conv(state, "conv_cat", torch.cat([first, tail, blocks[0], inner], 1))
    return F.pixel_shuffle(conv(state, "upsampler.0", fused, padding=1), 4)


def stored_conv(state, name, x):
    return conv(state, f"{name}.eval_conv", x, padding=1)


def saved(tmp_path, state):
    torch.save({"params": state}, tmp_path / "released.pth")
    return tmp_path / "released.pth"


def assert_gives(net, wanted, image=IMAGE, rtol=1e-5):
    with torch.no_grad():
        assert (net(image) - wanted).abs().max() <= rtol * wanted.abs().max()


@pytest.mark.parametrize("stored", [None, "same", "other"])
@pytest.mark.parametrize("train", [False, True])
def test_branches_of_span_give_what_its_class_does(tmp_path, train, stored):
    """Its class merges anew in every evaluation: what it stored last does not count."""
    state = span_state(stored=stored)
    net = build(published("span"), train=train)
    load_official(net, saved(tmp_path, state))
    assert_gives(net, span(state, IMAGE))
    if train:
        ours = net.state_dict()
        assert torch.equal(ours["blocks.6.conv2.expand.bias"], state["block_6.c2_r.conv.0.bias"])
        assert torch.equal(ours["blocks.7.conv.weight"], state["conv_2.conv.1.weight"])
        assert torch.equal(ours["stem.shortcut.weight"], state["conv_1.sk.weight"])
        assert torch.equal(ours["stem.project.weight"], state["conv_1.conv.2.weight"])


@pytest.mark.parametrize("train", [False, True])
def test_a_stored_convolution_runs_in_the_inference_form_of_other_networks(
    tmp_path, monkeypatch, train
):
    """The trap of MambaGate: its class runs what was stored, whatever the branches are."""
    monkeypatch.delitem(entry("span"), "official_runs")
    state = span_state(stored="other")
    net = build(published("span"), train=train)
    load_official(net, saved(tmp_path, state))
    assert_gives(net, span(state, IMAGE) if train else span(state, IMAGE, stored_conv))


def test_branches_of_another_gain_are_merged_and_refused_as_branches(tmp_path):
    state = span_state(gain=1)
    path = saved(tmp_path, state)
    net = build(published("span"))
    load_official(net, path)
    assert_gives(net, span(state, IMAGE))
    message = "conv_1.conv.0.weight has shape (3, 3, 1, 1) instead of (6, 3, 1, 1)"
    with pytest.raises(ValueError, match=re.escape(message)):
        load_official(build(published("span"), train=True), path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_branches_of_another_dtype_are_merged_exactly(tmp_path, dtype):
    state = {key: value.to(dtype) for key, value in span_state().items()}
    net = build(published("span"))
    load_official(net, saved(tmp_path, state))
    assert next(net.parameters()).dtype == torch.float32
    assert_gives(net, span(state, IMAGE))


@pytest.mark.parametrize("form", [*FORMS, "own"])
def test_merged_weights_start_a_training_form(tmp_path, form):
    state = span_state(stored="other")
    state = {
        key: value for key, value in state.items() if ".conv." not in key and ".sk." not in key
    }
    spec = published("span")
    if form != "own":
        spec = dataclasses.replace(spec, train_form=FORMS[form])
    torch.manual_seed(0)
    net = build(spec, train=True)
    assert list(rep_convs(net))
    trained = {name: value.requires_grad for name, value in net.named_parameters()}
    load_official(net, saved(tmp_path, state))
    assert_gives(net, span(state, IMAGE, stored_conv), rtol=1e-4)
    assert {name: value.requires_grad for name, value in net.named_parameters()} == trained


@pytest.mark.parametrize("train", [False, True])
def test_fitting_alone_changes_nothing(train):
    net = build(published("dscf"), train=train)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = {key: value + 1 for key, value in net.fold().state_dict().items()}
    found = Release(net, state, entry("dscf")).fitted("here.pth")
    assert found.keys() == before.keys()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@needs_reference
@pytest.mark.parametrize(
    ("name", "golden", "checkpoint"),
    [
        ("span", "team00_SPAN", "team00_SPAN.pth"),
        ("spanf", "y2025_team24_SPANF", "y2025_team24_spanf.pth"),
        ("dscf_fused", "team15_DSCF_Fused", "team15_DSCF_Fused.pth"),
    ],
)
def test_released_checkpoint_starts_a_training_form(name, golden, checkpoint):
    """On the picture; on the noise of inputs a and c float32 alone makes 1e-4 to 3e-3 (plain, to
    float64).
    """
    arrays = np.load(REFERENCE / "golden" / f"{golden}.npz")
    torch.manual_seed(0)
    net = build(published(name), train=True)
    load_official(net, REFERENCE / "checkpoints" / checkpoint)
    with torch.no_grad():
        for one in (net, net.fold()):
            out = one(torch.from_numpy(arrays["in_b"]))
            torch.testing.assert_close(out, torch.from_numpy(arrays["out_b"]), rtol=0, atol=1e-5)


@needs_reference
@pytest.mark.parametrize("letter", "abc")
def test_released_span_in_training_form_is_the_plain_one_in_float64(letter):
    image = torch.from_numpy(
        np.load(REFERENCE / "golden" / "team00_SPAN.npz")[f"in_{letter}"]
    ).double()
    torch.manual_seed(0)
    net, plain = build(published("span"), train=True).double(), build(published("span")).double()
    for one in (net, plain):
        load_official(one, REFERENCE / "checkpoints" / "team00_SPAN.pth")
    with torch.no_grad():
        assert_gives(net, plain(image), image, rtol=1e-10)


@pytest.mark.parametrize("name", WITH_BRANCHES)
def test_every_network_of_conv3xc_takes_branches_without_patterns_of_its_own(tmp_path, name):
    patterns = entry(name)["official_keys"]
    spec = published(name)
    own = spec.train_form
    conv3xc = own if own and own.kind == "conv3xc" else BlockSpec.of("conv3xc", gain=2)
    blocks = tuple(dataclasses.replace(block, train_form=conv3xc) for block in spec.blocks)
    parts = {
        part: dataclasses.replace(getattr(spec, part), train_form=conv3xc)
        for part in ("stem", "upsampler")
        if getattr(spec, part)
    }
    torch.manual_seed(0)
    source = build(dataclasses.replace(spec, blocks=blocks, **parts), train=True).double()
    state = {
        released_name(key, patterns): value for key, value in source.fold().state_dict().items()
    }
    for place, module in rep_convs(source):
        merged_name = released_name(f"{place}.weight", patterns)
        if ".eval_conv." in merged_name:
            prefix = merged_name.removesuffix("eval_conv.weight")
            for key in [key for key in state if key.startswith(f"{prefix}eval_conv.")]:
                del state[key]
            for branch, value in module.state_dict().items():
                state[released_branch(place, branch, patterns)] = value
    assert any(key.endswith(".sk.weight") for key in state)
    path = saved(tmp_path, state)
    image = IMAGE.double()
    with torch.no_grad():
        for net in (build(spec), build(spec, train=True), build(source.spec, train=True)):
            load_official(net.double(), path)
            assert_gives(net, source(image), image, rtol=1e-10)


@pytest.mark.parametrize("name", names())
def test_names_go_there_and_back(name):
    patterns = entry(name)["official_keys"]
    for key in build(published(name)).state_dict():
        theirs = released_name(key, patterns)
        assert theirs != key
        assert our_name(theirs, patterns) == key


def test_names_of_branches_stand_beside_the_merged_convolution():
    patterns = {
        r"blocks\.(\d)\.c1_r\.eval_conv\.(\w+)": r"blocks.{1+1}.convs.0.\2",
        r"no_(\w+)": "",
    }
    assert our_branch("blocks.0.c1_r.conv.2.bias", patterns) == ("blocks.1.convs.0", "project.bias")
    assert (
        released_branch("blocks.1.convs.0", "project.bias", patterns) == "blocks.0.c1_r.conv.2.bias"
    )
    assert our_branch("blocks.0.c2_r.conv.2.bias", patterns) is None
    assert our_branch("upsampler.0.weight", patterns) is None
    assert our_name("no_mean", patterns) == ""
    assert our_name("other", patterns) == "other"
    assert released_name("other", patterns) == "other"
    assert released_name("a", {"(?:x|y)": "a"}) == "a"  # no pattern that can be turned round


def test_a_tensor_that_is_known_and_not_needed_is_left_out(tmp_path, monkeypatch):
    state = span_state() | {"steps_done": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"unexpected steps_done$"):
        load_official(build(published("span")), saved(tmp_path, state))
    monkeypatch.setitem(entry("span")["official_keys"], r"steps_\w+", "")
    load_official(build(published("span")), saved(tmp_path, state))


STORED = {
    "conv_1.eval_conv.weight": torch.zeros(28, 3, 3, 3),
    "conv_1.eval_conv.bias": torch.zeros(28),
}


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    ("gone", "added", "message"),
    [
        ("conv_cat.weight", {}, "missing conv_cat.weight"),
        ("block_3.c2_r.conv.1.weight", {}, "missing block_3.c2_r.conv.1.weight"),
        ("block_3.c2_r.", {}, "missing block_3.c2_r.eval_conv.weight; missing block_3.c2_r.eval_conv.bias"),
        ("block_3.c2_r.", {"block_3.c2_r.eval_conv.bias": torch.zeros(28)}, "missing block_3.c2_r.eval_conv.weight"),
        ("conv_1.sk.bias", STORED, "missing conv_1.sk.bias"),
        ("", {"conv_1.eval_conv.weight": torch.zeros(28, 3, 3, 3)}, "missing conv_1.eval_conv.bias"),
        ("", STORED | {"conv_1.eval_conv.weight": torch.zeros(28, 3, 5, 5)}, "conv_1.eval_conv.weight has shape (28, 3, 5, 5) instead of (28, 3, 3, 3)"),
        ("conv_cat.weight", {"conv_cat.weight": torch.zeros(1, 28, 112, 1, 1)}, "conv_cat.weight has shape (1, 28, 112, 1, 1) instead of (28, 112, 1, 1)"),
        ("", {"no_norm": torch.zeros(1)}, "unexpected no_norm (trained on the image itself, not on 255 * (image - mean): another network)"),
        ("", {"block_7.c1_r.sk.weight": torch.zeros(28, 28, 1, 1)}, "unexpected block_7.c1_r.sk.weight"),
        ("", {"conv_1.sk.weight": torch.zeros(28, 1, 1, 1)}, "conv_1.sk.weight has shape (28, 1, 1, 1) instead of (28, 3, 1, 1)"),
        ("", {"upsampler.0.bias": torch.zeros(12)}, "upsampler.0.bias has shape (12,) instead of (48,)"),
        ("", {"fusion.bias": torch.zeros(28)}, "unexpected fusion.bias, which conv_cat.bias is too"),
        ("conv_2.conv.0.bias", {"mask": torch.zeros(1)}, "missing conv_2.conv.0.bias; unexpected mask"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_as_in_the_file_and_nothing_is_loaded(
    tmp_path, train, gone, added, message
):
    state = {
        key: value for key, value in span_state().items() if not gone or not key.startswith(gone)
    }
    net = build(published("span"), train=train)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=re.escape(f"does not fit the network: {message}") + "$"):
        load_official(net, saved(tmp_path, state | added))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_checkpoint_of_another_network_is_told_by_what_it_lacks_and_what_it_adds(tmp_path):
    state = build(published("spanf")).state_dict()
    state = {
        released_name(key, entry("spanf")["official_keys"]): value for key, value in state.items()
    }
    with pytest.raises(
        ValueError,
        match=r"missing conv_1\.eval_conv\.weight; .*unexpected conv_near\.weight; .*more$",
    ):
        load_official(build(published("span")), saved(tmp_path, state))


def test_our_own_names_fit_both_forms_and_are_named_as_such(tmp_path):
    torch.manual_seed(0)
    source = build(published("span"), train=True)
    with torch.no_grad():
        wanted = source(IMAGE)
    own, folded = source.state_dict(), source.fold().state_dict()
    for train, state in ((True, own), (True, folded), (False, folded)):
        net = build(published("span"), train=train)
        load_official(net, saved(tmp_path, state))
        assert_gives(net, wanted)
    for train, state, key in (
        (True, own, "stem.expand.bias"),
        (False, folded, "blocks.1.conv1.bias"),
    ):
        part = {name: value for name, value in state.items() if name != key}
        with pytest.raises(ValueError, match=f"does not fit the network: missing {key}$"):
            load_official(build(published("span"), train=train), saved(tmp_path, part))
