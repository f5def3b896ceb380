"""A network as one flat list of operators, each with the precision in which it computes."""

import copy
import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from nas.deploy.launches import launched, value_of
from nas.deploy.merge import merge
from nas.ops.products import products
from search_spaces.network import Network

aten = torch.ops.aten
EXAMPLE = (2, 3, 20, 24)  # traced at this size, valid for any: batch, height and width are symbols
CONVOLUTIONS = (aten.conv2d.default, aten.convolution.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operator of a plan: the module it comes from, its name, its precision, whether it is fused."""

    layer: str
    operator: str
    dtype: str
    fused: bool


class Plan(nn.Module):
    """The operators of a network in order, without modules and without Python decisions in between.

    A precision belongs to a convolution or a fused operator; what lies between two of them follows by
    PyTorch's promotion. Weights are held in the precision of their operator.

    Args:
        graph: from `trace`; it is copied, its weights are not changed.
        dtypes: by the name of a node of `computing(graph)`; others keep float32.
        merged_for: the device whose kernels take in what lies around a convolution; None: nothing is moved.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        dtypes: Mapping[str, torch.dtype],
        *,
        merged_for: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.graph_module = _typed(graph, dtypes)
        if merged_for is not None:
            merge(self.graph_module, merged_for)
            _launch_late(self.graph_module)
        nodes = self.graph_module.graph.nodes
        self.steps = [_step(self.graph_module, node) for node in nodes if _has_tensor(node)]

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32, not checked -> (N, 3, sH, sW) float32, contiguous."""
        out: Tensor = self.graph_module(image)
        return (
            out.contiguous()
        )  # of channels_last features a shuffle that is not merged makes no NCHW


class TraceError(ValueError):
    """A network is no fixed list of operators."""


def trace(network: Network | nn.Module) -> fx.GraphModule:
    """Trace a network in inference form; valid for any batch, height and width.

    Raises:
        ValueError: its weights are not float32.
        TraceError: its operators depend on the values or the size of the image.
    """
    _check_float32(network)
    device = next(network.parameters()).device
    axes = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    try:
        with (
            torch.no_grad(),
            warnings.catch_warnings(),
            products("ieee"),
        ):  # torch.export reads switches
            warnings.simplefilter("ignore")  # torch.export's own deprecations
            exported = torch.export.export(
                network.eval(), (torch.zeros(EXAMPLE, device=device),), dynamic_shapes=(axes,)
            )
            found = exported.module()
    except (RuntimeError, torch._dynamo.exc.UserError) as error:
        first = str(error).strip().splitlines()[0]
        raise TraceError(f"the network cannot be traced: {first}") from None
    for node in found.graph.find_nodes(
        op="call_module"
    ):  # checks that the sizes are those of the trace
        found.graph.erase_node(node)
    (last,) = found.graph.find_nodes(op="output")
    last.args = (last.args[0][0],)
    found.graph.set_codegen(fx.graph.CodeGen())  # a tensor in, a tensor out
    return fx.GraphModule(found, found.graph)  # afresh: only what the graph refers to


def computing(graph: fx.GraphModule) -> list[fx.Node]:
    """The nodes that have a precision of their own: convolutions and fused operators."""
    return [node for node in graph.graph.nodes if _computes(node)]


def layer_of(node: fx.Node) -> str:
    """The module that a node comes from, such as blocks.1.conv1."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed(list(stack.values())), ("",))[0]
    return str(path) or "network"


def outputs(
    graph: fx.GraphModule,
    image: Tensor,
    *,
    kept: dict[str, Tensor] | None = None,
    judge: Callable[[str, Tensor], None] = lambda name, value: None,
) -> dict[str, Tensor]:
    """Run a graph and keep what each of its operators gives, by the node's name.

    Args:
        kept: of a run before: these are not computed again; what is computed is added to it.
        judge: sees each new value before it is kept; may raise to end the run.
    """
    values: dict[str, Tensor] = {} if kept is None else kept
    known = {node: values[node.name].clone() for node in graph.graph.nodes if node.name in values}

    class Keeping(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if _has_tensor(n):
                judge(n.name, result)
                values[n.name] = result.detach().clone()  # activations may overwrite it
            return result

    with torch.no_grad():
        Keeping(graph).run(image, initial_env=known)
    return values


def _check_float32(network: nn.Module) -> None:
    """Refuse a network of another precision: the plan chooses it, layer by layer.

    Raises:
        ValueError: it names the first weight or buffer that is not float32.
    """
    for name, value in network.state_dict().items():
        if value.is_floating_point() and value.dtype != torch.float32:
            dtype = str(value.dtype).removeprefix("torch.")
            raise ValueError(f"the network must be float32, {name} is {dtype}; use network.float()")


def _computes(node: fx.Node) -> bool:
    return node.op == "call_function" and (node.target in CONVOLUTIONS or _is_fused(node))


def _is_fused(node: fx.Node) -> bool:
    return node.target is launched or str(node.target).startswith("nas.")


def _has_tensor(node: fx.Node) -> bool:
    return node.op == "call_function" and isinstance(node.meta.get("val"), Tensor)


def _step(typed: fx.GraphModule, node: fx.Node) -> Step:
    weight: Tensor | None = None
    if _computes(node):
        weight = value_of(typed, node.args[1])
    return Step(
        layer=layer_of(node),
        operator="nas.conv_act"
        if node.target is launched
        else str(node.target).removesuffix(".default"),
        dtype=str(weight.dtype).removeprefix("torch.") if weight is not None else "",
        fused=_is_fused(node),
    )


def _typed(graph: fx.GraphModule, dtypes: Mapping[str, torch.dtype]) -> fx.GraphModule:
    """A copy in which each computing node gets its operands, weights too, in its own precision."""
    typed = copy.deepcopy(graph)
    held: dict[fx.Node, torch.dtype] = {}  # the precision of each feature map
    for node in list(typed.graph.nodes):
        maps = [arg for arg in node.all_input_nodes if arg in held]
        if node.op == "placeholder":
            held[node] = torch.float32
        elif _computes(node):
            held[node] = dtypes.get(node.name, torch.float32)
            _cast_operands(typed, node, held, held[node])
        elif _has_tensor(node):
            known = [held[arg] for arg in maps] or [node.meta["val"].dtype]
            held[node] = functools.reduce(torch.promote_types, known)
        elif node.op == "output":
            _cast_operands(typed, node, held, torch.float32)
    typed.graph.eliminate_dead_code()
    typed.recompile()
    return typed


def _launch_late(merged: fx.GraphModule) -> None:
    """Let what reads the image alone run right before its only reader, while its result is in the cache."""
    for node in merged.graph.find_nodes(op="call_function", target=launched):
        source: Any = node.args[0]
        if source.op == "placeholder" and len(node.users) == 1:
            next(iter(node.users)).prepend(node)
    merged.graph.lint()
    merged.recompile()


def _cast_operands(
    graph: fx.GraphModule, node: fx.Node, held: Mapping[fx.Node, torch.dtype], wanted: torch.dtype
) -> None:
    """Bring what a node reads to a precision: weights once and for all, feature maps in every run."""

    def cast(arg: fx.Node) -> fx.Node:
        if arg.op == "get_attr":
            return _weight(graph, arg, wanted)
        if held.get(arg, wanted) == wanted:
            return arg
        return graph.graph.call_function(aten.to.dtype, (arg, wanted))

    with graph.graph.inserting_before(node):
        node.args = fx.map_arg(node.args, cast)
        node.kwargs = fx.map_arg(node.kwargs, cast)


def _weight(graph: fx.GraphModule, node: fx.Node, wanted: torch.dtype) -> fx.Node:
    value = value_of(graph, node)
    if value.dtype == wanted or not value.dtype.is_floating_point:
        return node
    name = f"{str(node.target).replace('.', '_')}_{str(wanted).removeprefix('torch.')}"
    graph.register_buffer(name, value.to(wanted))
    return graph.graph.get_attr(name)
