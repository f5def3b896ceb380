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
HEADROOM = 4.0  # largest values of a trial stay so many times under float16's: larger noise reaches further
LARGEST = torch.finfo(torch.float16).max
PLAIN = {  # in float64 no operator has a kernel, which is not worth a warning
    torch.ops.nas.conv_act.default: conv_act,
    torch.ops.nas.span_attention.default: span_attention,
    torch.ops.nas.parameter_free_attention.default: parameter_free_attention,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a layer does not compute in float16: on which image, and what was found there."""

    layer: str
    image: str
    reason: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.reason} on {self.image}"


def earn_float16(
    graph: fx.GraphModule, images: Mapping[str, Tensor]
) -> tuple[dict[str, torch.dtype], list[Fault]]:
    """Choose the precision of every layer of a traced network.

    All start in float16. Where the output of a layer is not finite, or it or what it reads comes within
    `HEADROOM` of float16's largest value, the layer goes to float32. Where an output falls under `MIN_DB`
    and `MARGIN_DB` to float64, the layer goes whose rounding alone costs most there: itself or one above it.

    Promised is what was tried: with the precisions given, no layer falls short on any of these images, save
    one that float32 throughout does not carry either. Tried is every operator by itself, before they are
    merged into launches. Other sizes, phases and mixtures of the images are what headroom and margin are for,
    and are not proven; an image of another kind may still fall under 40 dB, or overflow where activations
    grow without bound.

    Args:
        graph: from `plan.trace`, on the device on which it will run.
        images: by name, (N, 3, H, W); the most hostile first is fastest.
    Returns:
        The precisions by the name of the node, for `Plan`; one fault for each layer in float32, in the order
        of the layers.
    Raises:
        ValueError: no layer is left in float16.
    """
    trial = _Trial(graph, images)
    waiting, stood = deque(images), list[str]()
    while waiting:
        name = waiting.popleft()
        if trial.lift_for(
            name
        ):  # others have to stand it again: what they read is another rounding
            waiting.extend(stood)
            stood.clear()
        stood.append(name)
    return trial.dtypes, [trial.faults[name] for name in trial.dtypes if name in trial.faults]


class _Trial:
    """A traced network on some images.

    What a node gives depends on its precision and on that of the nodes above it alone: what stood is not
    computed again.
    """

    def __init__(self, graph: fx.GraphModule, images: Mapping[str, Tensor]) -> None:
        nodes = computing(graph)
        device = next(graph.parameters()).device
        self.graph = graph
        self.dtypes = {node.name: torch.float16 for node in nodes}
        self.faults: dict[str, Fault] = {}  # by the name of the node
        self.images = {name: image.to(device) for name, image in images.items()}
        exact = Plan(graph, {node.name: torch.float64 for node in nodes}).graph_module
        for node in exact.graph.nodes:
            node.target = PLAIN.get(node.target, node.target)
        self.judges: dict[str, _Judge] = {}
        for name, image in self.images.items():
            found = outputs(exact, image.double())
            self.judges[name] = _Judge(
                graph, {node: value.float() for node, value in found.items()}
            )

    def lift_for(self, name: str) -> bool:
        """Lift layers to float32 until none falls short on an image; whether any was.

        Raises:
            ValueError: no layer is left in float16.
        """
        image, judge = self.images[name], self.judges[name]
        kept: dict[str, Tensor] = {}
        before = len(self.faults)
        while True:
            try:
                outputs(Plan(self.graph, self.dtypes).graph_module, image, kept=kept, judge=judge)
                return len(self.faults) > before
            except _ShortError as error:
                short = error
            culprits = self._culprits(short, name)
            if not culprits:  # float32 carries no more
                judge.excused.add(short.node.name)
            for culprit in culprits:
                self.dtypes[culprit.name] = torch.float32
                here = culprit is short.node
                reason = (
                    short.reason
                    if here
                    else f"{layer_of(short.node)}, which it feeds: {short.reason}"
                )
                self.faults[culprit.name] = Fault(
                    layer=layer_of(culprit), image=name, reason=reason
                )
                for node in self._below(culprit):
                    kept.pop(node.name, None)
            if torch.float16 not in self.dtypes.values():
                first = next(self.faults[node] for node in self.dtypes)
                raise ValueError(
                    f"precision=fp16 is refused, no layer stands it ({first}); use tf32"
                )

    def _culprits(self, short: "_ShortError", name: str) -> list[fx.Node]:
        """Which of the layers in float16 to lift; empty: there is none at or above the node."""
        if short.is_range:
            return self._nearest_halves(short.node)
        above = [node for node in self._halves() if short.node in self._below(node)]
        errors = self.judges[name].alone
        for node in above:
            if node.name not in errors:
                errors[node.name] = self._errors_of(node, name)
        return sorted(above, key=lambda node: errors[node.name].get(short.node.name, math.inf))[-1:]

    def _halves(self) -> list[fx.Node]:
        return [node for node in computing(self.graph) if self.dtypes[node.name] == torch.float16]

    def _nearest_halves(self, node: fx.Node) -> list[fx.Node]:
        """The node itself where it computes in float16, else the nearest that do above it."""
        if self.dtypes.get(node.name) == torch.float16:
            return [node]
        above = [half for arg in node.all_input_nodes for half in self._nearest_halves(arg)]
        return list(dict.fromkeys(above))

    def _below(self, node: fx.Node) -> set[fx.Node]:
        """A node and all that reads it, directly or not."""
        below = {node}
        for other in self.graph.graph.nodes:
            if not below.isdisjoint(other.all_input_nodes):
                below.add(other)
        return below

    def _errors_of(self, node: fx.Node, name: str) -> dict[str, float]:
        """The squared error at every node below one that computes in float16 alone."""
        below = {other.name for other in self._below(node)}
        exact = self.judges[name].exact
        kept = {other: value for other, value in exact.items() if other not in below}
        alone = Plan(self.graph, {node.name: torch.float16}).graph_module
        found = outputs(alone, self.images[name], kept=kept)
        return {other: _squared_error(found[other], exact[other]) for other in below & found.keys()}


class _ShortError(Exception):
    """A node whose output falls short: of range, or of digits."""

    def __init__(self, node: fx.Node, reason: str, *, is_range: bool) -> None:
        super().__init__(reason)
        self.node, self.reason, self.is_range = node, reason, is_range


class _Judge:
    """Compares what nodes give on one image with float64, and raises for the first that falls short.

    Attributes:
        exact: what float64 gave, by the name of the node.
        excused: nodes that fall short although all above them computes in float32.
        alone: the errors that a node in float16 alone makes below it, as far as they were asked for.
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
        node, peak = self.nodes[name], self.peaks[name]
        most = max([peak, *(self.peaks.get(arg.name, 0.0) for arg in node.all_input_nodes)])
        error = _squared_error(value, self.exact[name])
        if error == math.inf:
            raise _ShortError(node, f"it overflows (float64 reaches {peak:.3g})", is_range=True)
        if value.dtype == torch.float16 and most > LARGEST / HEADROOM:
            raise _ShortError(
                node, f"{most:.3g} is too near to float16's {LARGEST:g}", is_range=True
            )
        if error == 0 or peak == 0:
            return
        db = 10 * math.log10(peak**2 / error)
        if db < MIN_DB + MARGIN_DB:
            reason = f"{db:.1f} dB to float64 are under {MIN_DB:g} and a margin of {MARGIN_DB:g}"
            raise _ShortError(node, reason, is_range=False)


def _squared_error(value: Tensor, exact: Tensor) -> float:
    """The mean over all elements; inf: a value is not finite."""
    norm = torch.linalg.vector_norm(value - exact, dtype=torch.float64).item()
    return norm**2 / exact.numel() if math.isfinite(norm) else math.inf
