import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from search_spaces import ArchSpec, build, published
from search_spaces.checkpoints.official import (
    load_official,
    load_strict,
    published_name,
    read_state,
)
from search_spaces.published import names
from search_spaces.spec import with_scale


def ours(net, **changes):
    """The state dict of a network, with tensors replaced, or left out where None is given."""
    state = dict(net.state_dict()) | changes
    return {name: value for name, value in state.items() if value is not None}


def random_state(name):
    torch.manual_seed(1)
    return build(published(name)).state_dict()


@pytest.mark.parametrize("name", names())
def test_published_name_knows_each_network(name):
    twin = {"tssr": "disp"}.get(name, name)  # one network, trained twice
    assert published_name(published(name)) == twin
    assert published_name(with_scale(published(name), 2)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem.weight": None}, "missing stem.weight"),
        ({"colour.weight": torch.zeros(3)}, "unexpected colour.weight"),
        ({"stem.bias": torch.zeros(27)}, "stem.bias has shape (27,) instead of (28,)"),
        ({"stem.weight": None, "colour": torch.zeros(3)}, "missing stem.weight; unexpected colour"),
    ],
)
def test_load_strict_names_what_does_not_fit_and_loads_nothing(changes, message):
    net = build(published("span"))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    other = ours(net, **changes)
    with pytest.raises(
        ValueError, match=re.escape(f"weights: here.pth does not fit the network: {message}")
    ):
        load_strict(net, {name: value + 1 for name, value in other.items()}, "here.pth")
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_load_strict_counts_what_it_does_not_name():
    net = build(published("span"))
    with pytest.raises(ValueError, match=r"; missing .* and \d\d more$") as caught:
        load_strict(net, {}, "empty.pth")
    message = str(caught.value)
    assert len(message) <= 300
    assert message.count("missing ") + int(message.split()[-2]) == len(net.state_dict())


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


WRAPS = {
    "plain": lambda state: state,
    "params": lambda state: {"params": state},
    "params_ema": lambda state: {"params": prefixed("x", state), "params_ema": state},
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
    "model": lambda state: {"model": state},
    "model_state_dict": lambda state: {"model_state_dict": state},
    "nested": lambda state: {"state_dict": {"params": {"model": state}}},
    "module": lambda state: prefixed("module.", state),
    "compiled": lambda state: prefixed("_orig_mod.", state),
    "both": lambda state: prefixed("_orig_mod.module.", state),
    "both, turned round": lambda state: {"params": prefixed("module._orig_mod.", state)},
    "lightning": lambda state: {"state_dict": prefixed("net_g.", state)},
    "lightning, compiled": lambda state: {"state_dict": prefixed("model._orig_mod.", state)},
    "ema": lambda state: {"ema": state, "net": prefixed("x", state)},
    "thop": lambda state: (
        state | {"total_ops": torch.zeros(1), "stem.total_params": torch.zeros(1)}
    ),
    "gan": lambda state: prefixed("generator.", state),
    "averaged": lambda state: {"n_averaged": torch.tensor(3), **prefixed("module.", state)},
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_read_state_takes_off_what_training_code_wraps_around(tmp_path, wrap):
    state = random_state("spanv2")
    torch.save(WRAPS[wrap](state), tmp_path / "weights.pth")
    found = read_state(tmp_path / "weights.pth")
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_read_state_takes_prefixes_off_safetensors_too(tmp_path):
    state = random_state("spanv2")
    save_file(prefixed("module.", state), tmp_path / "weights.safetensors")
    assert read_state(tmp_path / "weights.safetensors").keys() == state.keys()


def test_read_state_leaves_a_prefix_that_not_all_have(tmp_path):
    torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "weights.pth")
    assert list(read_state(tmp_path / "weights.pth")) == ["module.a", "b"]


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_load_official_takes_files_of_our_own_names_too(tmp_path, suffix):
    state, path = random_state("spanf"), tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    net = build(published("spanf"))
    load_official(net, path)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_weights_that_need_unpickling_are_refused_and_not_run(tmp_path, writer):
    path, touched = tmp_path / "weights.pth", tmp_path / "touched"
    if writer == "torch":
        torch.save({"state_dict": {}, "more": Trap(touched)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(touched)))
    with pytest.raises(
        ValueError, match=r"weights: .*weights.pth is refused, it holds more than tensors"
    ):
        load_official(build(published("span")), path)
    assert not touched.exists()


def test_whole_module_is_refused(tmp_path):
    torch.save(nn.Conv2d(3, 3, 1), tmp_path / "net.pth")
    with pytest.raises(
        ValueError, match=r"it holds more than tensors: torch\.nn\.modules\.conv\.Conv2d,"
    ):
        read_state(tmp_path / "net.pth")


@pytest.mark.parametrize("content", [b"", b"\x00\x01text", b"PK\x03\x04 cut"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_damaged_file_is_refused(tmp_path, content, suffix):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is refused, it holds more than tensors or is damaged"):
        read_state(path)


@pytest.mark.parametrize(
    ("content", "held"),
    [
        ([torch.zeros(2)], "list"),
        ({"a": 1}, "a"),
        ({"best_so_far": {"a": 2}, "step": torch.tensor(3)}, "best_so_far, step"),
    ],
)
def test_file_without_a_state_dict_is_refused_and_says_what_it_holds(tmp_path, content, held):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(
        ValueError, match=f"holds no mapping of names to tensors, but {held}; save a state dict"
    ):
        read_state(tmp_path / "weights.pth")


@pytest.mark.parametrize("value", [torch.zeros(2).to_sparse(), torch.zeros(1).expand(10**12)])
def test_tensor_whose_numbers_cannot_be_looked_at_is_refused_by_name(tmp_path, value):
    torch.save({"params": {"a": torch.zeros(2), "b.weight": value}}, tmp_path / "w.pth")
    with pytest.raises(
        ValueError, match=r"w\.pth: b\.weight is sparse, quantised or does not hold all"
    ):
        read_state(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensor_is_no_weight(tmp_path):
    """It has no shape to compare."""
    nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    torch.save({"params": {"a": torch.zeros(2), "b.weight": nested}}, tmp_path / "w.pth")
    assert list(read_state(tmp_path / "w.pth")) == ["a"]
    with pytest.raises(ValueError, match=r"missing .* unexpected a"):
        load_official(build(published("spanf")), tmp_path / "w.pth")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path, value):
    torch.save(
        {"params": {"a": torch.zeros(2), "b.weight": torch.tensor([1.0, value])}},
        tmp_path / "w.pth",
    )
    with pytest.raises(ValueError, match=r"w\.pth: b\.weight holds infinite numbers or NaN"):
        read_state(tmp_path / "w.pth")


def test_a_refused_file_is_one_plain_line(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(2)}, "best": np.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds more than tensors") as caught:
        read_state(tmp_path / "w.pth")
    assert str(caught.value).isprintable()


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights: there is no file .*nowhere\.pth"):
        read_state(tmp_path / "nowhere.pth")


def test_noise_that_a_network_may_draw_is_no_other_network():
    spec = published("dwmamba")
    noisy = ArchSpec.from_json(spec.to_json().replace('"noise":false', '"noise":true'))
    assert noisy.arch_id != spec.arch_id
    assert published_name(noisy) == "dwmamba"
