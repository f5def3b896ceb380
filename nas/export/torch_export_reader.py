"""Runs a .pt2 on images: python -m nas.export.torch_export_reader FILE INPUTS.npz OUTPUTS.npz."""

import sys

import numpy as np
import torch

from nas.export.reader_run import run_archive


def main(file: str, inputs: str, outputs: str) -> None:
    """Run a file on each image of an archive, and write what it gives under the same names."""
    torch.set_num_threads(1)
    program = torch.export.load(file)
    names = (*program.graph_signature.user_inputs, *program.graph_signature.user_outputs)
    if names != ("input", "output"):
        raise SystemExit(f"its input and output are called {', '.join(map(str, names))}")
    network = program.module()

    def run(image: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            output: np.ndarray = network(torch.from_numpy(image)).numpy()
        return output

    run_archive(run, inputs, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
