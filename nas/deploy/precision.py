"""float16 is earned: layers that overflow or lose too much on hostile images compute in float32."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from nas.deploy.plan import Plan, computing, layer_of, outputs

MIN_DB = 40.0  # of a layer's output against float64, its largest value being the peak
TRIAL_SIZE = (61, 75)  # odd, so that borders and ragged tiles are part of the trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a layer does not compute in float16: on which image, and what was found there."""

    layer: str
    image: str
    reason: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.reason} on {self.image}"


def hostile_images(height: int = TRIAL_SIZE[0], width: int = TRIAL_SIZE[1]) -> dict[str, Tensor]:
    """Images that drive networks further than photographs do, each (1, 3, H, W) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ramp = columns / max(1, width - 1)
    thresholds = (_bayer(3)[rows % 8, columns % 8] + 0.5) / 64
    grey = {
        "checkerboard": (rows + columns) % 2,
        "dithered": ramp > thresholds,
        "stripes": columns % 2,
        "flat": torch.ones(height, width),
    }
    images = {name: plane.float().expand(1, 3, height, width) for name, plane in grey.items()}
    noise = torch.randint(0, 2, (1, 3, height, width), generator=generator).float()
    return {"noise": noise, **images}


def earn_float16(
    graph: fx.GraphModule, images: Mapping[str, Tensor]
) -> tuple[dict[str, torch.dtype], list[Fault]]:
    """Choose the precision of every layer of a traced network.

    All start in float16. The first layer, in order, whose output is not finite or falls under 40 dB to
    float64 on one of the images goes to float32, then the trial starts again.

    Args:
        graph: from `plan.trace`, on the device on which it will run.
        images: by name, (1, 3, H, W).
    Returns:
        The precisions by the name of the node, for `Plan`; one fault for each layer in float32.
    Raises:
        ValueError: no layer is left in float16, or the output falls short although they are.
    """
    nodes = {node.name: node for node in computing(graph)}
    dtypes = dict.fromkeys(nodes, torch.float16)
    exact = Plan(graph, dict.fromkeys(nodes, torch.float64)).graph_module
    device = next(graph.parameters()).device
    on_device = {name: image.to(device) for name, image in images.items()}
    wanted = {name: outputs(exact, image.double()) for name, image in on_device.items()}
    faults: list[Fault] = []
    while found := _first_fault(Plan(graph, dtypes).graph_module, on_device, wanted, graph):
        node, fault = found
        culprits = [name for name in _sources(node, set(nodes)) if dtypes[name] == torch.float16]
        if not culprits:  # what it reads is at fault
            culprits = [name for name in nodes if dtypes[name] == torch.float16][:1]
        dtypes |= dict.fromkeys(culprits, torch.float32)
        faults.append(fault)
        if torch.float16 not in dtypes.values():
            raise ValueError(f"precision=fp16 is refused, no layer stands it ({faults[0]}); use tf32")
    return dtypes, faults


def _first_fault(
    typed: fx.GraphModule,
    images: Mapping[str, Tensor],
    wanted: Mapping[str, Mapping[str, Tensor]],
    graph: fx.GraphModule,
) -> tuple[fx.Node, Fault] | None:
    """The first node, in order, that falls short on any image."""
    found = {name: outputs(typed, image) for name, image in images.items()}
    for node in graph.graph.nodes:
        for name in images:
            if node.name in wanted[name] and (
                reason := _shortfall(found[name][node.name], wanted[name][node.name])
            ):
                return node, Fault(layer=layer_of(node), image=name, reason=reason)
    return None


def _shortfall(value: Tensor, exact: Tensor) -> str:
    """What is wrong with a value, in words; empty: nothing."""
    if not value.isfinite().all():
        return f"it overflows (float64 reaches {exact.abs().max().item():.3g})"
    peak = exact.abs().max().item()
    error = (value.double() - exact).square().mean().item()
    if error == 0 or peak == 0:
        return ""
    db = 10 * math.log10(peak**2 / error)
    return f"{db:.1f} dB to float64 are under {MIN_DB:g}" if db < MIN_DB else ""


def _sources(node: fx.Node, computing_names: set[str]) -> list[str]:
    """The node itself where it computes, else the computing nodes next above it."""
    if node.name in computing_names:
        return [node.name]
    return [name for arg in node.all_input_nodes for name in _sources(arg, computing_names)]


def _bayer(order: int) -> Tensor:
    """The ordered-dither matrix of side 2**order, 0 to 4**order - 1."""
    matrix = torch.zeros(1, 1)
    for _ in range(order):
        matrix = torch.cat(
            [torch.cat([4 * matrix, 4 * matrix + 2], 1), torch.cat([4 * matrix + 3, 4 * matrix + 1], 1)]
        )
    return matrix
