"""Precision in a merged plan: maps are converted and rounded by the launches themselves."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from nas.deploy.launches import (
    hold_value,
    join_parts,
    launch_conv_act,
    multiplies_in,
    uncast,
    value_of,
)
from nas.ops.conv_act.config import precision_of
from nas.ops.conv_act.rounding import Rounding, round_to_tf32


def convert_inside(typed: fx.GraphModule) -> None:
    """Let each launch read its maps as they are, and write the precision that its readers need."""
    # The kernel converts what it reads, so the conversion before it falls away.
    launches = typed.graph.find_nodes(op="call_function", target=launch_conv_act)
    for node in launches:
        x, weight, bias, epilogue, skip, *gate = node.args
        skip = uncast(skip) if skip is not None else None
        node.args = (uncast(x), weight, bias, epilogue, skip, *gate)

    # Conversions that nobody reads any more would still count as readers.
    typed.graph.eliminate_dead_code()
    for node in launches:
        if all(multiplies_in(typed, reader, torch.float16) for reader in node.users):
            node.kwargs = {**node.kwargs, "dtype": torch.float16}


def round_once(typed: fx.GraphModule) -> None:
    """Fix the precision of each launch, and let float32 maps be rounded where they are written.

    To round a map where it is read would round it once for each of its readers, tile by tile.
    """
    precision = precision_of(torch.float32)
    launches = typed.graph.find_nodes(op="call_function", target=launch_conv_act)
    rounding = {node: Rounding(x=False, weight=False) for node in launches}
    for node in launches:
        if precision != "tf32" or not multiplies_in(typed, node, torch.float32):
            continue
        _hold_rounded(typed, node)
        # The map is multiplied by depthwise taps in float32; only their sums are TF32 operands.
        if "depth" in node.kwargs:
            continue
        sources = _find_writers(node.args[0])
        rounding[node] = rounding[node]._replace(x=not sources)
        for source in sources:
            rounding[source] = rounding[source]._replace(out=True)

    for node in launches:
        node.kwargs = {**node.kwargs, "precision": precision, "rounding": rounding[node]}


def _find_writers(value: Any) -> Sequence[fx.Node]:
    """Return the launches that write all of a map; none: something else writes it."""
    if value.target is join_parts:
        return list(value.args[1:])
    # A shuffled output is an image, which nobody multiplies.
    is_map = value.target is launch_conv_act and "shuffle" not in value.kwargs
    return [value] if is_map else []


def _hold_rounded(typed: fx.GraphModule, node: fx.Node) -> None:
    """Round the weights of a launch that are operands of its products."""
    operands = list(node.args)
    # Place 5 is the gate's weight, which multiplies the map only with this epilogue.
    for place in (1, 5) if node.args[3] == "conv1x1" else (1,):
        with typed.graph.inserting_before(node):
            rounded = round_to_tf32(value_of(typed, operands[place]))
            operands[place] = hold_value(typed, f"{node.name}_rounded{place}", rounded)
    node.args = tuple(operands)
