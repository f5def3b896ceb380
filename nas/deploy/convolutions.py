"""Convolutions of a plan as conv_act's kernel serves them: dense, merged in pairs, launched."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from nas.deploy.launches import hold_value, launch_conv_act, uncast, value_of
from nas.ops.conv_act.config import reads_image
from nas.ops.conv_act.op import backend_of

aten = torch.ops.aten
CONV_ACT = torch.ops.nas.conv_act.default


def densify_image_convolutions(typed: fx.GraphModule, device: torch.device) -> None:
    """Turn a grouped convolution of the image, the near-pixel branch, into a dense one.

    The kernel forms all taps of three channels in one product: zeros between groups cost nothing.
    """
    for node in typed.graph.find_nodes(op="call_function", target=aten.conv2d.default):
        weight = value_of(typed, node.args[1])
        count, _, size, _ = weight.shape
        groups = _count_groups(node)
        in_channels = weight.shape[1] * groups
        if groups == 1 or not reads_image(in_channels, size):
            continue
        # Where the kernel does not serve the dense form, the grouped one is faster.
        if not _keeps_size(node, weight) or not _has_kernel(device, weight, "none"):
            continue

        # Each group's rows get their own columns; the others stay zero.
        dense = weight.new_zeros(count, in_channels, size, size)
        for i, rows in enumerate(torch.arange(count).chunk(groups)):
            dense[rows, i * weight.shape[1] : (i + 1) * weight.shape[1]] = weight[rows]
        _replace_weight(typed, node, node.args[0], dense, _find_bias(typed, node))


def merge_separable(typed: fx.GraphModule, device: torch.device) -> None:
    """Merge each depthwise convolution and the 1x1 convolution after it into one launch."""
    for last in typed.graph.find_nodes(op="call_function", target=CONV_ACT):
        # Only a depthwise convolution that nobody else reads can go inside.
        first = uncast(last.args[0])
        weight = value_of(typed, last.args[1])
        if first.target != aten.conv2d.default or len(first.users) > 1 or weight.shape[-1] != 1:
            continue
        depth = value_of(typed, first.args[1])
        if _count_groups(first) != depth.shape[0] or depth.shape[1] != 1:
            continue
        if not _keeps_size(first, depth):
            continue

        # A pair of two precisions computes in the higher one.
        dtype = torch.promote_types(depth.dtype, weight.dtype)
        image = reads_image(depth.shape[0], depth.shape[-1])
        inside = None if image else depth
        if not _has_kernel(device, weight.to(dtype), str(last.args[3]), depth=inside):
            continue
        _merge_pair(typed, first, last, dtype, is_image=image)


def _merge_pair(
    typed: fx.GraphModule,
    first: fx.Node,
    last: fx.Node,
    dtype: torch.dtype,
    *,
    is_image: bool,
) -> None:
    """Turn pw(dw(x)) into one launch; of an image into one dense conv_act.

    Args:
        first: the depthwise convolution.
        last: the 1x1 convolution.
        dtype: in which both compute from here.
    """
    depth, weight = value_of(typed, first.args[1]), value_of(typed, last.args[1])
    bias = _sum_biases(typed, first, last, dtype)
    source = first.args[0]
    if dtype != depth.dtype:
        with typed.graph.inserting_before(last):
            source = typed.graph.call_function(aten.to.dtype, (source, dtype))

    # The taps of an image are one product: (C, Cin, 1, 1) * (1, Cin, k, k) -> (C, Cin, k, k).
    if is_image:
        weight = weight.double() * depth.double().permute(1, 0, 2, 3)
    _replace_weight(
        typed, last, source, weight.to(dtype), bias, epilogue=last.args[3], rest=last.args[4:]
    )

    # The kernel takes the depthwise taps as (k, k, C), float32 in every precision.
    if not is_image:
        with typed.graph.inserting_before(last):
            taps = depth[:, 0].float().permute(1, 2, 0).contiguous()
            held = hold_value(typed, f"{last.name}_depth", taps)
        last.target, last.kwargs = launch_conv_act, {"depth": held}


def _sum_biases(
    typed: fx.GraphModule, first: fx.Node, last: fx.Node, dtype: torch.dtype
) -> Tensor | None:
    """Return the bias of a 1x1 convolution that also carries that of the convolution before it."""
    weight = value_of(typed, last.args[1])
    bias, inner = _find_bias(typed, last), _find_bias(typed, first)
    if inner is None:
        return bias
    # In float64: the sum is formed once, and every output rests on it.
    moved = weight.double()[:, :, 0, 0] @ inner.double()
    return (moved if bias is None else moved + bias.double()).to(dtype)


def launch_served(typed: fx.GraphModule, device: torch.device) -> None:
    """Turn each conv_act that the kernel serves into a launch of it."""
    for node in typed.graph.find_nodes(op="call_function", target=CONV_ACT):
        if _has_kernel(device, value_of(typed, node.args[1]), str(node.args[3])):
            node.target = launch_conv_act
            _pack_weight(typed, node)


def _replace_weight(
    typed: fx.GraphModule,
    node: fx.Node,
    source: Any,
    weight: Tensor,
    bias: Tensor | None,
    *,
    epilogue: Any = "none",
    rest: Sequence[Any] = (None, None, None),
) -> None:
    """Turn a node into a conv_act of another input, weight and bias.

    Args:
        rest: the skip and the gate of that conv_act.
    """
    with typed.graph.inserting_before(node):
        # Packed once, when the plan is made, instead of in every run.
        packed = weight.contiguous(memory_format=torch.channels_last)
        held = hold_value(typed, f"{node.name}_weight", packed)
        held_bias = hold_value(typed, f"{node.name}_bias", bias) if bias is not None else None
    # The node stays in its place, so everything that reads it still does.
    node.target = CONV_ACT
    node.args = (source, held, held_bias, epilogue, *rest)
    node.kwargs = {}


def _has_kernel(
    device: torch.device, weight: Tensor, epilogue: str, *, depth: Tensor | None = None
) -> bool:
    """Return whether the kernel serves a weight.

    Args:
        depth: the weight of a depthwise convolution before it, in the same launch.
    """
    # Asked with the very sizes in which it would run.
    channels, in_channels, kernel, _ = weight.shape
    case = (device, channels, weight.dtype, epilogue, in_channels)
    if depth is not None:
        return backend_of(*case, depth.shape[-1], separable=True) == "triton"
    return backend_of(*case, kernel) == "triton"


def _pack_weight(typed: fx.GraphModule, node: fx.Node) -> None:
    """Hold the weight of a launch in channels_last, as the kernel reads it."""
    weight = value_of(typed, node.args[1])
    if not weight.is_contiguous(memory_format=torch.channels_last):
        with typed.graph.inserting_before(node):
            packed = weight.contiguous(memory_format=torch.channels_last)
            held = hold_value(typed, f"{node.name}_packed", packed)
        node.args = (node.args[0], held, *node.args[2:])


def _keeps_size(node: fx.Node, weight: Tensor) -> bool:
    """Return whether a convolution keeps height and width.

    That is where it is odd, square, of stride and dilation one, and padded by half of its size.
    """
    size = weight.shape[-1]
    defaults = ([1, 1], [0, 0], [1, 1])  # stride, padding, dilation
    given = (*node.args[3:6], *defaults[len(node.args[3:6]) :])
    keeping = ([1, 1], [size // 2] * 2, [1, 1])
    return weight.shape[-2] == size and size % 2 == 1 and given == keeping


def _count_groups(node: fx.Node) -> int:
    return int(node.args[6]) if len(node.args) > 6 else 1  # type: ignore[arg-type]


def _find_bias(typed: fx.GraphModule, node: fx.Node) -> Tensor | None:
    bias = node.args[2] if len(node.args) > 2 else None
    return value_of(typed, bias) if bias is not None else None
