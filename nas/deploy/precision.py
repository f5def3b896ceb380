"""float16 is earned: layers that overflow or lose too much on hostile images compute in float32."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from nas.deploy.plan import Plan, computing, layer_of, outputs
from nas.ops.conv_act import reference as conv_act
from nas.ops.span_attention.reference import parameter_free_attention, span_attention

MIN_DB = 40.0  # of a layer's output against float64, its largest value being the peak
MARGIN_DB = 3.0  # on top in a trial: SPANV2's worst stripes lose up to 2.3 dB more at another size
# The largest values of a trial stay so many times under float16's: a larger image of noise reaches
# further than a small one.
HEADROOM = 4.0
LARGEST = torch.finfo(torch.float16).max
# In float64 no fused operator has a kernel, and each would warn of that.
PLAIN = {
    torch.ops.nas.conv_act.default: conv_act,
    torch.ops.nas.span_attention.default: span_attention,
    torch.ops.nas.parameter_free_attention.default: parameter_free_attention,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a layer does not compute in float16, and on which image that showed."""

    layer: str
    image: str
    reason: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.reason} on {self.image}"


def earn_float16(
    graph: fx.GraphModule, images: Mapping[str, Tensor]
) -> tuple[dict[str, torch.dtype], list[Fault]]:
    """Choose the precision of every layer of a traced network.

    All layers start in float16. A layer goes to float32 where its output is not finite, or where
    that or what it reads comes within `HEADROOM` of float16's largest value. Where an output falls
    under `MIN_DB` and `MARGIN_DB` to float64, the layer goes whose rounding alone costs most there:
    itself or one above it.

    The promise covers what was tried: with the precisions given, no layer falls short on any of
    these images, except one that falls short in float32 throughout too. Every operator is tried by
    itself, before they are merged into launches. Headroom and margin are meant for other sizes,
    phases and mixtures of the images, which are not proven; an image of another kind may still fall
    under 40 dB, or overflow where activations grow without bound.

    Args:
        graph: from `plan.trace`, on the device on which it will run.
        images: by name, (N, 3, H, W); the most hostile first is fastest.
    Returns:
        The precisions by the name of the node, for `Plan`; one fault for each layer in float32, in
        the order of the layers.
    Raises:
        ValueError: no layer is left in float16.
    """
    trial = _Trial(graph, images)
    waiting, passed = deque(images), list[str]()
    while waiting:
        name = waiting.popleft()
        # A layer in float32 gives the layers below it other inputs: earlier images are tried again.
        if trial.lift_for(name):
            waiting.extend(passed)
            passed.clear()
        passed.append(name)

    return trial.dtypes, [trial.faults[name] for name in trial.dtypes if name in trial.faults]


