"""What a training begins with: fresh weights, or those of a file as far as they fit."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.data.patches import PatchStore
from nas.data.pixels.base import bicubic_base
from nas.train.absorb import absorb_base, can_absorb
from nas.train.parent import NUM_IMAGES, SIDE, Parent, ParentFile
from nas.train.proxy import OverBase, residual_spec
from nas.train.start import CALIBRATION_STEP, fit_last_convolution, start_network
from nas.train.weights import load_upscaler
from search_spaces.initialise import initial_network
from search_spaces.network import Network, build
from search_spaces.spec import ArchSpec

NUM_SCALED = 16  # patches by which fresh weights are scaled
MAX_NAMED = 6  # weights that a note names


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """Where a training starts.

    Attributes:
        make: gives a network of its own each time; it is told whether that is to be a residual over
            the base.
        is_whole: whether the network gives whole images only, so that no stage trains a residual.
        notes: what of the weights that were given was not kept, in words.
    """

    make: Callable[[bool], Network]
    is_whole: bool = False
    notes: tuple[str, ...] = ()


def begin_fresh(spec: ArchSpec, patches: PatchStore, *, seed: int) -> Beginning:
    """Begin with fresh weights that already upscale as well as a linear filter."""
    side = patches.fitting_patch(SIDE)

    def make(is_residual: bool) -> Network:
        if is_residual:
            images, _ = patches.batch(CALIBRATION_STEP, NUM_SCALED, side)
            return initial_network(residual_spec(spec), seed, images)
        return start_network(spec, patches, seed=seed, patch=side)

    return Beginning(make=make)


def begin_from(file: ParentFile, spec: ArchSpec, patches: PatchStore, *, seed: int) -> Beginning:
    """Begin with the weights of a file: all of them, or what fits of another architecture's.

    Args:
        file: of the same scale.
        seed: of weights that the file does not have.
    Raises:
        ValueError: the file does not belong to its architecture.
    """
    lr, _ = patches.batch(CALIBRATION_STEP - 2, NUM_IMAGES, patches.fitting_patch(SIDE))
    upscaler = load_upscaler(file.spec, file.weights)
    if file.spec.arch_id != spec.arch_id:
        return _begin_from_other(file, upscaler, spec, patches, lr, seed=seed)

    # A residual's last layers can take its base in; a whole network is no residual any more.
    if isinstance(upscaler, OverBase):
        net = upscaler.net
        return Beginning(
            make=lambda is_residual: copy.deepcopy(net) if is_residual else _add_base(net, spec, lr)
        )
    assert isinstance(upscaler, Network)
    return Beginning(make=lambda _: copy.deepcopy(upscaler), is_whole=True)


def _begin_from_other(
    file: ParentFile,
    upscaler: nn.Module,
    spec: ArchSpec,
    patches: PatchStore,
    lr: Tensor,
    *,
    seed: int,
) -> Beginning:
    """Begin with what fits of another architecture: by corresponding layers, else by equal names."""
    theirs = {name: value.shape for name, value in build(file.spec).state_dict().items()}
    ours = {name: value.shape for name, value in build(spec).state_dict().items()}
    notes = describe_differences(theirs, ours)
    try:
        child = Parent(file, lr).child(spec, seed=seed)
    except ValueError:
        return _begin_by_names(file, upscaler, spec, patches, lr, notes, seed=seed)

    def make(is_residual: bool) -> Network:
        return copy.deepcopy(child) if is_residual else _add_base(child, spec, lr)

    first = (
        f"weights: they are of {file.spec.arch_id}; channels and blocks that correspond are carried "
        "over, fitted to what these gave"
    )
    return Beginning(make=make, notes=(first, *notes))


def _begin_by_names(
    file: ParentFile,
    upscaler: nn.Module,
    spec: ArchSpec,
    patches: PatchStore,
    lr: Tensor,
    notes: tuple[str, ...],
    *,
    seed: int,
) -> Beginning:
    """Begin with the weights of equal names and shapes; all others are fresh."""
    is_whole = not isinstance(upscaler, OverBase)
    known = (upscaler.net if isinstance(upscaler, OverBase) else upscaler).state_dict()
    fresh = begin_fresh(spec, patches, seed=seed)

    def make(is_residual: bool) -> Network:
        net = fresh.make(is_residual or not is_whole)
        state = net.state_dict()
        fitting = {
            name: value
            for name, value in known.items()
            if name in state and state[name].shape == value.shape
        }
        net.load_state_dict({**state, **fitting})
        if is_residual or is_whole:
            return net
        return _add_base(net, spec, lr)

    first = (
        f"weights: they are of {file.spec.arch_id}, whose layers do not correspond to this "
        "network's: those of equal names and shapes are carried over"
    )
    return Beginning(make=make, is_whole=is_whole, notes=(first, *notes))


def describe_differences(
    theirs: Mapping[str, torch.Size], ours: Mapping[str, torch.Size]
) -> tuple[str, ...]:
    """Say which weights one network has and the other lacks, or has in another size.

    Example:
        >>> describe_differences({"a.weight": torch.Size([3])}, {"b.weight": torch.Size([3])})
        ('weights: not kept, this network has no a', 'weights: fresh, the file has no b')
    """
    lines = {
        "not kept, this network has no": [name for name in theirs if name not in ours],
        "fresh, the file has no": [name for name in ours if name not in theirs],
        "kept in part, of other sizes:": [
            name for name in ours if name in theirs and ours[name] != theirs[name]
        ],
    }
    return tuple(
        f"weights: {words} {_list_layers(names)}" for words, names in lines.items() if names
    )


def _list_layers(names: list[str]) -> str:
    """Return the layers that weights belong to; of many the first ones and a number."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    more = f" and {len(layers) - MAX_NAMED} more" if len(layers) > MAX_NAMED else ""
    return ", ".join(layers[:MAX_NAMED]) + more


@torch.no_grad()
def _add_base(net: Network, spec: ArchSpec, lr: Tensor) -> Network:
    """Return a network that gives whole images, as nearly as its last layers can.

    Args:
        net: a residual over the base; it is not changed.
        lr: patches on which the layers are fitted, (N, 3, h, w).
    """
    if can_absorb(spec):
        return absorb_base(net, spec, lr)
    whole = build(spec)
    whole.load_state_dict(net.state_dict(), strict=False)
    fit_last_convolution(whole, lr, net(lr) + bicubic_base(lr, spec.scale))
    return whole
