"""What every reader does: it runs a file's network on the images of an archive, in a fresh process."""

import statistics
import time
from collections.abc import Callable

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]  # (1, 3, H, W) -> (1, 3, scale H, scale W), float32
REPEATS = 5  # of the last image, whose time is told


def run_archive(run: Run, inputs: str, outputs: str, *, timed: Run | None = None) -> None:
    """Write what a network gives for each image of an .npz, by the same names, and its time.

    Args:
        timed: runs the network as its engine chooses to; None: as `run` does.
    """
    results = {}
    with np.load(inputs) as images:
        for name in images.files:
            image = images[name]
            results[name] = run(image)

    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        (timed or run)(image)
        seconds.append(time.perf_counter() - begun)
    latency_ms = np.float64(1000 * statistics.median(seconds))
    np.savez(outputs, latency_ms=latency_ms, **results)  # type: ignore[arg-type]
