"""The modes of a latency: what is timed of the baseline's network and of the candidate's."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.deploy import Precision, Runner
from nas.deploy.graphs import GraphCache
from nas.measure.latency.onnx_session import onnx_upscaler
from nas.measure.latency.stopwatch import Upscaler
from nas.ops.fuse import fuse
from search_spaces.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a network is made ready for.

    Attributes:
        image: (1, 3, H, W) on the device, an example.
        num_sizes: different sizes that it will take in turn.
        threads: of the CPU.
        tf32: on CUDA, convolutions may compute in TF32.
    """

    image: Tensor
    num_sizes: int
    threads: int
    tf32: bool


Make = Callable[[Network, Setting], Upscaler]  # makes what is timed of a network in inference form


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How both networks run; batch 1 in every mode.

    Attributes:
        devices: types of devices that have it.
        dtype: what readings say of their precision; None: float32, or float32-tf32 where that is on.
    """

    devices: tuple[str, ...]
    baseline: Make
    candidate: Make
    dtype: str | None = None


def plain(network: Network, setting: Setting) -> Upscaler:
    """The network as it is."""
    return network


def fused(network: Network, setting: Setting) -> Upscaler:
    """The network with fused operators."""
    return fuse(network)


def captured(network: Network, setting: Setting) -> Upscaler:
    """The network with fused operators as an entry of the challenge may hand it in, TF32 as it is set there.

    The first image of a size captures a CUDA graph, in its own time; every further one replays it.
    """
    return GraphCache(fuse(network), capacity=setting.num_sizes, share_output=True)


def graph(network: Network, setting: Setting) -> Upscaler:
    """The network through the runner: one CUDA graph a size, float32 features."""
    precision: Precision = "tf32" if setting.tf32 else "fp32"
    return Runner(network, precision=precision, num_graphs=setting.num_sizes, share_output=True)


def deploy(network: Network, setting: Setting) -> Upscaler:
    """The same in float16, as far as the weights at hand stand it: a runner keeps other layers in float32.

    Weights at the start of a training stand more than trained ones may, so a trained network can be slower.
    `Runner.layers` counts the layers of each precision.

    Raises:
        RuntimeError: no layer stands it, so there is nothing to time; this network alone has no latency.
    """
    try:
        return Runner(network, precision="fp16", num_graphs=setting.num_sizes, share_output=True)
    except ValueError as error:
        raise RuntimeError(f"latency.mode=deploy: {error}") from None


def onnx(network: Network, setting: Setting) -> Upscaler:
    """The network in ONNX Runtime."""
    return onnx_upscaler(network, setting.image, threads=setting.threads)


MODES: dict[str, Mode] = {
    "challenge": Mode(
        devices=("cuda",), baseline=plain, candidate=fused
    ),  # eager, the baseline as released
    "challenge_graph": Mode(devices=("cuda",), baseline=plain, candidate=captured),
    "graph": Mode(devices=("cuda",), baseline=graph, candidate=graph),
    "deploy": Mode(devices=("cuda",), baseline=deploy, candidate=deploy, dtype="float16"),
    "cpu": Mode(devices=("cpu",), baseline=plain, candidate=plain),
}
ONNXRUNTIME = Mode(devices=("cpu",), baseline=onnx, candidate=onnx, dtype="float32-onnxruntime")


def check_mode(name: str) -> None:
    """Refuse a mode that there is not.

    Raises:
        ValueError: it lists those that there are.
    """
    if name not in ("auto", *MODES):
        raise ValueError(f"mode {name!r} is not known; use {', '.join(('auto', *MODES))}")


def resolve(name: str, device: torch.device) -> tuple[str, torch.device]:
    """The mode that a word means on a device, and the device on which it is read: the CPU for modes of it.

    Raises:
        ValueError: the device does not have the mode.
    """
    if name == "auto":
        name = "challenge" if device.type == "cuda" else "cpu"
    devices = MODES[name].devices
    if device.type in devices:
        return name, device
    if "cpu" in devices:
        return name, torch.device("cpu")
    raise ValueError(
        f"latency.mode={name} needs a CUDA GPU, the device is {device}; use auto or cpu"
    )


def available(device: torch.device) -> list[str]:
    """The modes that can be read with a device in use: its own first, then those of the CPU."""
    here = [name for name, mode in MODES.items() if device.type in mode.devices]
    return here + [
        name for name, mode in MODES.items() if "cpu" in mode.devices and name not in here
    ]
