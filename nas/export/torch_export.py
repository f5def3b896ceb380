"""The format torch_export: a .pt2 archive, which torch.export.load reads without our code."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from nas.deploy.onnx_model import INPUT, OUTPUT, export_program
from nas.export.bundle import Bundle
from nas.export.graphs import Clamped, check_scans, list_metadata

METADATA = "metadata.json"  # in the archive
# What PyTorch notes of the call of every operator: paths of files, and names of classes.
TRACES = ("stack_trace", "source_fn_stack", "torch_fn", "from_node")


class TorchExportExporter:
    """Writes <arch_id>.pt2: `input` (1, 3, height, width) -> `output`, float32.

    Args:
        clamp: whether the output is cut to [0, 1] in the graph.
        dynamic_batch: whether the file takes several images at once.
    """

    takes_residuals = True
    tolerance = 1e-4
    clamps: bool

    def __init__(self, *, clamp: bool, dynamic_batch: bool) -> None:
        self.clamps, self.dynamic_batch = clamp, dynamic_batch

    def check(self, bundle: Bundle) -> None:
        """Refuse networks that have no graph for images of any size.

        Raises:
            ValueError: a layer scans its pixels one by one.
        """
        check_scans(bundle.net)

    def write(self, bundle: Bundle, folder: Path) -> list[str]:
        """Write the one file; return its name.

        Raises:
            ValueError: what the network does depends on the size or the values of its image.
        """
        network = bundle.upscaler()
        if self.clamps:
            network = Clamped(network)
        program = make_program(network, dynamic_batch=self.dynamic_batch)
        name = bundle.name_file(".pt2")
        notes = list_metadata(bundle, clamped=self.clamps)
        torch.export.save(program, folder / name, extra_files={METADATA: json.dumps(notes)})
        return [name]

    def reader(self, folder: Path, names: Sequence[str]) -> list[str] | None:
        """Return the command that runs the file in PyTorch."""
        module = "nas.export.torch_export_reader"
        return [sys.executable, "-m", module, *(str(folder / name) for name in names)]


def make_program(
    network: nn.Module, *, dynamic_batch: bool = False
) -> torch.export.ExportedProgram:
    """Return the graph of an upscaler, for images of any size: `input` -> `output`.

    Raises:
        UntranslatableError: what the network does depends on the size or the values of its image.
    """
    program = export_program(_Named(network), dynamic_batch=dynamic_batch)
    _name_output(program)
    for node in program.graph.nodes:
        for key in TRACES:
            node.meta.pop(key, None)

    # PyTorch notes the sizes from which its reasoning on symbols holds (16 pixels, where a network
    # pools by 8); the operators themselves hold for all, which the check tries on a tiny image.
    program._guards_code.clear()
    for symbol in program.range_constraints:
        program.range_constraints[symbol] = ValueRanges(1, int_oo)
    return program


class _Named(nn.Module):
    """An upscaler whose argument has the name that the file promises."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = self.network(input)
        return out


def _name_output(program: torch.export.ExportedProgram) -> None:
    """Call the result by its name, which the last node, PyTorch's own, holds."""
    last = program.graph.output_node()
    (result,) = last.args[0]
    former = result.name
    last.name = "returned"  # not `_rename`, which never gives a name again
    result.name = OUTPUT
    program.graph_signature.replace_all_uses(former, OUTPUT)
    assert tuple(program.graph_signature.user_inputs) == (INPUT,)
    assert tuple(program.graph_signature.user_outputs) == (OUTPUT,)
