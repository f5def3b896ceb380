"""Run an ncnn network on arrays: python -m nas.export.ncnn.read PARAM BIN INPUTS.npz OUTPUTS.npz

A process of its own, as ncnn ends the process that reads a broken file.
"""

import sys
from functools import partial
from pathlib import Path

import ncnn
import numpy as np

from nas.export.ncnn.names import INPUT, OUTPUT
from nas.export.reader_run import run_archive


def main(param: str, weights: str, inputs: str, outputs: str) -> None:
    """Upscale each array of a file, (1, 3, H, W) in [0, 1]; write the results by the same names."""
    for path in (param, weights):
        # Asked for a file that is not there, ncnn only prints a line.
        if not Path(path).is_file():
            sys.exit(f"there is no file {path}")
    exact, fast = ncnn.Net(), ncnn.Net()
    _choose_float32(exact.opt)
    exact.opt.num_threads = fast.opt.num_threads = 1
    for net in (exact, fast):
        if net.load_param(param) != 0 or net.load_model(weights) != 0:
            sys.exit(f"{param}: ncnn cannot load it")

    # Its time is that of what ncnn chooses itself, on one thread.
    run_archive(partial(_upscale, exact), inputs, outputs, timed=partial(_upscale, fast))


def _choose_float32(options: ncnn.Option) -> None:
    """Let ncnn compute as the file says, in float32, not as fast as a device rounds."""
    options.use_vulkan_compute = False
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_storage = False
    # Winograd's transforms cost a digit of large features.
    options.use_winograd_convolution = False


def _upscale(net: ncnn.Net, image: np.ndarray) -> np.ndarray:
    # ncnn knows no batch; its matrix reads the memory of the array, which is kept till the end.
    pixels = np.ascontiguousarray(image[0], dtype=np.float32)
    extractor = net.create_extractor()
    if extractor.input(INPUT, ncnn.Mat(pixels)) != 0:
        sys.exit(f"the network has no input {INPUT}")
    status, result = extractor.extract(OUTPUT)
    if status != 0:
        sys.exit(f"ncnn fails on an image of {image.shape}: it ends with {status}")
    return np.array(result)[None]


if __name__ == "__main__":
    main(*sys.argv[1:])
