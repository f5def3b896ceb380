"""Run a network by spandrel: python -m nas.export.spandrel.read FILE INPUTS.npz OUTPUTS.npz"""

import sys
from pathlib import Path

import numpy as np
import torch

from nas.export.reader_run import run_archive
from nas.system.missing_torchvision import import_spandrel


def main(path: str, inputs: str, outputs: str) -> None:
    """Upscale each array of a file, (1, 3, H, W) in [0, 1]; write the results by the same names."""
    if not Path(path).is_file():
        sys.exit(f"there is no file {path}")
    spandrel = import_spandrel()
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_file(path)
    except spandrel.UnsupportedModelError:
        sys.exit(f"{path} holds no network that spandrel knows")
    if descriptor.architecture.id != "SPAN":
        sys.exit(f"{path}: spandrel takes it for a {descriptor.architecture.name}")

    descriptor.eval()  # by itself it stays in training

    def run(image: np.ndarray) -> np.ndarray:
        # It clamps to [0, 1], as whatever loads by it does.
        output: np.ndarray = descriptor(torch.from_numpy(image)).numpy()
        return output

    run_archive(run, inputs, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
