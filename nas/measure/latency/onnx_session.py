"""A network in ONNX Runtime on the CPU, for users who do not deploy torch."""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nas.deploy import onnx_model
from nas.deploy.onnx_model import INPUT, make_model


def check_installed() -> None:
    """Check that the packages of this backend are installed.

    Raises:
        ValueError: one is missing; the message names it and how it is installed.
    """
    onnx_model.check_installed("backend=onnxruntime", "or use backend=torch")


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
        (out,) = session.run(None, {INPUT: x.numpy()})
        return torch.from_numpy(out)

    return upscale


def export_model(network: nn.Module, image: Tensor) -> bytes:
    """Return an ONNX model of a network, its height and width left open.

    Args:
        image: (1, 3, H, W), an example.
    """
    model: bytes = make_model(network, image=image).SerializeToString()
    return model
