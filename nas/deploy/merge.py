"""Fewer launches for a plan on a GPU: what lies around a convolution moves into its kernel.

- the normalisation of the image into the first convolution,
- a depthwise convolution and the 1x1 convolution after it into one kernel, of an image into a dense one,
- pixel shuffle, and the addition of a fixed skip branch, into the last one,
- the conversion of a map to another precision into the kernels that read or write it,
- a concatenation into the convolutions that it joins: each writes its channels of one wide map,
- the rounding to TF32 of what is multiplied: of weights here, of maps into the launch that writes them.

Every step is exact: the same function up to rounding, borders included.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from nas.deploy.launches import (
    hold_value,
    joined,
    launched,
    multiplies_in,
    part,
    uncast,
    value_of,
    writes_float16,
)
from nas.deploy.widths import convert_inside, round_once
from nas.ops.conv_act.config import reads_image
from nas.ops.conv_act.op import backend_of
from nas.ops.conv_act.pixels import empty_map

aten = torch.ops.aten
CONV_ACT = torch.ops.nas.conv_act.default
ACTIVATION_RANGE = 255.0  # the factor of the normalisation that the kernel knows


def merge(typed: fx.GraphModule, device: torch.device) -> None:
    """Rewrite the graph of a plan in place; what the kernel cannot serve stays as it is.

    Float32 products get the precision that cuDNN's convolutions have now, for good.

    Args:
        typed: the graph of a `Plan`: each operator in its own precision, `meta["val"]` with its shape.
        device: on which it will run.
    """
    _image_convolutions(typed, device)
    _separable(typed, device)
    for node in typed.graph.find_nodes(op="call_function", target=CONV_ACT):
        if _served(typed, node, device):
            node.target = launched
            _pack(typed, node)
    _normalise(typed)
    convert_inside(typed)
    _shuffle(typed)
    _join(typed)
    round_once(typed)
    typed.graph.eliminate_dead_code()
    typed.graph.lint()
    typed.recompile()


def _image_convolutions(typed: fx.GraphModule, device: torch.device) -> None:
    """A grouped convolution of the image, the near-pixel branch, as a dense one: its taps are one product."""
    for node in typed.graph.find_nodes(op="call_function", target=aten.conv2d.default):
        weight = value_of(typed, node.args[1])
        count, _, size, _ = weight.shape
        groups = _groups(node)
        in_channels = weight.shape[1] * groups
        if groups == 1 or not reads_image(in_channels, size):
            continue
        if not _keeps_size(node, weight) or not _has_kernel(device, weight, "none"):
            continue
        dense = weight.new_zeros(count, in_channels, size, size)
        for i, rows in enumerate(torch.arange(count).chunk(groups)):
            dense[rows, i * weight.shape[1] : (i + 1) * weight.shape[1]] = weight[rows]
        _become(typed, node, node.args[0], dense, _bias(typed, node))


def _separable(typed: fx.GraphModule, device: torch.device) -> None:
    """pw(dw(x)) as one launch; the bias between them is moved behind, its sum formed in float64, once."""
    for last in typed.graph.find_nodes(op="call_function", target=CONV_ACT):
        first = uncast(last.args[0])
        weight = value_of(typed, last.args[1])
        if first.target != aten.conv2d.default or len(first.users) > 1 or weight.shape[-1] != 1:
            continue
        depth = value_of(typed, first.args[1])
        if _groups(first) != depth.shape[0] or depth.shape[1] != 1 or not _keeps_size(first, depth):
            continue
        dtype = torch.promote_types(depth.dtype, weight.dtype)
        bias, inner = _bias(typed, last), _bias(typed, first)
        if inner is not None:
            moved = weight.double()[:, :, 0, 0] @ inner.double()
            bias = (moved if bias is None else moved + bias.double()).to(dtype)
        image = reads_image(depth.shape[0], depth.shape[-1])
        if not _has_kernel(
            device, weight.to(dtype), str(last.args[3]), depth=None if image else depth
        ):
            continue
        source = first.args[0]
        if dtype != depth.dtype:
            with typed.graph.inserting_before(last):
                source = typed.graph.call_function(aten.to.dtype, (source, dtype))
        if image:  # its taps are one product: (C, Cin, 1, 1) * (1, Cin, k, k)
            weight = weight.double() * depth.double().permute(1, 0, 2, 3)
        _become(
            typed, last, source, weight.to(dtype), bias, epilogue=last.args[3], rest=last.args[4:]
        )
        if not image:
            with typed.graph.inserting_before(last):
                taps = depth[:, 0].float().permute(1, 2, 0).contiguous()
                held = hold_value(typed, f"{last.name}_depth", taps)
            last.target, last.kwargs = launched, {"depth": held}


def _normalise(typed: fx.GraphModule) -> None:
    """255 (image - mean) inside the convolution that reads it, where padding is zero after that."""
    for node in typed.graph.find_nodes(op="call_function", target=launched):
        scaled = uncast(node.args[0])
        if scaled.target != aten.mul.Tensor or scaled.args[1] != ACTIVATION_RANGE:
            continue
        centred = scaled.args[0]
        if not isinstance(centred, fx.Node) or centred.target != aten.sub.Tensor:
            continue
        image, mean = centred.args[:2]
        if (
            not isinstance(image, fx.Node)
            or image.op != "placeholder"
            or not _reads_image(typed, node)
        ):
            continue
        flat = value_of(typed, mean).float().flatten().contiguous()
        with typed.graph.inserting_before(node):
            held = hold_value(typed, f"{node.name}_mean", flat)
        node.args = (image, *node.args[1:])
        node.kwargs = {**node.kwargs, "mean": held}


def _shuffle(typed: fx.GraphModule) -> None:
    """Pixel shuffle in the store of a convolution, then the image that is added to it."""
    for shuffle in typed.graph.find_nodes(op="call_function", target=aten.pixel_shuffle.default):
        node = shuffle.args[0]
        if not _may_move(node) or len(node.users) > 1 or node.args[3] != "none":
            continue
        last = shuffle
        while len(last.users) == 1 and next(iter(last.users)).target == aten.to.dtype:
            last = next(iter(last.users))  # the kernel stores float32
        added = next(iter(last.users)) if len(last.users) == 1 else None
        image = _added_image(added, last, shuffle) if added is not None else None
        end = added if added is not None and image is not None else last
        with typed.graph.inserting_before(
            end
        ):  # the image that is added may come after the convolution
            merged = typed.graph.node_copy(node)
            skip = (
                typed.graph.call_function(torch.Tensor.contiguous, (image,))
                if image is not None
                else None
            )
        merged.args = (*node.args[:4], skip, None, None)
        merged.kwargs = {**node.kwargs, "shuffle": shuffle.args[1]}
        if skip is not None:
            merged.prepend(skip)
        end.replace_all_uses_with(merged)


def _added_image(added: fx.Node, last: fx.Node, like: fx.Node) -> fx.Node | None:
    """The float32 image that is added to a node, if that is what its user does."""
    if added.target != aten.add.Tensor or len(added.args) != 2 or added.kwargs:
        return None
    image = added.args[1] if added.args[0] is last else added.args[0]
    if not isinstance(image, fx.Node) or image is last:
        return None
    value = image.meta.get("val")
    if not isinstance(value, Tensor) or value.dtype != torch.float32:
        return None
    return image if value.shape == like.meta["val"].shape else None


def _join(typed: fx.GraphModule) -> None:
    """Let what is concatenated be written into one wide map; what cannot write there is left as it is."""
    for cat in typed.graph.find_nodes(op="call_function", target=aten.cat.default):
        sources: Sequence[fx.Node] = cat.args[0]
        if (
            cat.args[1:] != (1,)
            or len(set(sources)) < len(sources)
            or not all(map(_may_move, sources))
        ):
            continue
        wide_sources = [node for node in sources if not writes_float16(typed, node)]
        readers = {user for node in (cat, *wide_sources) for user in node.users} - {cat}
        halves = not wide_sources or all(
            multiplies_in(typed, reader, torch.float16) for reader in readers
        )
        dtype = torch.float16 if halves else torch.float32
        widths = [value_of(typed, node.args[1]).shape[0] for node in sources]
        (image,) = typed.graph.find_nodes(op="placeholder")
        with typed.graph.inserting_after(image):
            wide = typed.graph.call_function(empty_map, (image, sum(widths), dtype))
        first = 0
        for node, width in zip(sources, widths, strict=True):
            with typed.graph.inserting_before(node):
                out = typed.graph.call_function(part, (wide, first, width))
            node.kwargs = {**node.kwargs, "out": out}
            first += width
        with typed.graph.inserting_before(cat):
            whole = typed.graph.call_function(joined, (wide, *sources))
        cat.replace_all_uses_with(whole)


def _become(
    typed: fx.GraphModule,
    node: fx.Node,
    source: Any,
    weight: Tensor,
    bias: Tensor | None,
    *,
    epilogue: Any = "none",
    rest: Sequence[Any] = (None, None, None),
) -> None:
    """Turn a node into a conv_act of another weight."""
    with typed.graph.inserting_before(node):
        held = hold_value(
            typed, f"{node.name}_weight", weight.contiguous(memory_format=torch.channels_last)
        )
        held_bias = hold_value(typed, f"{node.name}_bias", bias) if bias is not None else None
    node.target = CONV_ACT
    node.args = (source, held, held_bias, epilogue, *rest)
    node.kwargs = {}


def _served(typed: fx.GraphModule, node: fx.Node, device: torch.device) -> bool:
    return _has_kernel(device, value_of(typed, node.args[1]), str(node.args[3]))


def _has_kernel(
    device: torch.device, weight: Tensor, epilogue: str, *, depth: Tensor | None = None
) -> bool:
    """Whether the kernel serves a weight, with depth after a depthwise convolution of such a weight."""
    channels, in_channels, kernel, _ = weight.shape
    case = (device, channels, weight.dtype, epilogue, in_channels)
    if depth is not None:
        return backend_of(*case, depth.shape[-1], separable=True) == "triton"
    return backend_of(*case, kernel) == "triton"


def _pack(typed: fx.GraphModule, node: fx.Node) -> None:
    """Hold the weight of a launch as the kernel reads it."""
    weight = value_of(typed, node.args[1])
    if not weight.is_contiguous(memory_format=torch.channels_last):
        with typed.graph.inserting_before(node):
            packed = weight.contiguous(memory_format=torch.channels_last)
            held = hold_value(typed, f"{node.name}_packed", packed)
        node.args = (node.args[0], held, *node.args[2:])


def _reads_image(typed: fx.GraphModule, node: fx.Node) -> bool:
    weight = value_of(typed, node.args[1])
    return "depth" not in node.kwargs and reads_image(weight.shape[1], weight.shape[-1])


def _may_move(node: fx.Node) -> bool:
    """Whether a launch still writes to a map of its own."""
    return node.target is launched and not {"out", "shuffle"} & set(node.kwargs)


def _keeps_size(node: fx.Node, weight: Tensor) -> bool:
    """Whether a convolution keeps height and width: odd, square, stride one, padded by half of it."""
    size = weight.shape[-1]
    wanted = ([1, 1], [size // 2] * 2, [1, 1])
    given = (*node.args[3:6], *([1, 1], [0, 0], [1, 1])[len(node.args[3:6]) :])
    return weight.shape[-2] == size and size % 2 == 1 and given == wanted


def _groups(node: fx.Node) -> int:
    return int(node.args[6]) if len(node.args) > 6 else 1  # type: ignore[arg-type]


def _bias(typed: fx.GraphModule, node: fx.Node) -> Tensor | None:
    held = node.args[2] if len(node.args) > 2 else None
    return value_of(typed, held) if held is not None else None
