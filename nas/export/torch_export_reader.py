"""Runs a .pt2 on images: python -m nas.export.torch_export_reader FILE INPUTS.npz OUTPUTS.npz."""

import statistics
import sys
import time

import numpy as np
import torch

REPEATS = 5  # of the last image, whose time is told


def main(file: str, inputs: str, outputs: str) -> None:
    """Run a file on each image of an archive, and write what it gives under the same names."""
    torch.set_num_threads(1)
    program = torch.export.load(file)
    names = (*program.graph_signature.user_inputs, *program.graph_signature.user_outputs)
    if names != ("input", "output"):
        raise SystemExit(f"its input and output are called {', '.join(map(str, names))}")
    network = program.module()

    results, seconds = {}, []
    with np.load(inputs) as images, torch.no_grad():
        for name in images.files:
            image = torch.from_numpy(images[name])
            results[name] = network(image).numpy()
        for _ in range(REPEATS):
            begun = time.perf_counter()
            network(image)
            seconds.append(time.perf_counter() - begun)
    np.savez(outputs, latency_ms=np.float64(1000 * statistics.median(seconds)), **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
