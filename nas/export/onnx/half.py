"""fp16 by casts in the graph, in the layers that stand it on hostile images."""

from torch import nn

from nas.deploy.hostile import hostile_images
from nas.deploy.plan import Plan, TraceError, trace
from nas.deploy.precision import earn_float16


def make_half(network: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    """Return a network whose layers compute in float16 where they stand it.

    Returns:
        A module that takes and gives float32, and what is noted of it, by name.
    Raises:
        ValueError: no layer stands it, or the network cannot be tried.
    """
    try:
        graph = trace(network)
    except TraceError as error:
        raise ValueError(f"onnx: precision=fp16: {error}; use fp32") from None
    dtypes, faults = earn_float16(graph, hostile_images())

    layers = ", ".join(dict.fromkeys(fault.layer for fault in faults)) or "none"
    notes = {"precision": f"fp16 in {len(dtypes) - len(faults)} of {len(dtypes)} layers"}
    return Plan(graph, dtypes).graph_module, notes | {"fp32_layers": layers}
