"""Precision in a merged plan: what converts or rounds a map is no launch of its own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from nas.deploy.launches import hold_value, joined, launched, multiplies_in, uncast, value_of
from nas.ops.conv_act.config import precision_of
from nas.ops.conv_act.rounding import Rounding, round_to_tf32


def convert_inside(typed: fx.GraphModule) -> None:
    """Let each launch read its maps as they are, and write what all its readers would convert to."""
    launches = typed.graph.find_nodes(op="call_function", target=launched)
    for node in launches:
        x, weight, bias, epilogue, skip, *gate = node.args
        skip = uncast(skip) if skip is not None else None
        node.args = (uncast(x), weight, bias, epilogue, skip, *gate)
    typed.graph.eliminate_dead_code()
    for node in launches:
        if all(multiplies_in(typed, reader, torch.float16) for reader in node.users):
            node.kwargs = {**node.kwargs, "dtype": torch.float16}


def round_once(typed: fx.GraphModule) -> None:
    """Fix the precision of each launch; float32 maps are rounded where they are written, not where read."""
    precision = precision_of(torch.float32)
    launches = typed.graph.find_nodes(op="call_function", target=launched)
    rounding = {node: Rounding(x=False, weight=False) for node in launches}
    for node in launches:
        if precision != "tf32" or not multiplies_in(typed, node, torch.float32):
            continue
        _hold_rounded(typed, node)
        if (
            "depth" in node.kwargs
        ):  # what is read is multiplied in float32, what is summed then in TF32
            continue
        sources = _writers(node.args[0])
        rounding[node] = rounding[node]._replace(x=not sources)
        for source in sources:
            rounding[source] = rounding[source]._replace(out=True)
    for node in launches:
        node.kwargs = {**node.kwargs, "precision": precision, "rounding": rounding[node]}


def _writers(value: Any) -> Sequence[fx.Node]:
    """The launches that write all of a map; none: something else writes it."""
    if value.target is joined:
        return list(value.args[1:])
    return [value] if value.target is launched and "shuffle" not in value.kwargs else []


def _hold_rounded(typed: fx.GraphModule, node: fx.Node) -> None:
    """Round the weights of a launch that are operands of its products."""
    operands = list(node.args)
    for place in (1, 5) if node.args[3] == "conv1x1" else (1,):
        with typed.graph.inserting_before(node):
            rounded = round_to_tf32(value_of(typed, operands[place]))
            operands[place] = hold_value(typed, f"{node.name}_rounded{place}", rounded)
    node.args = tuple(operands)
