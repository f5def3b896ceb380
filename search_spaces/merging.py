"""Merge adjacent linear convolutions: a cheaper architecture of the same function, but for borders.

What VARH-AI did to DSCF by hand, for any network of the grammar. A merge is taken where it saves
FLOPs.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from search_spaces.network import Network, build
from search_spaces.parts import Role, feature_widths
from search_spaces.reparam import rep_convs
from search_spaces.spec import ArchSpec, BlockSpec, Scalar, feature_of

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """One step of `merge_linear`.

    Attributes:
        what: what was merged, in words.
        exact: the output is the same everywhere, up to rounding. Otherwise zero padding between the
            two convolutions is lost, and features differ within `border` LR pixels of the image's
            border where they are merged; layers after it carry that further in.
    """

    what: str
    exact: bool
    border: int = 0

    def __str__(self) -> str:
        pixels = "pixel" if self.border == 1 else "pixels"
        where = (
            "the same"
            if self.exact
            else f"differs there within {self.border} LR {pixels} of the border"
        )
        return f"{self.what}: {where}"


def merge_linear(net: Network, *, exact: bool = False) -> tuple[Network, tuple[Merge, ...]]:
    """Merge adjacent linear convolutions of a network in inference form.

    - a convolution and the first one of what follows, where nothing else reads what is between
      them: one of a larger kernel. So stem and block, block and block, the last block and a fusion
      of it alone, fusion and tail, fusion or tail and upsampler;
    - a convolution after the blocks, a concatenation and a 1x1 convolution: a convolution that is
      added;
    - a linear stem and the first convolution of a SPAB: an `image_spab` with a larger kernel.

    Source: DSCF_Fused (VARH-AI), NTIRE 2026 Efficient SR.

    Args:
        exact: leave out what changes the result at the borders.

    Returns:
        A network of another spec, the given one where nothing is merged; and what was done, in
        order.

    Raises:
        ValueError: the network holds training branches.
    """
    if any(True for _ in rep_convs(net)):
        raise ValueError(
            "merge_linear: the network holds training branches; fold it first: net.fold()"
        )

    # One merge at a time: each gives a new spec, in which others may become possible.
    spec, state = net.spec, {key: value.detach().clone() for key, value in net.state_dict().items()}
    done: list[Merge] = []
    while True:
        candidates = _find_merges(spec, state)
        candidate = next((merge for merge in candidates if merge[2].exact or not exact), None)
        if candidate is None:
            break
        spec, state, step = candidate
        done.append(step)

    if not done:
        return net, ()

    merged = build(spec).to(next(net.parameters()).device, next(net.parameters()).dtype)
    merged.load_state_dict(state)
    return merged.train(net.training), tuple(done)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """Return the kernel that is `first` and then `second`.

    Args:
        first: (m, i, j, j).
        second: (o, m, k, k).

    Returns:
        (o, i, j + k - 1, j + k - 1).
    """
    size = second.shape[-1]
    return (
        F.conv2d(first.transpose(0, 1), second.flip(2, 3), padding=size - 1)
        .transpose(0, 1)
        .contiguous()
    )


Candidate = tuple[ArchSpec, State, Merge]  # the merged network and what was done


def _find_merges(spec: ArchSpec, state: State) -> Iterator[Candidate]:
    """Yield what can be merged next, each merge by itself: one is taken at a time."""
    yield from _merge_into_fusion(spec, state)
    yield from _merge_stem_into_spab(spec, state)
    yield from _merge_neighbours(spec, state)


def _merge_into_fusion(spec: ArchSpec, state: State) -> Iterator[Candidate]:
    """Merge the last block, a convolution, with its part of the 1x1 fusion.

    The fusion A over [..., K b + c, ...] is A' over [..., ...] plus (A_t K) b + A_t c: a residual.
    """
    if not _ends_in_fusion(spec):
        return
    last = len(spec.blocks)
    last_name = f"block{last}"
    weight, inner = state["fusion.weight"], state[f"blocks.{last}.weight"]

    # Split the fusion by its inputs, and merge the block with the part that reads it.
    widths = feature_widths(spec)
    place = spec.taps.index(last_name)
    by_tap = list(torch.split(weight, [widths[tap] for tap in spec.taps], 1))
    read_weight = by_tap.pop(place)
    added = compose(inner, read_weight)
    if added.numel() >= inner.numel() + read_weight.numel():
        return

    # The block's bias passes through its part of the fusion, into the fusion's own bias.
    bias = state.get("fusion.bias", weight.new_zeros(weight.shape[0]))
    if f"blocks.{last}.bias" in state:
        bias = bias + read_weight.flatten(1) @ state[f"blocks.{last}.bias"]
    moved = {key: value for key, value in state.items() if not key.startswith(f"blocks.{last}.")}
    moved |= {
        "fusion.weight": torch.cat(by_tap, 1),
        f"residuals.{len(spec.residuals)}.weight": added,
    }
    has_bias = f"blocks.{last}.bias" in state or "fusion.bias" in state
    moved |= {"fusion.bias": bias} if has_bias else {}

    # The spec: one block and one tap less, and a residual that reads the block before.
    channels, kernel = weight.shape[0], inner.shape[-1]
    residual = BlockSpec.of(
        "conv", feature=f"block{last - 1}", channels=channels, kernel=kernel, bias=False
    )
    made = dataclasses.replace(
        spec,
        blocks=spec.blocks[:-1],
        taps=tuple(tap for tap in spec.taps if tap != last_name),
        fusion=BlockSpec.of("conv", channels=channels, kernel=1, bias=has_bias),
        residuals=(*spec.residuals, residual),
    )
    size = _format_size(inner)
    what = f"{last_name} and its part of the fusion are one {size} convolution of block{last - 1}"
    yield made, moved, Merge(what=what, exact=True)


def _ends_in_fusion(spec: ArchSpec) -> bool:
    """Return whether the last block is a convolution read only by a 1x1 fusion of several taps."""
    last_name = f"block{len(spec.blocks)}"
    if not _is_conv(spec.blocks[-1]) or not _is_conv(spec.fusion):
        return False
    if dict(spec.fusion.args)["kernel"] != 1:
        return False

    # Residuals are added after the tail, and taps are scaled before the fusion: neither may stand
    # here.
    if spec.scaled_taps or spec.tail:
        return False
    read = [*spec.taps, *map(feature_of, spec.residuals)]
    alone = read.count(last_name) == 1 and last_name in spec.taps
    return alone and len(spec.taps) > 1 and len(spec.blocks) > 1


def _merge_stem_into_spab(spec: ArchSpec, state: State) -> Iterator[Candidate]:
    """Merge a linear stem into the first convolution of the SPAB after it: an `image_spab`."""
    first = spec.blocks[0]
    if spec.stem is None or not _is_conv(spec.stem) or first.kind != "spab":
        return

    # Both as arrays (out, in, k, k).
    stem, conv = state["stem.weight"], state["blocks.1.conv1.weight"]

    # Kernels grow by each other's reach: 3x3 after 3x3 is 5x5.
    kernel = compose(stem, conv)
    if kernel.numel() >= conv.numel():
        return

    moved = state | {"blocks.1.conv1.weight": kernel}
    if "stem.bias" in state:
        passed = conv.sum((2, 3)) @ state["stem.bias"]
        if "blocks.1.conv1.bias" not in state:
            return  # the block has no biases to take it
        moved["blocks.1.conv1.bias"] = state["blocks.1.conv1.bias"] + passed

    block = BlockSpec.of("image_spab", **dict(first.args), kernel=kernel.shape[-1])
    block = dataclasses.replace(block, train_form=first.train_form)
    what = f"stem and block1.conv1 are one {_format_size(kernel)} convolution of the image"
    step = Merge(what=what, exact=False, border=conv.shape[-1] // 2)
    yield dataclasses.replace(spec, blocks=(block, *spec.blocks[1:])), moved, step


# Kinds that begin with a dense convolution and read their input nowhere else: its place in the
# state.
FIRST_CONV = {
    "conv": "",
    "activated_conv": ".conv",
    "conv_stack": ".conv1",
    "pixel_shuffle": ".conv",
    "refined_pixel_shuffle": ".conv",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A layer of the spec, and the start of its names in the state dict."""

    role: Role
    name: str
    prefix: str
    block: BlockSpec


