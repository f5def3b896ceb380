"""Runs an ONNX file on images: python -m nas.export.onnx.read FILE INPUTS.npz OUTPUTS.npz."""

import statistics
import sys
import time

import numpy as np
import onnxruntime

REPEATS = 5  # of the last image, whose time is told


def main(file: str, inputs: str, outputs: str) -> None:
    """Run a file on each image of an archive, and write what it gives under the same names."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in (*session.get_inputs(), *session.get_outputs())]
    if names != ["input", "output"]:
        raise SystemExit(f"its input and output are called {', '.join(names)}")

    results, seconds = {}, []
    with np.load(inputs) as images:
        for name in images.files:
            image = images[name]
            (results[name],) = session.run(["output"], {"input": image})
    for _ in range(REPEATS):
        begun = time.perf_counter()
        session.run(["output"], {"input": image})
        seconds.append(time.perf_counter() - begun)
    np.savez(outputs, latency_ms=np.float64(1000 * statistics.median(seconds)), **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
