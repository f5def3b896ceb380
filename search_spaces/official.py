"""Released checkpoints onto the networks of this package."""

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from search_spaces.network import Network
from search_spaces.published import entry, names
from search_spaces.release import NUM_NAMED, Release, differences, plain_shapes, refuse
from search_spaces.spec import ArchSpec

WRAPPERS = (  # averaged weights before those that they are of
    *("params_ema", "params", "state_dict", "model_state_dict", "model"),
    *("ema", "net_g_ema", "net_g", "net", "network", "generator", "weights"),
)
PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "net_g.",
    "net.",
    "network.",
    "generator.",
    "ema.",
    "ema_model.",
)
MAX_NUMBERS = 1_000_000_000  # of one tensor
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # as torch writes some messages
COUNTERS = (
    "n_averaged",
    "total_ops",
    "total_params",
)  # of torch's AveragedModel and of thop, beside the weights


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a checkpoint without running any code from it, on the CPU, out of its usual wrappers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no safetensors file and no plain tensor archive.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    state: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # here alone: checkpoints of teams are read by torch

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = (_COLOUR.sub("", str(error)).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"weights: {path} is refused, it holds more than tensors or is damaged ({shorten(first, 120)}); "
            "use safetensors, or a file that torch.load(weights_only=True) reads"
        ) from None
    while isinstance(state, Mapping) and (
        inner := [w for w in WRAPPERS if isinstance(state.get(w), Mapping)]
    ):
        state = state[inner[0]]
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        held = (
            ", ".join(map(str, list(state)[:NUM_NAMED]))
            if isinstance(state, Mapping)
            else type(state).__name__
        )
        raise ValueError(
            f"weights: {path} holds no mapping of names to tensors, but {held}; save a state dict, by itself "
            f"or under one of {', '.join(WRAPPERS)}"
        )
    if odd := [key for key, value in state.items() if not _is_plain(value)]:
        raise ValueError(
            f"weights: {path}: {', '.join(odd[:NUM_NAMED])} is sparse, quantized, without data or of more "
            f"than {MAX_NUMBERS:,} numbers; save dense tensors"
        )
    if broken := [
        key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()
    ]:
        raise ValueError(f"weights: {path}: {', '.join(broken[:NUM_NAMED])} holds infinite numbers or NaN")
    return _without_prefixes(state)


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor's numbers can be looked at; a stranger's may claim any size by its strides."""
    is_dense = value.layout is torch.strided and not value.is_quantized and not value.is_meta
    return is_dense and value.numel() <= MAX_NUMBERS


def _without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off what wrapping modules put before every name, in any order."""
    state = {key: value for key, value in state.items() if key.rpartition(".")[2] not in COUNTERS}
    common = [prefix for prefix in PREFIXES if state and all(key.startswith(prefix) for key in state)]
    if not common:
        return state
    return _without_prefixes({key.removeprefix(common[0]): value for key, value in state.items()})


def published_name(spec: ArchSpec) -> str | None:
    """The published network that computes what this spec computes, but for noise that it draws; or None."""
    quiet = _without_noise(spec).arch_id
    for name in names():
        if ArchSpec.from_dict(entry(name)["spec"]).arch_id == quiet:
            return name
    return None


def _without_noise(spec: ArchSpec) -> ArchSpec:
    """The network without the noise that DWMamba's scan may draw: it has the same weights."""
    return ArchSpec.from_json(spec.to_json().replace('"noise":true', '"noise":false'))


def load_strict(net: Network, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict whose names and shapes all fit; else load nothing.

    Raises:
        ValueError: what is missing, what is unexpected and what has another shape, by name.
    """
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    refuse(differences(shapes, state, {}), source)
    net.load_state_dict(dict(state))


def load_official(net: Network, path: str | Path) -> None:
    """Load a released checkpoint of the published network that `net.spec` names, strictly.

    A checkpoint may hold the merged convolutions (`eval_conv`), the branches of each Conv3XC (`sk`,
    `conv.0` to `conv.2`), or both, and the network may be in inference or in training form:

    - A Conv3XC of the network takes the branches. Other training forms, and a Conv3XC where the file holds
      merged weights alone, keep their own branches but the k x k one, which takes what they lack: to rounding
      the released function, to start a fine-tuning from.
    - A plain convolution takes the stored `eval_conv`, which is what released classes run (that of MambaGate
      even where its branches say otherwise), and where there is none the merged branches. The class of SPAN
      merges anew in every evaluation (`official_runs: branches` in its YAML): there the branches come first.

    Args:
        net: as `build(published(name))` or `build(published(name), train=True)` makes it.
        path: the released file (.pth or .safetensors); one with our own names will do too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the spec is no published network, or the file does not fit; nothing is loaded.
    """
    name = published_name(net.spec)
    if name is None:
        raise ValueError(
            f"weights: {path} cannot be loaded as a released checkpoint, {net.spec.arch_id} is no published "
            f"network; known: {', '.join(names())}"
        )
    state = read_state(path)
    own_branches = net.state_dict().keys() - plain_shapes(net).keys()
    if not own_branches & state.keys():
        state = Release(net, state, entry(name)).fitted(str(path))
    load_strict(net, state, str(path))