def _merge_neighbours(spec: ArchSpec, state: State) -> Iterator[Candidate]:
    """Merge a convolution with the first one of the next layer, where nothing reads between."""
    body, head = _list_body(spec.stem, spec.blocks), _list_head(spec.fusion, spec.tail)
    upsampler = _Layer(role="upsampler", name="upsampler", prefix="upsampler", block=spec.upsampler)
    features = list(map(feature_of, spec.residuals))

    # Pairs of layers of which only the second reads the first.
    pairs = [
        pair for pair in itertools.pairwise(body) if pair[0].name not in (*spec.taps, *features)
    ]
    last = body[-1]
    if (
        spec.taps == (last.name,)
        and last.name not in features
        and len(body) > 1
        and not spec.scaled_taps
    ):
        pairs.append((last, head[0]))

    pairs += itertools.pairwise(head)
    if not spec.residuals:  # they are added between the two
        pairs.append((head[-1], upsampler))

    for first, second in pairs:
        joined = _join_layers(first, second, state)
        if joined is not None:
            block, tensors, step = joined
            yield (
                *_drop_layer(
                    spec, state | tensors, first, dataclasses.replace(second, block=block)
                ),
                step,
            )


def _join_layers(
    first: _Layer, second: _Layer, state: State
) -> tuple[BlockSpec, State, Merge] | None:
    """Return the second layer with both convolutions as its first one, and the changed state.

    None where they cannot be joined, or where that saves nothing.
    """
    if not _is_conv(first.block) or second.block.kind not in FIRST_CONV:
        return None
    name = second.prefix + FIRST_CONV[second.block.kind]
    inner, outer = state[f"{first.prefix}.weight"], state[f"{name}.weight"]
    kernel = compose(inner, outer)
    if kernel.numel() >= inner.numel() + outer.numel():
        return None

    # The first bias passes through the second kernel; where neither has one there is none.
    own, passed = state.get(f"{name}.bias"), state.get(f"{first.prefix}.bias")
    tensors = {f"{name}.weight": kernel}
    if passed is not None:
        passed = outer.sum((2, 3)) @ passed
        tensors[f"{name}.bias"] = passed if own is None else passed + own

    # The spec of the second layer takes the larger kernel, where its kind can say one.
    changes: dict[str, Scalar] = {}
    if second.block.kind != "conv_stack":
        changes = {"kernel": kernel.shape[-1], "bias": own is not None or passed is not None}
    elif kernel.shape[-1] != 3 or (passed is not None and own is None):
        return None  # its convolutions are alike

    block = dataclasses.replace(second.block, args=_change_args(second.block, **changes))

    # Only what the first convolution makes of its padding, or adds to it, is lost at a border.
    border = outer.shape[-1] // 2 if inner.shape[-1] > 1 or passed is not None else 0
    what = f"{first.name} and {second.name} are one {_format_size(kernel)} convolution"
    return block, tensors, Merge(what=what, exact=border == 0, border=border)


