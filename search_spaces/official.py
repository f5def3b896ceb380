"""Released checkpoints onto the networks of this package."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from search_spaces.network import Network
from search_spaces.published import entry, names
from search_spaces.spec import ArchSpec

WRAPPERS = ("params_ema", "params", "state_dict")
PREFIXES = ("module.", "_orig_mod.")
_SHIFTED = re.compile(r"\{(\d+)([+-]\d+)\}")


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a checkpoint without running any code from it, on the CPU, out of its usual wrappers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no safetensors file and no plain tensor archive.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # here alone: checkpoints of teams are read by torch

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"weights: {path} is refused, it holds more than tensors or is damaged ({first[:120]}); use "
            "safetensors, or a file that torch.load(weights_only=True) reads"
        ) from None
    for wrapper in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise ValueError(f"weights: {path} holds no mapping of names to tensors; save a state dict")
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return dict(state)


def published_name(spec: ArchSpec) -> str | None:
    """The published network that computes what this spec computes, or None."""
    for name in names():
        if ArchSpec.from_dict(entry(name)["spec"]).arch_id == spec.arch_id:
            return name
    return None


def load_strict(net: Network, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict whose names and shapes all fit; else load nothing.

    Raises:
        ValueError: what is missing, what is unexpected and what has another shape, by name.
    """
    own = net.state_dict()
    wrong = [f"missing {key}" for key in own if key not in state]
    wrong += [f"unexpected {key}" for key in state if key not in own]
    wrong += [
        f"{key} has shape {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 6} more" if len(wrong) > 6 else ""
        raise ValueError(f"weights: {source} does not fit the network: {'; '.join(wrong[:6])}{more}")
    net.load_state_dict(dict(state))


def load_official(net: Network, path: str | Path) -> None:
    """Load a released checkpoint of the published network that `net.spec` names, strictly.

    Args:
        net: a network in inference form, as `build(published(name))` makes it.
        path: the released file (.pth or .safetensors).

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
    patterns: dict[str, str] = entry(name)["official_keys"]
    renamed = {name: value for key, value in state.items() if (name := _our_name(key, patterns))}
    load_strict(net, renamed, str(path))


def _our_name(key: str, patterns: Mapping[str, str]) -> str:
    """The name here of a key of a released checkpoint; other keys are left as they are.

    Args:
        patterns: regular expression of the whole key -> replacement, in which {2-1} is group 2 as a number
            less one: counts start at 0 here or there. An empty one: known, but not needed here.
    """
    for pattern, replacement in patterns.items():
        if match := re.fullmatch(pattern, key):
            return _SHIFTED.sub(lambda m: str(int(match[int(m[1])]) + int(m[2])), match.expand(replacement))
    return key
