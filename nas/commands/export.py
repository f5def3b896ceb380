"""Write a network with its weights into a folder, in the forms that other tools take.

The network is a trial of a run, with the weights that the run keeps of it (those of nas train
arch=RUN:PICK, where it was trained), or a file of weights with its architecture. The folder holds
arch.json, weights.safetensors, card.md and the files of each format, which are checked in a fresh
process before the folder is there. What a search trains is brief: such weights leave as drafts, in
files that end in _draft.

Examples:
    nas export run=runs/mine
    nas export run=runs/mine pick=best_score formats=[onnx,torch_export] out=exports/mine
    nas export run=runs/mine pick=17 formats=[onnx] formats.onnx.precision=fp16
    nas export arch=published/span weights=team00_SPAN.pth formats=[onnx] out=exports/span
    nas export weights=spanx2_ch48.pth formats=[onnx]
"""

import dataclasses
import shlex
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nas.cli.invocation import Invocation
from nas.commands.export_sources import open_source
from nas.export.bundle import Exporter, export
from nas.export.safetensors import SafetensorsExporter
from nas.measure.device import ROOT, git_commit
from nas.system.console import open_console, print_lines


def run(
    *,
    run: str | None,
    pick: str | None,
    arch: str | None,
    weights: str | None,
    formats: dict[str, Exporter],
    out: str | None,
    invocation: Invocation,
) -> None:
    """Open the network that is named, write its folder and print the files."""
    source = open_source(run, pick, arch, weights, out)
    facts = {"command": shlex.join(["nas", "export", *invocation.overrides])}
    facts |= _describe_program()
    bundle = dataclasses.replace(source.bundle, provenance={**source.bundle.provenance, **facts})

    # A folder always holds the weights as such: they load without any engine.
    always = {"safetensors": SafetensorsExporter()} if formats else {}
    files = export(bundle, {**always, **formats}, source.target)

    lines = [source.headline, *(f"written: {file}" for file in files), source.closing]
    print_lines(open_console(), lines)


def _describe_program() -> dict[str, Any]:
    """Return what exports: the version of this package, and its commit where it is a checkout."""
    try:
        number: str | None = version("esr-nas")
    except PackageNotFoundError:
        number = None
    return {"version": number, "commit": git_commit(ROOT)}
