"""Runs an ONNX file on images: python -m nas.export.onnx.read FILE INPUTS.npz OUTPUTS.npz."""

import sys

import numpy as np
import onnxruntime

from nas.export.reader_run import run_archive


def main(file: str, inputs: str, outputs: str) -> None:
    """Run a file on each image of an archive, and write what it gives under the same names."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in (*session.get_inputs(), *session.get_outputs())]
    if names != ["input", "output"]:
        raise SystemExit(f"its input and output are called {', '.join(names)}")

    def run(image: np.ndarray) -> np.ndarray:
        (output,) = session.run(["output"], {"input": image})
        return output  # type: ignore[no-any-return]

    run_archive(run, inputs, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
