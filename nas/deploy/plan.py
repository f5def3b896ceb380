"""A network as one flat list of operators, each with the precision in which it computes."""

import copy
import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from nas.deploy.launches import launch_conv_act, value_of
from nas.deploy.merge import merge
from nas.ops.products import products
from search_spaces.network import Network

aten = torch.ops.aten
EXAMPLE = (2, 3, 20, 24)  # traced at this size, valid for any: batch, height and width are symbols
CONVOLUTIONS = (aten.conv2d.default, aten.convolution.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operator of a plan.

    Attributes:
        layer: the module that it comes from, such as blocks.1.conv1.
        operator: its name, such as aten.conv2d or nas.conv_act.
        dtype: the precision in which it computes; empty: that of its inputs.
        fused: whether it is one of our fused operators.
    """

    layer: str
    operator: str
    dtype: str
    fused: bool


class Plan(nn.Module):
    """The operators of a network in order, without modules and without Python decisions in between.

    A precision belongs to a convolution or a fused operator; what lies between two of them follows
    by PyTorch's promotion. Weights are held in the precision of their operator.

    Args:
        graph: from `trace`; it is copied, its weights are not changed.
        dtypes: by the name of a node of `computing(graph)`; others keep float32.
        merged_for: the device whose kernels take in what lies around a convolution; None: nothing
            is moved.
    Attributes:
        steps: the operators in the order in which they run.

    Example:
        >>> from search_spaces import build, published
        >>> plan = Plan(trace(build(published("span"))), {})
        >>> plan.steps[-1].operator, plan(torch.rand(1, 3, 8, 9)).shape
        ('aten.pixel_shuffle', torch.Size([1, 3, 32, 36]))
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        dtypes: Mapping[str, torch.dtype],
        *,
        merged_for: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.graph_module = _assign_precisions(graph, dtypes)
        if merged_for is not None:
            merge(self.graph_module, merged_for)
            _delay_image_readers(self.graph_module)

        # Read off the final graph: merging changes which operators there are.
        nodes = self.graph_module.graph.nodes
        self.steps = [
            _describe_step(self.graph_module, node) for node in nodes if _has_tensor(node)
        ]

    def forward(self, image: Tensor) -> Tensor:
        """Run the network: (N, 3, H, W) float32, not checked -> (N, 3, sH, sW) float32, NCHW."""
        out: Tensor = self.graph_module(image)
        return out.contiguous()  # a shuffle that is not merged leaves channels_last features so


class TraceError(ValueError):
    """A network is no fixed list of operators."""


def trace(network: Network | nn.Module) -> fx.GraphModule:
    """Return the graph of a network in inference form, valid for any batch, height and width.

    Raises:
        ValueError: its weights are not float32.
        TraceError: its operators depend on the values or the size of the image.
    """
    _check_float32(network)
    device = next(network.parameters()).device

    # Batch, height and width stay symbols; the channels of an image are three.
    axes = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    try:
        # torch.export reads the switches of products, and warns of deprecations of its own.
        with torch.no_grad(), warnings.catch_warnings(), products("ieee"):
            warnings.simplefilter("ignore")
            exported = torch.export.export(
                network.eval(), (torch.zeros(EXAMPLE, device=device),), dynamic_shapes=(axes,)
            )
            module = exported.module()
    except (RuntimeError, torch._dynamo.exc.UserError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise TraceError(f"the network cannot be traced: {first_line}") from None

    # Calls of submodules only check that sizes fit the trace, which holds for any.
    for node in module.graph.find_nodes(op="call_module"):
        module.graph.erase_node(node)
    (last,) = module.graph.find_nodes(op="output")
    last.args = (last.args[0][0],)
    module.graph.set_codegen(fx.graph.CodeGen())  # a tensor in, a tensor out
    return fx.GraphModule(module, module.graph)  # afresh: only what the graph refers to


def computing(graph: fx.GraphModule) -> list[fx.Node]:
    """Return the nodes with a precision of their own: convolutions and fused operators."""
    return [node for node in graph.graph.nodes if _computes(node)]


def layer_of(node: fx.Node) -> str:
    """Return the module that a node comes from, such as blocks.1.conv1."""
    # Modules from the outside in, each with its path; a merged node keeps that of its convolution.
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
    """Run a graph; return the output of each of its operators, by the node's name.

    Args:
        kept: outputs of a run before: these are not computed again; what is computed is added.
        judge: is called with each new output before it is kept; may raise to end the run.
    """
    values: dict[str, Tensor] = {} if kept is None else kept

    # Clones, since an activation may overwrite what it reads.
    computed = {
        node: values[node.name].clone() for node in graph.graph.nodes if node.name in values
    }

    class OutputKeeper(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if _has_tensor(n):
                judge(n.name, result)
                values[n.name] = result.detach().clone()
            return result

    with torch.no_grad():
        OutputKeeper(graph).run(image, initial_env=computed)
    return values


def _check_float32(network: nn.Module) -> None:
    """Check that a network is float32: the plan chooses the precision, layer by layer.

    Raises:
        ValueError: it is not; the message names the first weight or buffer of another precision.
    """
    for name, value in network.state_dict().items():
        if value.is_floating_point() and value.dtype != torch.float32:
            dtype = str(value.dtype).removeprefix("torch.")
            raise ValueError(f"the network must be float32, {name} is {dtype}; use network.float()")


def _computes(node: fx.Node) -> bool:
    return node.op == "call_function" and (node.target in CONVOLUTIONS or _is_fused(node))


def _is_fused(node: fx.Node) -> bool:
    return node.target is launch_conv_act or str(node.target).startswith("nas.")


def _has_tensor(node: fx.Node) -> bool:
    return node.op == "call_function" and isinstance(node.meta.get("val"), Tensor)


def _describe_step(typed: fx.GraphModule, node: fx.Node) -> Step:
    # A step's precision is that of its weight.
    weight = value_of(typed, node.args[1]) if _computes(node) else None
    operator = str(node.target).removesuffix(".default")
    return Step(
        layer=layer_of(node),
        operator="nas.conv_act" if node.target is launch_conv_act else operator,
        dtype=str(weight.dtype).removeprefix("torch.") if weight is not None else "",
        fused=_is_fused(node),
    )


def _assign_precisions(graph: fx.GraphModule, dtypes: Mapping[str, torch.dtype]) -> fx.GraphModule:
    """Return a copy in which each computing node gets its operands in its own precision."""
    typed = copy.deepcopy(graph)
    precisions: dict[fx.Node, torch.dtype] = {}  # of each feature map
    for node in list(typed.graph.nodes):
        maps = [arg for arg in node.all_input_nodes if arg in precisions]
        if node.op == "placeholder":
            precisions[node] = torch.float32
        elif _computes(node):
            precisions[node] = dtypes.get(node.name, torch.float32)
            _cast_operands(typed, node, precisions, precisions[node])
        elif _has_tensor(node):
            # Everything else computes in what PyTorch promotes its inputs to.
            inputs = [precisions[arg] for arg in maps] or [node.meta["val"].dtype]
            precisions[node] = functools.reduce(torch.promote_types, inputs)
        elif node.op == "output":
            _cast_operands(typed, node, precisions, torch.float32)

    typed.graph.eliminate_dead_code()
    typed.recompile()
    return typed


def _delay_image_readers(merged: fx.GraphModule) -> None:
    """Let a launch that reads the image alone run right before its only reader.

    Its result is then still in the cache when it is read.
    """
    for node in merged.graph.find_nodes(op="call_function", target=launch_conv_act):
        source: Any = node.args[0]
        if source.op == "placeholder" and len(node.users) == 1:
            next(iter(node.users)).prepend(node)
    merged.graph.lint()
    merged.recompile()


def _cast_operands(
    graph: fx.GraphModule,
    node: fx.Node,
    precisions: Mapping[fx.Node, torch.dtype],
    dtype: torch.dtype,
) -> None:
    """Bring what a node reads to a precision: weights once, feature maps in every run."""

    def cast(arg: fx.Node) -> fx.Node:
        if arg.op == "get_attr":
            return _convert_weight(graph, arg, dtype)
        if precisions.get(arg, dtype) == dtype:
            return arg
        return graph.graph.call_function(aten.to.dtype, (arg, dtype))

    # Conversions stand right before their reader, in the order of the run.
    with graph.graph.inserting_before(node):
        node.args = fx.map_arg(node.args, cast)
        node.kwargs = fx.map_arg(node.kwargs, cast)


def _convert_weight(graph: fx.GraphModule, node: fx.Node, dtype: torch.dtype) -> fx.Node:
    """Return a node that holds a weight in a precision; integers keep theirs."""
    value = value_of(graph, node)
    if value.dtype == dtype or not value.dtype.is_floating_point:
        return node
    name = f"{str(node.target).replace('.', '_')}_{str(dtype).removeprefix('torch.')}"
    graph.register_buffer(name, value.to(dtype))
    return graph.graph.get_attr(name)
