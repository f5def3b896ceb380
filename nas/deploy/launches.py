"""The nodes of a merged plan: launches of conv_act's kernel, slices of wide maps, held weights."""

import operator
from typing import Any

import torch
from torch import Tensor, fx

from nas.ops.conv_act.pixels import empty_map
from nas.ops.conv_act.rounding import ROUND_OPERANDS, Rounding

aten = torch.ops.aten


def launch_conv_act(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None = None,
    gate_weight: Tensor | None = None,
    gate_bias: Tensor | None = None,
    *,
    out: Tensor | None = None,
    dtype: torch.dtype | None = None,
    depth: Tensor | None = None,
    mean: Tensor | None = None,
    shuffle: int = 0,
    precision: str | None = None,
    rounding: Rounding = ROUND_OPERANDS,
) -> Tensor:
    """Launch the kernel of conv_act once, without the operator around it; return `out`.

    Its weights are a plan's and do not change, so that it may start while the launch before it
    ends.

    Args:
        out: a channels_last map or a slice of one to write to; by default a new one, or with
            `shuffle` a contiguous float32 image.
        dtype: of a new map; by default that of the weight.
        depth: weight of a depthwise convolution before this one, in the same launch.
        mean: of the image, which is then normalised as it is read.
        shuffle: factor of the pixel shuffle in which the output is stored; 0: none.
        precision: of float32 products; None: what PyTorch's switches say at the launch.
        rounding: what the launch rounds to TF32 itself.
    """
    from nas.ops.conv_act.triton import launch  # an extra: loaded where it runs

    # An image leaves the network contiguous; every map inside it is channels_last.
    if out is None:
        count, _, height, width = x.shape
        channels = weight.shape[0]
        if shuffle:
            shape = (count, channels // shuffle**2, shuffle * height, shuffle * width)
            out = torch.empty(shape, device=x.device)
        else:
            out = empty_map(x, channels, dtype or weight.dtype)

    launch(
        x, weight, bias, epilogue,
        out=out, skip=skip, gate_weight=gate_weight, gate_bias=gate_bias, depth=depth, mean=mean,
        shuffle=shuffle, precision=precision, rounding=rounding, overlap=True,
    )  # fmt: skip
    return out


def slice_channels(wide: Tensor, first: int, channels: int) -> Tensor:
    """Return some channels of a wide map, as a view."""
    return wide.narrow(1, first, channels)


def join_parts(wide: Tensor, *parts: Tensor) -> Tensor:
    """Return the wide map itself; the parts are arguments so that they are written before."""
    return wide


def value_of(graph: fx.GraphModule, node: Any) -> Tensor:
    """Return the weight or buffer that a node of a graph stands for."""
    value: Tensor = operator.attrgetter(str(node.target))(graph)
    return value.detach()


def hold_value(typed: fx.GraphModule, name: str, value: Tensor) -> fx.Node:
    """Keep a tensor as a buffer of a graph; return the node that stands for it."""
    # A buffer moves and is saved with its graph.
    typed.register_buffer(name, value)
    held: fx.Node = typed.graph.get_attr(name)
    return held


def uncast(node: Any) -> fx.Node:
    """Return what a node is before it is brought to a precision."""
    # A value may be brought to several precisions in a row.
    while node.target == aten.to.dtype:
        node = node.args[0]
    assert isinstance(node, fx.Node)
    return node


def multiplies_in(typed: fx.GraphModule, node: fx.Node, dtype: torch.dtype) -> bool:
    """Return whether a node is a launch whose products are of this precision."""
    return node.target is launch_conv_act and value_of(typed, node.args[1]).dtype == dtype


def writes_float16(typed: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether a launch writes a float16 map: as it was told, or by its weight's dtype."""
    # Only float16 is ever asked for by name: see `convert_inside`.
    return "dtype" in node.kwargs or multiplies_in(typed, node, torch.float16)
