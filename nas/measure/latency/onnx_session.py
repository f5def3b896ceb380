"""A network in ONNX Runtime on the CPU, for users who do not deploy torch."""

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_installed() -> None:
    """Check that the packages of this backend are installed.

    Raises:
        ValueError: one is missing; the message names it and how it is installed.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"backend=onnxruntime needs {', '.join(missing)}, not installed here; "
            "pip install 'esr-nas[onnx]', or use backend=torch"
        )


def onnx_upscaler(network: nn.Module, image: Tensor, *, threads: int) -> Callable[[Tensor], Tensor]:
    """Return a network as an ONNX Runtime session that takes images of any size.

    The network is exported in memory; no file is written.

    Args:
        network: in inference form, on the CPU.
        image: (1, 3, H, W), an example.
        threads: of the CPU.
    """
    onnxruntime: Any = importlib.import_module("onnxruntime")  # an extra: not there for everyone
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # with one, the calling thread does the work
    options.inter_op_num_threads = 1

    # As torch does while it is timed: see `reading_conditions`.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(
        export_model(network, image), options, providers=["CPUExecutionProvider"]
    )

    def upscale(x: Tensor) -> Tensor:
        (out,) = session.run(None, {"image": x.numpy()})
        return torch.from_numpy(out)

    return upscale


def export_model(network: nn.Module, image: Tensor) -> bytes:
    """Return an ONNX model of a network, its height and width left open.

    Args:
        image: (1, 3, H, W), an example.
    """
    # Open sizes, so that one session serves all sizes of a reading.
    sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}

    # The exporter logs each optional package that is missing, and warns of calls of its own.
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network.eval(),
                (image,),
                dynamo=True,
                verbose=False,
                input_names=["image"],
                dynamic_shapes=(sides,),
            )
    finally:
        log.setLevel(level)

    assert program is not None
    model: bytes = program.model_proto.SerializeToString()
    return model