def _drop_layer(
    spec: ArchSpec, state: State, gone: _Layer, changed: _Layer
) -> tuple[ArchSpec, State]:
    """Return a spec and its state without one layer and with another one changed."""

    def apply_change(layers: list[_Layer]) -> list[_Layer]:
        kept = [layer for layer in layers if layer.name != gone.name]
        return [changed if layer.name == changed.name else layer for layer in kept]

    body = apply_change(_list_body(spec.stem, spec.blocks))
    head = apply_change(_list_head(spec.fusion, spec.tail))

    # What stands first after a merge may have become a stem, or may have been one.
    blocks = [layer.block for layer in body]
    may_lead = blocks[0].kind in ("conv", "activated_conv") if blocks else False
    has_stem = spec.stem is not None and len(body) > 1 and may_lead
    stem, rest = (blocks[0], blocks[1:]) if has_stem else (None, blocks)
    fusion, *tail = [layer.block for layer in head] or [BlockSpec.of("identity")]

    # Layers move up: names in the spec and in the state follow them.
    now = [*_list_body(stem, rest), *_list_head(fusion, tail)]
    names = {old.name: new.name for old, new in zip((*body, *head), now, strict=False)}
    prefixes = {old.prefix: new.prefix for old, new in zip((*body, *head), now, strict=False)}

    def rename_feature(feature: str) -> str:
        layer, dot, inner = feature.partition(".")
        return names.get(layer, layer) + dot + inner

    into_fusion = changed.role == "fusion" and gone.role in ("stem", "block")
    residuals = []
    for residual in spec.residuals:
        args = _change_args(residual, feature=rename_feature(feature_of(residual)))
        residuals.append(dataclasses.replace(residual, args=args))

    made = dataclasses.replace(
        spec,
        stem=stem,
        blocks=tuple(rest),
        taps=(names[body[-1].name],) if into_fusion else tuple(map(rename_feature, spec.taps)),
        fusion=fusion,
        tail=tuple(tail),
        residuals=tuple(residuals),
        upsampler=changed.block if changed.role == "upsampler" else spec.upsampler,
    )
    left = {key: value for key, value in state.items() if not key.startswith(f"{gone.prefix}.")}
    return made, {_rename_key(key, prefixes): value for key, value in left.items()}


def _change_args(block: BlockSpec, **changes: Scalar) -> tuple[tuple[str, Scalar], ...]:
    return BlockSpec.of(block.kind, **{**dict(block.args), **changes}).args


def _rename_key(key: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return key


def _list_body(stem: BlockSpec | None, blocks: Sequence[BlockSpec]) -> list[_Layer]:
    layers = [_Layer(role="stem", name="stem", prefix="stem", block=stem)] if stem else []
    return layers + [
        _Layer(role="block", name=f"block{i}", prefix=f"blocks.{i}", block=b)
        for i, b in enumerate(blocks, 1)
    ]


def _list_head(fusion: BlockSpec, tail: Sequence[BlockSpec]) -> list[_Layer]:
    layers = [_Layer(role="fusion", name="fusion", prefix="fusion", block=fusion)]
    return layers + [
        _Layer(role="tail", name=f"tail{i}", prefix=f"tail.{i - 1}", block=b)
        for i, b in enumerate(tail, 1)
    ]


def _is_conv(block: BlockSpec) -> bool:
    return block.kind == "conv"


def _format_size(kernel: Tensor) -> str:
    return f"{kernel.shape[-2]}x{kernel.shape[-1]}"
