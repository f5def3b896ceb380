# ruff: noqa: E501 - one case a line
"""Which state dict of a file is read: averages before what they are of, in whatever wrapper and
under any prefix.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from search_spaces import build, published
from search_spaces.checkpoints.entries import Entry
from search_spaces.checkpoints.official import load_checkpoint, load_official, read_state
from tests.search_spaces.span_files import merge_all, span_state

CASES = Path(__file__).parents[4] / "shared" / "cases"
GOOD = merge_all(span_state())
RAW = {key: torch.zeros_like(value) for key, value in GOOD.items()}
OTHER = {
    "conv.weight": torch.ones(4, 3, 3, 3),
    "linear.weight": torch.ones(1, 4),
}  # a discriminator


def under(prefix, state):
    return {prefix + key: value for key, value in state.items()}


HOLDERS = {
    **{name: (name, {"x": 0, name: GOOD}) for name in ("params", "params-ema", "whatever", "net_g")},
    **{f"{name} beside raw": (name, {"model": RAW, name: GOOD}) for name in (
        "ema", "params_ema", "params-ema", "model_ema", "state_dict_ema", "ema_state_dict", "net_g_ema", "averaged", "swa",
        "swa_model", "EMA", "modelEma", "G_ema", "ema_0.999")},
    **{f"{name} prefix": (name, under(f"{name}.", GOOD)) for name in ("netG", "net_g", "generator", "model", "any")},
    "averaged prefix": ("generator_ema", under("generator.", RAW) | under("generator_ema.", GOOD) | under("discriminator.", OTHER)),
    "shadow": ("ema.shadow", {"model": RAW, "ema": {"decay": 0.999, "shadow": GOOD}}),
    "ema module": ("ema", {"model": RAW, "ema": {"module": GOOD}}),
    "ema state": ("ema.state_dict", {"model": RAW, "ema": {"state_dict": under("module.", GOOD), "step": torch.tensor(3)}}),
    "averaging module": ("ema.ema_model", {"model": RAW, "ema": under("online_model.", RAW) | under("ema_model.", GOOD) | {"initted": torch.tensor(True)}}),
    "lightning": ("state_dict.ema_model", {"epoch": 1, "state_dict": under("model.", RAW) | under("ema_model.module.", GOOD) | under("loss.vgg.", OTHER), "callbacks": {}}),
    "gan": ("state_dict.netG", {"state_dict": under("netG.", GOOD) | under("netD.", OTHER)}),
    "module": ("", under("module.", GOOD)),
    "module within": ("generator", under("generator.module._orig_mod.", GOOD) | under("discriminator.module.", OTHER)),
    "equal": ("params", {"params": GOOD, "state_dict": dict(GOOD)}),
    "optimiser of names": ("net", {"net": GOOD, "optimizer": {"exp_avg": RAW}}),
    "counters": ("", GOOD | {"n_averaged": torch.tensor(3), "bn.num_batches_tracked": torch.tensor(3), "epoch": 3, "name": "x", "none": None}),
    "discriminator averaged": ("netG", {"netG": GOOD, "netD_ema": OTHER}),
}  # fmt: skip


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_weights_that_are_meant_are_read_and_named(tmp_path, holder):
    entry, content = HOLDERS[holder]
    torch.save(content, tmp_path / "x.pth")
    net = build(published("span"))
    said = load_checkpoint(net, tmp_path / "x.pth")
    assert torch.equal(net.fusion.weight, GOOD["conv_cat.weight"])
    assert said.startswith(f"entry {entry} of {tmp_path}" if entry else f"{tmp_path}")


@pytest.mark.parametrize("prefix", ["module.", "netG.", "_orig_mod.module.model."])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_load_in_both_kinds_of_files(tmp_path, dtype, prefix):
    state = {prefix + key: value.to(dtype).contiguous() for key, value in GOOD.items()}
    save_file(
        state,
        tmp_path / "x.safetensors",
        metadata={"format": "pt", "modelspec.architecture": "SPAN"},
    )
    torch.save(state, tmp_path / "x.pth")
    for name in ("x.safetensors", "x.pth"):
        net = build(published("span"))
        load_official(net, tmp_path / name)
        assert torch.equal(net.fusion.weight, GOOD["conv_cat.weight"].to(dtype).float())


@pytest.mark.parametrize("number", [
    np.float64(27.5), np.float32(1), np.int64(3), np.bool_(True), np.str_("x"), np.uint8(3), np.datetime64("2026-01-01"),
    3, 2.5, "text", None, True, [1, 2], (0.9, 0.99), {"lr": 0.1},
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_beside_tensors_are_left_out(tmp_path, number, zipped):
    for content in ({"state_dict": GOOD, "best": number}, GOOD | {"best": number}):
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
        net = build(published("span"))
        said = load_checkpoint(net, tmp_path / "x.pth")
        assert said.endswith("left out: best") or isinstance(number, dict)
        assert torch.equal(net.fusion.weight, GOOD["conv_cat.weight"])


@pytest.mark.parametrize(("content", "message"), [
    ({"net_g": GOOD, "net_g_2": RAW}, "holds 2 entries that fit: net_g, net_g_2; name one: weights=FILE:net_g or weights=FILE:net_g_2"),
    ({"ema": GOOD, "swa": RAW}, "holds 2 entries that fit: ema, swa; name one"),
    (under("student.", GOOD) | under("teacher.", RAW), "holds 2 entries that fit: student, teacher; name one: weights=FILE:student or weights=FILE:teacher"),
    ({"model": RAW, "ema": {k: v for k, v in GOOD.items() if k != "conv_cat.bias"}}, "holds averaged weights under ema that do not fit (missing conv_cat.bias) beside raw ones that do; weights=FILE:model takes those"),
    ({"model": RAW, "ema": {"shadow_params": list(GOOD.values())}}, "holds averaged weights under ema.shadow_params that do not fit"),
    ({"best": GOOD, "last": RAW, "net": under("module.", GOOD | {"conv_cat.bias": torch.ones(28)})}, "best, last, net; name one: weights=FILE:best or weights=FILE:last or another of them"),
    ({"generator": OTHER, "discriminator": OTHER}, "does not fit the network: "),
])  # fmt: skip
def test_what_is_not_clear_is_refused_by_name_with_a_way_to_choose(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_official(build(published("span")), tmp_path / "x.pth")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("entry", ["net_g_2", "net_g_2.", "module.net_g_2"])
def test_an_entry_is_chosen_by_its_name_after_a_colon(tmp_path, entry):
    torch.save({"net_g": RAW, "net_g_2": under("module.", GOOD)}, tmp_path / "x.pth")
    net = build(published("span"))
    load_official(net, f"{tmp_path / 'x.pth'}:{entry}")
    assert torch.equal(net.fusion.weight, GOOD["conv_cat.weight"])
    assert torch.equal(
        read_state(f"{tmp_path / 'x.pth'}:net_g")["conv_cat.weight"], RAW["conv_cat.weight"]
    )


def test_an_entry_that_is_not_there_lists_those_that_are(tmp_path):
    torch.save({"net_g": RAW, "net_g_2": GOOD}, tmp_path / "x.pth")
    with pytest.raises(
        ValueError, match=r"x\.pth holds no entry 'ema'; its entries: net_g, net_g_2"
    ):
        load_official(build(published("span")), f"{tmp_path / 'x.pth'}:ema")


def test_a_file_whose_name_holds_a_colon_is_that_file(tmp_path):
    path = tmp_path / "run:3.pth"
    torch.save({"net_g": RAW, "net_g_2": GOOD}, path)
    net = build(published("span"))
    load_official(net, f"{path}:net_g_2")
    assert torch.equal(net.fusion.weight, GOOD["conv_cat.weight"])
    with pytest.raises(ValueError, match="2 entries"):
        load_official(net, path)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*run:4\.pth"):
        load_official(net, tmp_path / "run:4.pth")


def test_a_class_beside_the_weights_is_named_with_the_way_out(tmp_path):
    torch.save({"state_dict": GOOD, "args": argparse.Namespace(lr=1)}, tmp_path / "x.pth")
    message = r"it holds more than tensors: argparse\.Namespace, which only running code .*save the state dict alone"
    with pytest.raises(ValueError, match=message):
        load_official(build(published("span")), tmp_path / "x.pth")


@pytest.mark.parametrize(
    "odd", [torch.zeros(1).expand(10**9), torch.eye(3).to_sparse(), torch.zeros(2, device="meta")]
)
def test_tensors_that_do_not_hold_their_numbers_are_refused(tmp_path, odd):
    torch.save({"params": GOOD | {"conv_cat.bias": odd}}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"weights: .*x\.pth"):
        load_official(build(published("span")), tmp_path / "x.pth")


@pytest.mark.parametrize(("place", "averaged"), [
    ("ema", True), ("params-ema", True), ("netEma.module", True), ("ema.online_model", False), ("ema.ema_model", True),
    ("model", False), ("schema", False), ("emanet", False), ("avg_model", True), ("raw", False), ("cinema", False),
    ("EMAModel", True), ("EMANet", True), ("modelema", True), ("netEMA", True), ("netema", True), ("Gema", True), ("emas.0", True),
    ("exp_avg", False), ("exp_avg_sq", False), ("square_avg", False), ("ema.grads", False), ("exp_avg_model", True),
    ("Callback{'momentum': 0.9}.ema", True),
])  # fmt: skip
def test_averages_are_told_by_words_not_by_letters(place, averaged):
    assert Entry(place=tuple(place.split(".")), state={}).is_averaged is averaged


def test_a_mapping_that_holds_itself_ends(tmp_path):
    content = {"params": GOOD}
    content["again"] = content
    torch.save(content, tmp_path / "x.pth")
    load_official(build(published("span")), tmp_path / "x.pth")


def test_names_that_a_terminal_would_obey_are_escaped(tmp_path):
    torch.save(
        {"params": GOOD, "\x1b[2J": GOOD | {"conv_cat.bias": torch.ones(28)}, "\n" + "x" * 500: 1},
        tmp_path / "x.pth",
    )
    with pytest.raises(ValueError, match="2 entries") as caught:
        load_official(build(published("span")), tmp_path / "x.pth")
    assert str(caught.value).isprintable()
    said = load_checkpoint(build(published("span")), f"{tmp_path / 'x.pth'}:params")
    assert said.isprintable()
    assert len(said) < len(str(tmp_path)) + 300


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not here")
@pytest.mark.parametrize("case", ["f1_wrappers", "f3_averaged_beside_raw"])
def test_the_cases_hold_one_network(case):
    states = []
    for path in sorted((CASES / case).glob("*.*")):
        net = build(published("span"))
        load_official(net, path)
        states.append(net.fusion.weight.half())
    assert states
    assert all(torch.equal(state, states[0]) for state in states)
    assert states[0].any()
