"""Fewer launches for a plan on a GPU: what lies around a convolution moves into its kernel.

- the normalisation of the image into the first convolution,
- a depthwise convolution and the 1x1 convolution after it into one kernel, of an image into a dense
  one,
- pixel shuffle, and the addition of a fixed skip branch, into the last one,
- the conversion of a map to another precision into the kernels that read or write it,
- a concatenation into the convolutions that it joins: each writes its channels of one wide map,
- the rounding to TF32 of what is multiplied: of weights here, of maps into the launch that writes
  them.

Every step is exact: the same function up to rounding, borders included.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from nas.deploy.convolutions import (
    densify_image_convolutions,
    launch_served,
    merge_separable,
)
from nas.deploy.launches import (
    hold_value,
    join_parts,
    launch_conv_act,
    multiplies_in,
    slice_channels,
    uncast,
    value_of,
    writes_float16,
)
from nas.deploy.widths import convert_inside, round_once
from nas.ops.conv_act.config import reads_image
from nas.ops.conv_act.pixels import empty_map

aten = torch.ops.aten
ACTIVATION_RANGE = 255.0  # the factor of the normalisation that the kernel knows


def merge(typed: fx.GraphModule, device: torch.device) -> None:
    """Rewrite the graph of a plan in place; what the kernel cannot serve stays as it is.

    Float32 products get the precision that cuDNN's convolutions have now, for good.

    Args:
        typed: the graph of a `Plan`: each operator in its own precision, `meta["val"]` with its
            shape.
        device: on which it will run.
    """
    # Convolutions become launches as far as the kernel serves them.
    densify_image_convolutions(typed, device)
    merge_separable(typed, device)
    launch_served(typed, device)

    # These take in what lies before and behind them. Precision comes before the wide maps of
    # concatenations, which need to know what each launch writes, and rounding after them.
    _merge_normalisation(typed)
    convert_inside(typed)
    _merge_shuffle(typed)
    _merge_concatenation(typed)
    round_once(typed)

    typed.graph.eliminate_dead_code()
    typed.graph.lint()
    typed.recompile()


def _merge_normalisation(typed: fx.GraphModule) -> None:
    """Move 255 (image - mean) into the convolution that reads it.

    The kernel pads with zeros after the subtraction, as the convolution did.
    """
    for node in typed.graph.find_nodes(op="call_function", target=launch_conv_act):
        # The pattern is exact: another factor, or a mean taken otherwise, stays as it is.
        scaled = uncast(node.args[0])
        if scaled.target != aten.mul.Tensor or scaled.args[1] != ACTIVATION_RANGE:
            continue
        centred = scaled.args[0]
        if not isinstance(centred, fx.Node) or centred.target != aten.sub.Tensor:
            continue
        image, mean = centred.args[:2]
        if not isinstance(image, fx.Node) or image.op != "placeholder":
            continue
        if not _reads_image(typed, node):
            continue

        flat = value_of(typed, mean).float().flatten().contiguous()
        with typed.graph.inserting_before(node):
            held = hold_value(typed, f"{node.name}_mean", flat)
        node.args = (image, *node.args[1:])
        node.kwargs = {**node.kwargs, "mean": held}


def _merge_shuffle(typed: fx.GraphModule) -> None:
    """Move pixel shuffle, and the addition of an image to it, into the store of a convolution."""
    for shuffle in typed.graph.find_nodes(op="call_function", target=aten.pixel_shuffle.default):
        node = shuffle.args[0]
        if not _may_move(node) or len(node.users) > 1 or node.args[3] != "none":
            continue

        # A conversion to float32 behind the shuffle falls away: the kernel stores float32.
        last = shuffle
        while len(last.users) == 1 and next(iter(last.users)).target == aten.to.dtype:
            last = next(iter(last.users))

        added = next(iter(last.users)) if len(last.users) == 1 else None
        image = _find_added_image(added, last, shuffle) if added is not None else None
        end = added if added is not None and image is not None else last
        # A copy is made at the end: the image that is added may come after the convolution.
        with typed.graph.inserting_before(end):
            merged = typed.graph.node_copy(node)
            skip = None
            if image is not None:
                skip = typed.graph.call_function(torch.Tensor.contiguous, (image,))
        merged.args = (*node.args[:4], skip, None, None)
        merged.kwargs = {**node.kwargs, "shuffle": shuffle.args[1]}
        if skip is not None:
            merged.prepend(skip)
        end.replace_all_uses_with(merged)


def _find_added_image(added: fx.Node, last: fx.Node, like: fx.Node) -> fx.Node | None:
    """Return the float32 image that is added to a node, if that is what its user does.

    Args:
        added: the only user of `last`.
        like: a node of the shape that the image must have: the kernel does not broadcast.
    """
    if added.target != aten.add.Tensor or len(added.args) != 2 or added.kwargs:
        return None

    # An addition has no order: the image may stand on either side.
    image = added.args[1] if added.args[0] is last else added.args[0]
    if not isinstance(image, fx.Node) or image is last:
        return None
    value = image.meta.get("val")
    if not isinstance(value, Tensor) or value.dtype != torch.float32:
        return None
    return image if value.shape == like.meta["val"].shape else None


def _merge_concatenation(typed: fx.GraphModule) -> None:
    """Let launches write their channels of one wide map, where all that is joined are launches."""
    for cat in typed.graph.find_nodes(op="call_function", target=aten.cat.default):
        sources: Sequence[fx.Node] = cat.args[0]
        if cat.args[1:] != (1,) or len(set(sources)) < len(sources):
            continue
        # One part that is no launch would have to be copied, and the others gain nothing.
        if not all(map(_may_move, sources)):
            continue

        dtype = torch.float16 if _joins_to_float16(typed, cat) else torch.float32
        widths = [value_of(typed, node.args[1]).shape[0] for node in sources]
        (image,) = typed.graph.find_nodes(op="placeholder")
        with typed.graph.inserting_after(image):
            wide = typed.graph.call_function(empty_map, (image, sum(widths), dtype))

        # Each launch writes its own slice; the joined map is what the readers see.
        first = 0
        for node, width in zip(sources, widths, strict=True):
            with typed.graph.inserting_before(node):
                out = typed.graph.call_function(slice_channels, (wide, first, width))
            node.kwargs = {**node.kwargs, "out": out}
            first += width
        with typed.graph.inserting_before(cat):
            whole = typed.graph.call_function(join_parts, (wide, *sources))
        cat.replace_all_uses_with(whole)


def _joins_to_float16(typed: fx.GraphModule, cat: fx.Node) -> bool:
    """Return whether a wide map may be float16.

    It may where all its parts are, or where whoever reads one that is not would convert it anyway.
    """
    sources: Any = cat.args[0]
    wide_sources = [node for node in sources if not writes_float16(typed, node)]
    readers = {user for node in (cat, *wide_sources) for user in node.users} - {cat}
    return not wide_sources or all(
        multiplies_in(typed, reader, torch.float16) for reader in readers
    )


def _reads_image(typed: fx.GraphModule, node: fx.Node) -> bool:
    weight = value_of(typed, node.args[1])
    return "depth" not in node.kwargs and reads_image(weight.shape[1], weight.shape[-1])


def _may_move(node: fx.Node) -> bool:
    """Return whether a node is a launch that still writes to a map of its own."""
    return node.target is launch_conv_act and not {"out", "shuffle"} & set(node.kwargs)
