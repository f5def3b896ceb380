"""The operators of a network, and which of their results a shader has to store as textures."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from nas.deploy.launches import value_of
from nas.deploy.plan import layer_of, trace

SOURCE = "image"
CONVOLUTION = "conv2d"
# Of each value alone: computed where they are read.
POINTWISE = (
    "add", "sub", "mul", "relu", "leaky_relu", "silu", "gelu", "hardswish", "sigmoid", "hardsigmoid",
)  # fmt: skip
# Of channels as they are: nothing is computed.
ROUTING = ("cat", "split", "getitem")
# From a small map to a large one.
ENLARGING = ("pixel_shuffle", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d")


class Graph:
    """A traced network.

    Attributes:
        module: the graph as PyTorch runs it.
        nodes: the operators over maps in the order in which they run, the image first.
        result: the node of the large image.
        stored: the nodes whose values lie in textures: those that are read at other pixels or in
            other groups of channels than where they stand, and the result.
    """

    def __init__(self, net: nn.Module) -> None:
        self.module = trace(net)
        self.nodes = [node for node in self.module.graph.nodes if self.is_map(node)]
        (end,) = self.module.graph.find_nodes(op="output")
        self.result: fx.Node = end.args[0]
        self.stored = self._choose_stored()

    def is_map(self, node: Any) -> bool:
        """Return whether a node is a feature map or the image: no constant, number or size."""
        if not isinstance(node, fx.Node) or node.op == "get_attr":
            return False
        return node.op == "placeholder" or kind_of(node) in (
            CONVOLUTION,
            *POINTWISE,
            *ROUTING,
            *ENLARGING,
        )

    def constant(self, node: fx.Node) -> Tensor:
        """Return the weight or the buffer of a node."""
        return value_of(self.module, node).detach().float()

    def factor(self, node: fx.Node) -> int:
        """Return how often larger than the image a map is."""
        if node.op == "placeholder":
            return 1
        source = next(arg for arg in node.all_input_nodes if self.is_map(arg))
        return self.factor(source) * (enlargement(node) if kind_of(node) in ENLARGING else 1)

    def find_layer(self, node: fx.Node) -> str:
        """Return the layer that a value comes from: of what is not one, the layer before it."""
        while kind_of(node) != CONVOLUTION and any(map(self.is_map, node.all_input_nodes)):
            node = next(arg for arg in node.all_input_nodes if self.is_map(arg))
        return layer_of(node).removeprefix("net.")

    def _choose_stored(self) -> set[fx.Node]:
        readers = (CONVOLUTION, *ROUTING, *ENLARGING)
        stored = {
            node
            for node in self.nodes
            if kind_of(node) not in (SOURCE, *ROUTING)
            and (node is self.result or any(kind_of(user) in readers for user in node.users))
        }

        # A convolution is computed in the pass of its one reader; for two it would run twice, and
        # the textures of two convolutions would not fit one pass.
        busy: set[fx.Node] = set()
        for node in reversed(self.nodes):
            if kind_of(node) != CONVOLUTION:
                continue
            passes = _find_passes(node, stored)
            if node in stored or len(passes) > 1 or not busy.isdisjoint(passes):
                stored.add(node)
                passes = {node}
            busy |= passes
        return stored


def kind_of(node: fx.Node) -> str:
    """Return an operator's name without its overload, such as `silu`; in place or not is one."""
    if node.op == "placeholder":
        return SOURCE
    if not isinstance(node.target, torch._ops.OpOverload):
        return getattr(node.target, "__name__", node.op)
    return node.target._opname.removesuffix("_")


def count_channels(node: fx.Node) -> int:
    """Return the channels of a map."""
    value: Any = node.meta["val"]
    return int(value.shape[1])


def enlargement(node: fx.Node) -> int:
    """Return the factor of an operator that enlarges."""
    factor: Any = node.args[1] if kind_of(node) == "pixel_shuffle" else node.args[-1]
    return int(factor[0] if isinstance(factor, list | tuple) else factor)


def _find_passes(node: fx.Node, stored: set[fx.Node]) -> set[fx.Node]:
    """Return the stored nodes in whose passes a node that is not stored is computed."""
    found: set[fx.Node] = set()
    for user in node.users:
        found |= {user} if user in stored else _find_passes(user, stored)
    return found
