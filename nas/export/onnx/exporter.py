"""The format onnx: one file for ONNX Runtime and whatever else reads ONNX, the browser's too."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from nas.deploy.onnx_model import check_installed, make_model
from nas.export.bundle import Bundle
from nas.export.graphs import Clamped, check_scans, list_metadata
from nas.export.onnx.half import make_half

FP32_ERROR = 1e-4
FP16_ERROR = 1.0  # rounding to half of the digits: the 40 dB of the check decide
SUFFIXES = {"fp32": "", "fp16": "_fp16"}


class OnnxExporter:
    """Writes <arch_id>.onnx: `input` (1, 3, height, width) -> `output`, float32.

    Args:
        precision: fp32; or fp16, in the layers that stand it on hostile images. Inputs and outputs
            are float32 in both.
        clamp: whether the output is cut to [0, 1] in the graph.
        dynamic_batch: whether the file takes several images at once.
    """

    takes_residuals = True
    tolerance: float
    clamps: bool

    def __init__(
        self, *, precision: Literal["fp32", "fp16"], clamp: bool, dynamic_batch: bool
    ) -> None:
        self.precision, self.clamps, self.dynamic_batch = precision, clamp, dynamic_batch
        self.tolerance = FP32_ERROR if precision == "fp32" else FP16_ERROR

    def check(self, bundle: Bundle) -> None:
        """Refuse networks that have no graph for images of any size.

        Raises:
            ValueError: a layer scans its pixels one by one; or a package is missing.
        """
        check_installed("this format")
        check_scans(bundle.net)

    def write(self, bundle: Bundle, folder: Path) -> list[str]:
        """Write the one file; return its name.

        Raises:
            ValueError: an operator has no translation, or no layer stands fp16.
        """
        network = bundle.upscaler()
        notes: dict[str, str] = {}
        if self.precision == "fp16":
            network, notes = make_half(network)
        if self.clamps:
            network = Clamped(network)

        metadata = list_metadata(bundle, clamped=self.clamps) | notes
        model = make_model(network, dynamic_batch=self.dynamic_batch, metadata=metadata)
        name = bundle.name_file(".onnx", variant=SUFFIXES[self.precision])
        (folder / name).write_bytes(model.SerializeToString())
        return [name]

    def reader(self, folder: Path, names: Sequence[str]) -> list[str] | None:
        """Return the command that runs the file in ONNX Runtime."""
        return [sys.executable, "-m", "nas.export.onnx.read", *(str(folder / n) for n in names)]
