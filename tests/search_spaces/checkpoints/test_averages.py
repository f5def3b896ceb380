# ruff: noqa: E501 - one case a line
"""Averages are never passed over in silence: in lists, beside optimisers, without names.

Optimisers' states are none.
"""

import re

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from search_spaces import build, published
from search_spaces.checkpoints.entries import NESTING, find_entries
from search_spaces.checkpoints.official import load_checkpoint, read_state, recognise
from tests.search_spaces.checkpoints.test_choice import GOOD, RAW, under

TENSORS = list(GOOD.values())
VECTOR = torch.cat([value.flatten() for value in TENSORS])
WEIGHT = torch.ones(28, 28, 3, 3)
ADAM = {
    "state": {0: {"step": torch.tensor(3.0), "exp_avg": WEIGHT, "exp_avg_sq": WEIGHT}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}

READ = {  # the entry that is meant, what lies beside it
    "list": ("ema.0", {"model": RAW, "ema": [GOOD]}),
    "tuple": ("ema_states.1", {"model": RAW, "ema_states": ({"decay": 0.9}, GOOD)}),
    "list of wrapped ones": ("emas.1.state_dict", {"model": RAW, "emas": [0.9, {"state_dict": under("module.", GOOD)}]}),
    "mapping in a list in a list": ("callbacks.0.0.ema", {"model": RAW, "callbacks": [[{"ema": GOOD}]]}),
    "by rate": ("ema.0.999", {"model": RAW, "ema": {0.999: GOOD}}),
    "by number": ("ema.0", {"model": RAW, "ema": {0: GOOD}}),
    "list of networks": ("models.0", {"models": [GOOD]}),
    "the file is a list": ("0", [GOOD, ADAM, 3]),
    "the file is a list that holds averages": ("1.ema", [RAW, {"ema": GOOD}]),
    "in an optimiser": ("optimizer.ema", {"model": RAW, "optimizer": {"ema": GOOD}}),
    "in an optimiser under a prefix": ("optimizer.ema", {"model": RAW, "optimizer": under("ema.", GOOD)}),
    "in a torch optimiser": ("optimizer.ema", {"model": RAW, "optimizer": ADAM | {"ema": GOOD}}),
    "in a list of optimisers": ("optimizer_states.0.ema", {"state_dict": RAW, "optimizer_states": [{"opt": ADAM, "ema": GOOD}]}),
    "under an averaging optimiser": ("ema_optimizer.model", {"model": RAW, "ema_optimizer": {"model": GOOD}}),
    "in a scheduler": ("lr_scheduler.swa_model", {"model": RAW, "lr_scheduler": {"swa_model": GOOD}}),
    "optimal is no optimiser": ("optimal", {"optimal": GOOD}),
    "capitals": ("EMANet", {"Net": RAW, "EMANet": GOOD}),
    "glued": ("modelema", {"model": RAW, "modelema": GOOD}),
    "lightning's averaging": ("state_dict.net", {"state_dict": under("net.", GOOD), "current_model_state": under("net.", RAW), "averaging_state": {"n_averaged": torch.tensor(3)}}),
}  # fmt: skip

REFUSED = {  # the average that no network can load, the entry to name for raw ones
    "list": ("ema", "model", {"model": RAW, "ema": TENSORS}),
    "lists": ("ema_params.0", "model", {"model": RAW, "ema_params": [TENSORS, TENSORS]}),
    "list with a rate": ("ema", "model", {"model": RAW, "ema": (0.9, *TENSORS, None)}),
    "by number": ("shadow", "model", {"model": RAW, "shadow": dict(enumerate(TENSORS))}),
    "in an optimiser": ("optimizer_states.0.ema", "state_dict", {"state_dict": RAW, "optimizer_states": [{"opt": ADAM, "ema": tuple(TENSORS)}]}),
    "vector": ("ema", "model", {"model": RAW, "ema": VECTOR}),
    "beside the weights themselves": ("ema", "", RAW | {"epoch": 3} | {"ema": TENSORS}),
    "another network's in a list": ("ema.0", "model", {"model": RAW, "ema": [GOOD | {"more": WEIGHT}]}),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_averages_are_read_wherever_they_lie(tmp_path, case):
    entry, content = READ[case]
    torch.save(content, tmp_path / "x.pth")
    net = build(published("span"))
    said = load_checkpoint(net, tmp_path / "x.pth")
    assert torch.equal(net.fusion.weight, GOOD["conv_cat.weight"])
    assert said.startswith(f"entry {entry} of ")
    assert recognise(tmp_path / "x.pth").arch_id == published("span").arch_id
    load_checkpoint(build(published("span")), f"{tmp_path / 'x.pth'}:{entry}")


@pytest.mark.parametrize("case", REFUSED)
def test_averages_that_cannot_be_loaded_are_refused_beside_raw_ones(tmp_path, case):
    entry, raw, content = REFUSED[case]
    torch.save(content, tmp_path / "x.pth")
    message = rf"holds averaged weights under {re.escape(entry)} that do not fit \(.*weights=FILE:{raw} takes those"
    with pytest.raises(ValueError, match=message):
        load_checkpoint(build(published("span")), tmp_path / "x.pth")
    with pytest.raises(ValueError, match=message):
        recognise(tmp_path / "x.pth")
    net = build(published("span"))
    load_checkpoint(net, f"{tmp_path / 'x.pth'}:{raw}")
    assert not net.fusion.weight.any()


def test_two_averages_in_a_list_are_both_named(tmp_path):
    torch.save({"model": RAW, "ema": [GOOD, RAW]}, tmp_path / "x.pth")
    with pytest.raises(
        ValueError, match=r"2 entries that fit: ema\.0, ema\.1; name one: weights=FILE:ema\.0 or"
    ):
        load_checkpoint(build(published("span")), tmp_path / "x.pth")


def test_read_state_gives_no_tensors_without_names(tmp_path):
    torch.save({"model": RAW, "ema": TENSORS}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"ema that do not fit \(tensors without names\)"):
        read_state(tmp_path / "x.pth")


def trained(kind, **options):
    """The states of a network and of its optimiser after a step, and the network's averages."""
    net = build(published("span"))
    optimiser = kind(net.parameters(), lr=1e-3, **options)
    net(torch.rand(1, 3, 8, 8)).mean().backward()
    optimiser.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimiser, [1, 2])
    return net, optimiser.state_dict(), scheduler.state_dict()


OPTIMISERS = {
    "adam": (torch.optim.Adam, {"amsgrad": True}), "sgd": (torch.optim.SGD, {"momentum": 0.9}), "asgd": (torch.optim.ASGD, {}),
    "rmsprop": (torch.optim.RMSprop, {"centered": True, "momentum": 0.9}), "adadelta": (torch.optim.Adadelta, {}),
    "adagrad": (torch.optim.Adagrad, {}), "adamax": (torch.optim.Adamax, {}), "rprop": (torch.optim.Rprop, {}),
}  # fmt: skip


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_optimiser_states_beside_weights_are_no_averages(tmp_path, optimiser):
    kind, options = OPTIMISERS[optimiser]
    net, state, schedule = trained(kind, **options)
    weights = net.state_dict()
    named = dict(
        zip(weights, state["state"].values(), strict=False)
    )  # as sharded training saves them
    slots = {slot: [kept[slot] for kept in named.values()] for slot in next(iter(named.values()))}
    for content in (
        {"params": weights, "epoch": 3, "iter": 9, "optimizers": [state], "schedulers": [schedule]},
        {
            "state_dict": under("net.", weights),
            "optimizer_states": [state],
            "lr_schedulers": [schedule],
        },
        {"model": weights, "adam": state, "optG": state, "g_optim": {"g": state, "d": [state]}},
        {"model": weights, "optimizer": state["state"], "optimizer_2": {"state": named}},
        {"model": weights, "ema_optimizer": state},
        {"model": weights, "optimizer": slots | {"exp_avg": weights, "square_avg": [WEIGHT]}},
    ):
        torch.save(content, tmp_path / "x.pth")
        other = build(published("span"))
        said = load_checkpoint(other, tmp_path / "x.pth")
        assert torch.equal(other.fusion.weight, net.fusion.weight)
        assert "passed over" not in said
        assert read_state(tmp_path / "x.pth").keys() == weights.keys()


def test_torch_averages_beside_an_optimiser_are_read(tmp_path):
    net, state, _ = trained(torch.optim.Adam)
    averages = AveragedModel(net)
    with torch.no_grad():
        net.fusion.weight.add_(1)
    content = {
        "model": net.state_dict(),
        "optimizer": {"adam": state, "averages": averages.state_dict()},
    }
    torch.save(content, tmp_path / "x.pth")
    other = build(published("span"))
    said = load_checkpoint(other, tmp_path / "x.pth")
    assert torch.equal(other.fusion.weight, averages.module.fusion.weight)
    assert "entry optimizer.averages of" in said
    assert "passed over: model" in said


def test_lists_in_lists_end():
    nested = [GOOD]
    for _ in range(10 * NESTING):
        nested = [nested]
    nested.append(nested)
    assert find_entries(nested) == []
    wide = [1]
    for _ in range(20):
        wide = [wide] * 20
    assert find_entries(wide) == []
