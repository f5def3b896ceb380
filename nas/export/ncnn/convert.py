"""A network as ncnn's files: traced by PyTorch, converted by pnnx, its blobs renamed."""

import importlib
import subprocess
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.export.ncnn.names import INPUT, OUTPUT
from nas.system.faults import MachineError

# Two sizes that share nothing: what is equal in both is fixed, all else stays open.
SIZES = ((48, 64), (32, 80))
PNNX_NAMES = {"in0": INPUT, "out0": OUTPUT}
TYPE, NAME, NUM_INPUTS, NUM_OUTPUTS, FIRST_BLOB = range(5)  # the fields of a layer's line


def convert(net: nn.Module, folder: Path) -> tuple[Path, Path]:
    """Convert an upscaler in a folder of its own; return the graph's file and the weights'.

    Weights stay float32: an engine that computes in half floats rounds them as it loads them.

    Raises:
        MachineError: pnnx ends in an error, or leaves an operator that ncnn does not have.
    """
    _save_trace(net, folder / "net.pt")
    shapes = [f"[1,3,{height},{width}]" for height, width in SIZES]
    pnnx: Any = importlib.import_module("pnnx")  # an extra: not there for everyone

    # Its output is long, and only the end of it matters where something fails.
    command = [pnnx.EXEC_PATH, "net.pt", f"inputshape={shapes[0]}", f"inputshape2={shapes[1]}"]
    done = subprocess.run(
        [*command, "fp16=0"], cwd=folder, capture_output=True, text=True, check=False
    )
    param, weights = folder / "net.ncnn.param", folder / "net.ncnn.bin"
    if done.returncode != 0 or not param.is_file() or not weights.is_file():
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise MachineError(
            f"formats: ncnn: pnnx ended with {done.returncode}: {' '.join(last)}",
            "nothing was written",
        )

    param.write_text(rename_blobs(param.read_text()))
    return param, weights


def rename_blobs(text: str) -> str:
    """Return a graph whose input and output have the names that readers ask for.

    Raises:
        MachineError: a layer is not ncnn's.
    """
    magic, counts, *layers = text.splitlines()
    return "\n".join([magic, counts, *map(_rename_layer, layers)]) + "\n"


def _rename_layer(line: str) -> str:
    fields = line.split()
    # What pnnx cannot say in ncnn's layers keeps the name of PyTorch or its own.
    if "." in fields[TYPE] or ":" in fields[TYPE]:
        raise MachineError(
            f"formats: ncnn: pnnx left {fields[TYPE]} in the graph, at {fields[NAME]}, which ncnn "
            "lacks",
            "nothing was written",
        )

    end = FIRST_BLOB - 1 + int(fields[NUM_INPUTS]) + int(fields[NUM_OUTPUTS])
    places = [NAME, *range(FIRST_BLOB, end + 1)]
    for place in places:
        fields[place] = PNNX_NAMES.get(fields[place], fields[place])
    return " ".join(fields)


def _save_trace(net: nn.Module, path: Path) -> None:
    """Save the operators of a network as TorchScript."""
    image = torch.zeros(1, 3, *SIZES[0], device=next(net.parameters()).device)
    with torch.no_grad(), warnings.catch_warnings():
        # It warns of every shape that is checked, and of its own end.
        warnings.simplefilter("ignore")
        traced: Any = torch.jit.trace(net.eval(), image, check_trace=False)  # type: ignore[no-untyped-call]
        traced.save(str(path))
