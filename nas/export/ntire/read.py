"""Runs a printed network on images, loaded as the challenge does, without the project's blocks.

python -m nas.export.ntire.read MODEL.py WEIGHTS.pth THREADS INPUTS.npz OUTPUTS.npz
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nas.export.reader_run import run_archive


def load_model(file: Path, weights: Path) -> nn.Module:
    """Return the network of a file with its weights, strictly loaded, in evaluation mode.

    The class is the one that the file's name says: models/team05_SPAN.py has SPAN.
    """
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    name = file.stem.split("_", 1)[1]
    model: nn.Module = getattr(module, name)()
    # Only tensors: nothing in the file runs by being read.
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=True)
    return model.eval()


def main(file: str, weights: str, threads: str, inputs: str, outputs: str) -> None:
    """Run the network on each image of an archive, and write what it gives by the same names."""
    # Sums over an image round by the number of threads: as many as where the images come from.
    torch.set_num_threads(int(threads))
    model = load_model(Path(file), Path(weights))
    foreign = sorted(name for name in sys.modules if name.partition(".")[0] == "search_spaces")
    if foreign:
        raise SystemExit(f"{file} needs {', '.join(foreign)}; it has to stand alone")

    def run(image: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            output: np.ndarray = model(torch.from_numpy(image)).numpy()
        return output

    run_archive(run, inputs, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