class _Trial:
    """A traced network on some images.

    A node's output depends on its precision and on that of the nodes above it alone: where these
    did not change, it is not computed again.

    Attributes:
        dtypes: the precision of each computing node, by its name.
        faults: why nodes are in float32, by name.
        judges: for each image the judge that compares with float64.
    """

    def __init__(self, graph: fx.GraphModule, images: Mapping[str, Tensor]) -> None:
        nodes = computing(graph)
        device = next(graph.parameters()).device
        self.graph = graph
        self.dtypes = {node.name: torch.float16 for node in nodes}
        self.faults: dict[str, Fault] = {}
        self.images = {name: image.to(device) for name, image in images.items()}

        exact = Plan(graph, {node.name: torch.float64 for node in nodes}).graph_module
        for node in exact.graph.nodes:
            node.target = PLAIN.get(node.target, node.target)
        self.judges: dict[str, _Judge] = {}
        for name, image in self.images.items():
            # Kept as float32, whose rounding is far below what is judged, for half the memory.
            values = {node: value.float() for node, value in outputs(exact, image.double()).items()}
            self.judges[name] = _Judge(graph, values)

    def lift_for(self, name: str) -> bool:
        """Lift layers to float32 until none falls short on an image; return whether any was.

        Raises:
            ValueError: no layer is left in float16.
        """
        # Each round lifts a layer or excuses a node, so it ends.
        image, judge = self.images[name], self.judges[name]
        kept: dict[str, Tensor] = {}
        before = len(self.faults)
        while True:
            try:
                outputs(Plan(self.graph, self.dtypes).graph_module, image, kept=kept, judge=judge)
                return len(self.faults) > before
            except _ShortError as error:
                short = error

            # Only what lies below a lifted layer is computed again.
            culprits = self._find_culprits(short, name)
            if not culprits:  # float32 does no better
                judge.excused.add(short.node.name)
            for culprit in culprits:
                self._lift_layer(culprit, short, name)
                for node in self._find_readers(culprit):
                    kept.pop(node.name, None)
            if torch.float16 not in self.dtypes.values():
                first = next(self.faults[node] for node in self.dtypes)
                raise ValueError(
                    f"precision=fp16 is refused, no layer stands it ({first}); use tf32"
                )

    def _lift_layer(self, culprit: fx.Node, short: "_ShortError", image: str) -> None:
        """Compute a layer in float32 from here, and note why."""
        reason = short.reason
        if culprit is not short.node:
            reason = f"{layer_of(short.node)}, which it feeds: {short.reason}"
        self.dtypes[culprit.name] = torch.float32
        self.faults[culprit.name] = Fault(layer=layer_of(culprit), image=image, reason=reason)

    def _find_culprits(self, short: "_ShortError", name: str) -> list[fx.Node]:
        """Return the layers in float16 to lift; empty: there is none at or above the node."""
        if short.is_range:
            return self._find_nearest_halves(short.node)
        # Digits are lost step by step, so the layer that alone costs most goes, wherever it is.
        above = [node for node in self._list_halves() if short.node in self._find_readers(node)]
        errors = self.judges[name].alone
        for node in above:
            if node.name not in errors:
                errors[node.name] = self._measure_errors(node, name)
        return sorted(above, key=lambda node: errors[node.name].get(short.node.name, math.inf))[-1:]

    def _list_halves(self) -> list[fx.Node]:
        """Return the nodes that compute in float16."""
        return [node for node in computing(self.graph) if self.dtypes[node.name] == torch.float16]

    def _find_nearest_halves(self, node: fx.Node) -> list[fx.Node]:
        """Return the node itself where it is in float16, else the nearest above it that are."""
        if self.dtypes.get(node.name) == torch.float16:
            return [node]
        above = [half for arg in node.all_input_nodes for half in self._find_nearest_halves(arg)]
        return list(dict.fromkeys(above))

    def _find_readers(self, node: fx.Node) -> set[fx.Node]:
        """Return a node and all that reads it, directly or not."""
        # Nodes lie in the order in which they run, so one pass finds them all.
        below = {node}
        for other in self.graph.graph.nodes:
            if not below.isdisjoint(other.all_input_nodes):
                below.add(other)
        return below

    def _measure_errors(self, node: fx.Node, name: str) -> dict[str, float]:
        """Return the squared error at every node below one that computes in float16 alone."""
        # Everything else stays as it is in float64, so the error is this node's rounding alone.
        below = {other.name for other in self._find_readers(node)}
        exact = self.judges[name].exact
        kept = {other: value for other, value in exact.items() if other not in below}
        alone = Plan(self.graph, {node.name: torch.float16}).graph_module
        values = outputs(alone, self.images[name], kept=kept)
        return {
            other: _squared_error(values[other], exact[other]) for other in below & values.keys()
        }


class _ShortError(Exception):
    """A node's output falls short: of range, or of digits."""

    def __init__(self, node: fx.Node, reason: str, *, is_range: bool) -> None:
        super().__init__(reason)
        self.node, self.reason, self.is_range = node, reason, is_range


class _Judge:
    """Compares outputs on one image with float64, and raises for the first that falls short.

    Attributes:
        exact: the outputs in float64, by the name of the node.
        excused: nodes that fall short although all nodes above them compute in float32.
        alone: the errors that a node in float16 alone makes below it, as far as they were asked
            for.
        peaks: the largest absolute value of each exact output.
    """

    def __init__(self, graph: fx.GraphModule, exact: Mapping[str, Tensor]) -> None:
        self.nodes = {node.name: node for node in graph.graph.nodes}
        self.exact = exact
        self.excused: set[str] = set()
        self.alone: dict[str, dict[str, float]] = {}
        self.peaks = {name: value.abs().max().item() for name, value in exact.items()}

    def __call__(self, name: str, value: Tensor) -> None:
        if name in self.excused:
            return

        # Range: of the output, and of the inputs, which a kernel reads in float16 too.
        node, peak = self.nodes[name], self.peaks[name]
        most = max([peak, *(self.peaks.get(arg.name, 0.0) for arg in node.all_input_nodes)])
        error = _squared_error(value, self.exact[name])
        if error == math.inf:
            raise _ShortError(node, f"it overflows (float64 reaches {peak:.3g})", is_range=True)
        if value.dtype == torch.float16 and most > LARGEST / HEADROOM:
            reason = f"{most:.3g} is too near to float16's {LARGEST:g}"
            raise _ShortError(node, reason, is_range=True)

        # Digits: PSNR to float64, with the largest value as the peak.
        if error == 0 or peak == 0:
            return
        db = 10 * math.log10(peak**2 / error)
        if db < MIN_DB + MARGIN_DB:
            reason = f"{db:.1f} dB to float64 are under {MIN_DB:g} and a margin of {MARGIN_DB:g}"
            raise _ShortError(node, reason, is_range=False)


def _squared_error(value: Tensor, exact: Tensor) -> float:
    """Return the mean squared error over all elements; inf: a value is not finite."""
    norm = torch.linalg.vector_norm(value - exact, dtype=torch.float64).item()
    return norm**2 / exact.numel() if math.isfinite(norm) else math.inf
