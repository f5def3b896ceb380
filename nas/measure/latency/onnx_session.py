"""A network in ONNX Runtime, for those who do not deploy torch: exported in memory, run on the CPU."""

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
    """Refuse where a package is missing.

    Raises:
        ValueError: it names the packages, and how they are installed.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"backend=onnxruntime needs {', '.join(missing)}, not installed here; "
            "pip install 'esr-nas[onnx]', or use backend=torch"
        )


def onnx_upscaler(network: nn.Module, image: Tensor, *, threads: int) -> Callable[[Tensor], Tensor]:
    """A network as an ONNX Runtime session that takes images of any size.

    Args:
        network: in inference form, on the CPU.
        image: (1, 3, H, W), an example.
    """
    onnxruntime: Any = importlib.import_module("onnxruntime")  # an extra: not there for everyone
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # with one, the calling thread does the work
    options.inter_op_num_threads = 1
    options.add_session_config_entry(
        "session.set_denormal_as_zero", "1"
    )  # as torch does while it is timed
    session = onnxruntime.InferenceSession(
        exported(network, image), options, providers=["CPUExecutionProvider"]
    )

    def upscale(x: Tensor) -> Tensor:
        (out,) = session.run(None, {"image": x.numpy()})
        return torch.from_numpy(out)

    return upscale


def exported(network: nn.Module, image: Tensor) -> bytes:
    """An ONNX model of a network, its height and width left open."""
    sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of every package that it does without
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own, of what it calls itself
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
