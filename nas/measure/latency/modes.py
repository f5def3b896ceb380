"""The modes of a latency: the form in which baseline and candidate run while they are timed."""

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
    """The conditions that a network is made ready for.

    Attributes:
        image: (1, 3, H, W) on the device, an example.
        num_sizes: number of sizes that it will take in turn.
        threads: of the CPU.
        tf32: on CUDA, convolutions may compute in TF32.
    """

    image: Tensor
    num_sizes: int
    threads: int
    tf32: bool


# Turns a network in inference form into what is timed.
Make = Callable[[Network, Setting], Upscaler]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How baseline and candidate run; batch 1 in every mode.

    Attributes:
        devices: types of devices that have it.
        dtype: the precision that readings record; None: float32, or float32-tf32 where that is on.
    """

    devices: tuple[str, ...]
    baseline: Make
    candidate: Make
    dtype: str | None = None


def plain(network: Network, setting: Setting) -> Upscaler:
    """Return the network as it is."""
    return network


def fused(network: Network, setting: Setting) -> Upscaler:
    """Return the network with fused operators."""
    return fuse(network)


def captured(network: Network, setting: Setting) -> Upscaler:
    """Return the network with fused operators, replayed as a CUDA graph.

    An entry of the challenge may be handed in like this; TF32 is what the harness sets. The first
    image of a size captures the graph, in its own time; every further one replays it.
    """
    # A reading goes through its sizes in turn, so each keeps its graph.
    return GraphCache(fuse(network), capacity=setting.num_sizes, share_output=True)


def graph(network: Network, setting: Setting) -> Upscaler:
    """Return the network in the runner: one CUDA graph a size, float32 features."""
    precision: Precision = "tf32" if setting.tf32 else "fp32"
    return Runner(network, precision=precision, num_graphs=setting.num_sizes, share_output=True)


def deploy(network: Network, setting: Setting) -> Upscaler:
    """Return the network in the runner, in float16 as far as its weights allow.

    The runner keeps layers in float32 whose results would differ; `Runner.layers` counts the layers
    of each precision. Weights at the start of a training may allow float16 where trained ones do
    not, so a trained network can be slower than its reading.

    Raises:
        RuntimeError: no layer can be float16, so there is nothing to time. The error is of this
            network alone: others in the same reading go on.
    """
    try:
        return Runner(network, precision="fp16", num_graphs=setting.num_sizes, share_output=True)
    except ValueError as error:
        raise RuntimeError(f"latency.mode=deploy: {error}") from None


def onnx(network: Network, setting: Setting) -> Upscaler:
    """Return the network in ONNX Runtime."""
    return onnx_upscaler(network, setting.image, threads=setting.threads)


MODES: dict[str, Mode] = {
    # Eager, the baseline as released.
    "challenge": Mode(devices=("cuda",), baseline=plain, candidate=fused),
    "challenge_graph": Mode(devices=("cuda",), baseline=plain, candidate=captured),
    # Both in the runner: what a deployment gains, it gains for the baseline too.
    "graph": Mode(devices=("cuda",), baseline=graph, candidate=graph),
    "deploy": Mode(devices=("cuda",), baseline=deploy, candidate=deploy, dtype="float16"),
    "cpu": Mode(devices=("cpu",), baseline=plain, candidate=plain),
}
ONNXRUNTIME = Mode(devices=("cpu",), baseline=onnx, candidate=onnx, dtype="float32-onnxruntime")


def check_mode(name: str) -> None:
    """Check that a mode exists.

    Raises:
        ValueError: it does not; the message lists the modes.
    """
    if name not in ("auto", *MODES):
        raise ValueError(f"mode {name!r} is not known; use {', '.join(('auto', *MODES))}")


def resolve(name: str, device: torch.device) -> tuple[str, torch.device]:
    """Return the mode that a word means on a device, and the device on which it is read.

    A mode of the CPU is read on the CPU, whatever the device in use.

    Raises:
        ValueError: the device does not have the mode.

    Example:
        >>> resolve("auto", torch.device("cpu"))
        ('cpu', device(type='cpu'))
    """
    if name == "auto":
        name = "challenge" if device.type == "cuda" else "cpu"

    # The CPU is always there, beside a GPU too.
    devices = MODES[name].devices
    if device.type in devices:
        return name, device
    if "cpu" in devices:
        return name, torch.device("cpu")
    raise ValueError(
        f"latency.mode={name} needs a CUDA GPU, the device is {device}; use auto or cpu"
    )


def available(device: torch.device) -> list[str]:
    """Return the modes that can be read beside a device: its own first, then those of the CPU."""
    # On a CPU the two lists are the same.
    own = [name for name, mode in MODES.items() if device.type in mode.devices]
    on_cpu = [name for name, mode in MODES.items() if "cpu" in mode.devices]
    return own + [name for name in on_cpu if name not in own]
