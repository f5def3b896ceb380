"""A network as an ONNX model: standard operators, open sizes, nothing of this machine in it."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18
IR_VERSION = 8  # the one that came with opset 18's first releases: older runtimes read no later one
# Traced at this size, valid for any: no multiples of 8, so that no side is taken for one that equals
# what it is padded or cropped to.
EXAMPLE = (1, 3, 42, 51)
INPUT, OUTPUT = "input", "output"
AXES = {0: "batch", 2: "height", 3: "width"}


class UntranslatableError(ValueError):
    """A network has an operator that cannot be written in ONNX."""


def check_installed(what: str, way_out: str = "") -> None:
    """Check that the packages of the extra `onnx` are installed.

    Args:
        what: needs them, for the message.
        way_out: what does without; stands at the end of the message.
    Raises:
        ValueError: one is missing; the message names it and how it is installed.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        line = f"{what} needs {', '.join(missing)}, not installed here; pip install 'esr-nas[onnx]'"
        raise ValueError(f"{line}, {way_out}" if way_out else line)


def export_program(
    network: nn.Module, *, dynamic_batch: bool = False, image: Tensor | None = None
) -> torch.export.ExportedProgram:
    """Return the graph of a network in inference form, its height and width left open.

    Gradients are on, so that activations do not overwrite what they read: converters would spend
    most of their time on that.

    Args:
        image: (1, 3, H, W), an example; None: one of usual size.
    Raises:
        UntranslatableError: what the network does depends on the size or the values of its image.
    """
    image = torch.zeros(EXAMPLE) if image is None else image
    if dynamic_batch:  # a batch of one would be taken for a constant
        image = image.expand(2, -1, -1, -1)
    sides = {axis: torch.export.Dim.DYNAMIC for axis in AXES if axis or dynamic_batch}

    # torch.export warns of deprecations of its own.
    try:
        with _without_gradients(network), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(network.eval(), (image,), dynamic_shapes=(sides,))
    except (RuntimeError, TypeError, ValueError, torch._dynamo.exc.UserError) as error:
        raise UntranslatableError(
            f"the network is no fixed list of operators ({_first_line(error)}); "
            "formats=[safetensors] holds any network"
        ) from None


def make_model(
    network: nn.Module,
    *,
    dynamic_batch: bool = False,
    metadata: Mapping[str, str] | None = None,
    image: Tensor | None = None,
) -> Any:
    """Return the onnx.ModelProto of a network: (1, 3, height, width) -> (1, 3, s height, s width).

    Its operators are those of opset 18, its input and output are called so.

    Args:
        network: in inference form, on the CPU.
        dynamic_batch: whether it takes several images at once.
        metadata: is written into the model's properties.
        image: (1, 3, H, W), an example; None: one of usual size.
    Raises:
        UntranslatableError: an operator has no translation; or what the network does depends on the
            size or the values of its image.
    """
    program = export_program(network, dynamic_batch=dynamic_batch, image=image)
    try:
        with _quiet_exporter():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
            )
    except torch.onnx.OnnxExporterError as error:
        raise UntranslatableError(_describe_failure(error, program)) from None

    assert exported is not None
    model = exported.model_proto
    _clean_model(model, metadata or {})
    _name_sides(model, dynamic_batch)
    return model


def _describe_failure(error: BaseException, program: torch.export.ExportedProgram) -> str:
    """Name the operator that has no translation, and the layer that calls it."""
    # The exporter wraps the reason, and names the node by the operator.
    reasons = []
    cause: BaseException | None = error
    while cause is not None:
        reasons.append(str(cause))
        cause = cause.__cause__
    text = " ".join(reasons)

    for node in program.graph.nodes:
        if node.op == "call_function" and f"{node.target}" in text:
            stack = node.meta.get("nn_module_stack") or {}
            place = next(reversed(list(stack.values())), ("",))[0] or "the network itself"
            return (
                f"{node.target} in {place} has no translation to opset {OPSET}; "
                "formats=[torch_export,safetensors] holds it"
            )
    return f"it cannot be translated to opset {OPSET} ({_first_line(error)})"


def _clean_model(model: Any, metadata: Mapping[str, str]) -> None:
    """Take out of a model what the exporter notes of this machine, and what no runtime needs.

    Every node comes with the stack of its call: paths of files, and names of classes.
    """
    for thing in (model, model.graph, *model.graph.node, *model.graph.initializer):
        del thing.metadata_props[:]
        thing.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        value.doc_string = ""
    # Shapes between the layers are in symbols that nobody else knows; runtimes infer them anew.
    del model.graph.value_info[:]

    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "esr-nas", ""
    model.graph.name = "upscaler"
    for opset in list(model.opset_import):
        if opset.domain:
            model.opset_import.remove(opset)
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def _name_sides(model: Any, dynamic_batch: bool) -> None:
    """Call the open sides of the image by their names, and those of the output by how they follow.

    Raises:
        UntranslatableError: a side is not open.
    """
    (image,), (output,) = model.graph.input, model.graph.output
    for axis, name in AXES.items():
        if axis == 0 and not dynamic_batch:
            continue
        side = image.type.tensor_type.shape.dim[axis]
        if not side.dim_param:
            raise UntranslatableError(f"the graph holds for a {name} of {side.dim_value} alone")
        side.dim_param = name
        output.type.tensor_type.shape.dim[axis].dim_param = name if axis == 0 else f"output_{name}"


@contextmanager
def _without_gradients(network: nn.Module) -> Iterator[None]:
    """Let no weight ask for gradients: a graph of an inference has none."""
    asking = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in asking:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in asking:
            weight.requires_grad_(True)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter: it logs each optional package that is missing, and warns of itself."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:120] if lines else type(error).__name__
