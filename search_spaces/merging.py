"""Adjacent linear convolutions merged into one: a cheaper architecture of the same function, borders aside.

What VARH-AI did to DSCF by hand, for any network of the grammar. A merge is taken where it saves FLOPs.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from search_spaces.network import Network, build
from search_spaces.parts import feature_widths
from search_spaces.reparam import rep_convs
from search_spaces.spec import ArchSpec, BlockSpec, feature_of

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """One step of a merging.

    Attributes:
        what: in words.
        exact: the output is the same everywhere, up to rounding. Otherwise zero padding between the two
            convolutions is lost, and features differ within `border` LR pixels of the image's border where
            they are merged; layers after it carry that further in.
    """

    what: str
    exact: bool
    border: int = 0

    def __str__(self) -> str:
        where = "the same" if self.exact else f"differs there within {self.border} LR pixels of the border"
        return f"{self.what}: {where}"


def merge_linear(net: Network, *, exact: bool = False) -> tuple[Network, tuple[Merge, ...]]:
    """Merge adjacent linear convolutions of a network in inference form.

    - a convolution after the blocks, a concatenation and a 1x1 convolution: a convolution that is added;
    - a linear stem and the first convolution of a SPAB: an `image_spab` with a larger kernel;
    - the fusion's convolution and the upsampler's: one with a larger kernel.

    Source: DSCF_Fused (VARH-AI), NTIRE 2026 Efficient SR.

    Args:
        exact: leave out what changes the result at the borders.

    Returns:
        A network of another spec, the given one where nothing is merged; and what was done, in order.

    Raises:
        ValueError: the network holds training branches.
    """
    if any(True for _ in rep_convs(net)):
        raise ValueError("merge_linear: the network holds training branches; fold it first: net.fold()")
    spec, state = net.spec, {key: value.detach().clone() for key, value in net.state_dict().items()}
    done: list[Merge] = []
    while found := next((one for one in _merges(spec, state) if one[2].exact or not exact), None):
        spec, state, step = found
        done.append(step)
    if not done:
        return net, ()
    merged = build(spec).to(next(net.parameters()).device, next(net.parameters()).dtype)
    merged.load_state_dict(state)
    return merged.train(net.training), tuple(done)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """The kernel (o, i, j + k - 1, j + k - 1) that is `first` (m, i, j, j) and then `second` (o, m, k, k)."""
    size = second.shape[-1]
    return F.conv2d(first.transpose(0, 1), second.flip(2, 3), padding=size - 1).transpose(0, 1).contiguous()


Found = tuple[ArchSpec, State, Merge]


def _merges(spec: ArchSpec, state: State) -> Iterator[Found]:
    """What can be merged next, each by itself."""
    yield from _after_the_blocks(spec, state)
    yield from _stem_and_spab(spec, state)
    yield from _fusion_and_upsampler(spec, state)


def _after_the_blocks(spec: ArchSpec, state: State) -> Iterator[Found]:
    """conv - concat - 1x1: A [.., K b + c, ..] is A' [.., ..] + (A_t K) b + A_t c."""
    last = len(spec.blocks)
    here = f"block{last}"
    read = [*spec.taps, *map(feature_of, spec.residuals)]
    linear = _is_conv(spec.blocks[-1]) and _is_conv(spec.fusion) and dict(spec.fusion.args)["kernel"] == 1
    if not linear or read.count(here) != 1 or here not in spec.taps or len(spec.taps) < 2 or last < 2:
        return
    if spec.scaled_taps or spec.tail:  # residuals are added after the tail
        return
    weight, inner = state["fusion.weight"], state[f"blocks.{last}.weight"]
    widths = feature_widths(spec)
    place = spec.taps.index(here)
    parts = list(torch.split(weight, [widths[tap] for tap in spec.taps], 1))
    part = parts.pop(place)
    added = compose(inner, part)
    if added.numel() >= inner.numel() + part.numel():
        return
    bias = state.get("fusion.bias", weight.new_zeros(weight.shape[0]))
    if f"blocks.{last}.bias" in state:
        bias = bias + part.flatten(1) @ state[f"blocks.{last}.bias"]
    moved = {key: value for key, value in state.items() if not key.startswith(f"blocks.{last}.")}
    moved |= {"fusion.weight": torch.cat(parts, 1), f"residuals.{len(spec.residuals)}.weight": added}
    has_bias = f"blocks.{last}.bias" in state or "fusion.bias" in state
    moved |= {"fusion.bias": bias} if has_bias else {}
    args = {"channels": weight.shape[0], "kernel": inner.shape[-1], "bias": False}
    made = dataclasses.replace(
        spec,
        blocks=spec.blocks[:-1],
        taps=tuple(tap for tap in spec.taps if tap != here),
        fusion=BlockSpec.of("conv", channels=weight.shape[0], kernel=1, bias=has_bias),
        residuals=(*spec.residuals, BlockSpec.of("conv", feature=f"block{last - 1}", **args)),
    )
    what = f"{here} and its part of the fusion are one {_size(inner)} convolution of block{last - 1}"
    yield made, moved, Merge(what=what, exact=True)


def _stem_and_spab(spec: ArchSpec, state: State) -> Iterator[Found]:
    """The first convolution of block 1 over a linear stem: one over the image."""
    first = spec.blocks[0]
    if spec.stem is None or not _is_conv(spec.stem) or first.kind != "spab":
        return
    stem, conv = state["stem.weight"], state["blocks.1.conv1.weight"]
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
    what = f"stem and block1.conv1 are one {_size(kernel)} convolution of the image"
    step = Merge(what=what, exact=False, border=conv.shape[-1] // 2)
    yield dataclasses.replace(spec, blocks=(block, *spec.blocks[1:])), moved, step


def _fusion_and_upsampler(spec: ArchSpec, state: State) -> Iterator[Found]:
    """The upsampler's convolution over the fusion's: one over the taps."""
    if not _is_conv(spec.fusion) or spec.upsampler.kind != "pixel_shuffle" or spec.tail or spec.residuals:
        return
    inner, outer = state["fusion.weight"], state["upsampler.conv.weight"]
    kernel = compose(inner, outer)
    if kernel.numel() >= inner.numel() + outer.numel():
        return
    moved = {key: value for key, value in state.items() if not key.startswith("fusion.")}
    moved["upsampler.conv.weight"] = kernel
    if "fusion.bias" in state:
        passed = outer.sum((2, 3)) @ state["fusion.bias"]
        moved["upsampler.conv.bias"] = passed + state.get("upsampler.conv.bias", torch.zeros_like(passed))
    border = outer.shape[-1] // 2 if inner.shape[-1] > 1 or "fusion.bias" in state else 0
    has_bias = "upsampler.conv.bias" in moved
    made = dataclasses.replace(
        spec,
        fusion=BlockSpec.of("identity"),
        upsampler=BlockSpec.of("pixel_shuffle", kernel=kernel.shape[-1], bias=has_bias),
    )
    what = f"fusion and upsampler are one {_size(kernel)} convolution"
    yield made, moved, Merge(what=what, exact=border == 0, border=border)


def _is_conv(block: BlockSpec) -> bool:
    return block.kind == "conv"


def _size(kernel: Tensor) -> str:
    return f"{kernel.shape[-2]}x{kernel.shape[-1]}"
