"""float16 is earned: layers that overflow or lose too much on hostile images compute in float32."""

import functools
import math
from collections.abc import Iterable, Mapping
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
    float64 on one of the images goes to float32, or the nearest in float16 above it, until none falls short.

    Args:
        graph: from `plan.trace`, on the device on which it will run.
        images: by name, (1, 3, H, W).
    Returns:
        The precisions by the name of the node, for `Plan`; one fault for each layer in float32.
    Raises:
        ValueError: no layer is left in float16, or the output falls short although they are.
    """
    trial = _Trial(graph, images)
    faults: list[Fault] = []
    while found := trial.first_fault():
        node, image, reason = found
        culprits = trial.nearest_halves(node)
        if not culprits:  # float32 carries no more
            trial.excused.add(node.name)
            continue
        trial.lift(culprits)
        for culprit in culprits:
            why = reason if culprit is node else f"{layer_of(node)}, which reads it: {reason}"
            faults.append(Fault(layer=layer_of(culprit), image=image, reason=why))
        if torch.float16 not in trial.dtypes.values():
            raise ValueError(f"precision=fp16 is refused, no layer stands it ({faults[0]}); use tf32")
    return trial.dtypes, faults


class _Trial:
    """A traced network on some images, node by node; what stood the trial is not computed again.

    What a node gives depends on its precision and on that of the nodes above it alone.
    """

    def __init__(self, graph: fx.GraphModule, images: Mapping[str, Tensor]) -> None:
        nodes = computing(graph)
        device = next(graph.parameters()).device
        self.graph = graph
        self.dtypes = {node.name: torch.float16 for node in nodes}
        self.images = {name: image.to(device) for name, image in images.items()}
        exact = Plan(graph, {node.name: torch.float64 for node in nodes}).graph_module
        self.exact = {name: outputs(exact, image.double()) for name, image in self.images.items()}
        self.kept: dict[str, dict[str, Tensor]] = {name: {} for name in images}
        self.excused: set[str] = set()  # nodes that fall short although all above them computes in float32

    def first_fault(self) -> tuple[fx.Node, str, str] | None:
        """The first node, in order, that falls short on any image; the image, and the reason."""
        typed = Plan(self.graph, self.dtypes).graph_module
        found: dict[str, tuple[str, str]] = {}
        for name, image in self.images.items():
            judge = functools.partial(self._judge, self.exact[name])
            try:
                outputs(typed, image, kept=self.kept[name], judge=judge)
            except _ShortError as short:
                found.setdefault(short.node, (name, short.reason))
        for node in self.graph.graph.nodes:
            if node.name in found:
                return node, *found[node.name]
        return None

    def _judge(self, exact: Mapping[str, Tensor], name: str, value: Tensor) -> None:
        if name not in self.excused and (reason := _shortfall(value, exact[name])):
            raise _ShortError(name, reason)

    def nearest_halves(self, node: fx.Node) -> list[fx.Node]:
        """The node itself where it computes in float16, else the nearest that do above it."""
        if self.dtypes.get(node.name) == torch.float16:
            return [node]
        above = [half for arg in node.all_input_nodes for half in self.nearest_halves(arg)]
        return list(dict.fromkeys(above))

    def lift(self, culprits: Iterable[fx.Node]) -> None:
        """Let nodes compute in float32; what they and all below them gave is forgotten."""
        below = set(culprits)
        self.dtypes |= {node.name: torch.float32 for node in below}
        for node in self.graph.graph.nodes:
            if any(arg in below for arg in node.all_input_nodes):
                below.add(node)
        for node in below:
            for kept in self.kept.values():
                kept.pop(node.name, None)


class _ShortError(Exception):
    """A node whose output falls short."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(reason)
        self.node, self.reason = node, reason


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


def _bayer(order: int) -> Tensor:
    """The ordered-dither matrix of side 2**order, 0 to 4**order - 1."""
    matrix = torch.zeros(1, 1)
    for _ in range(order):
        matrix = torch.cat(
            [torch.cat([4 * matrix, 4 * matrix + 2], 1), torch.cat([4 * matrix + 3, 4 * matrix + 1], 1)]
        )
    return matrix
