"""The runner: a network with fused kernels, CUDA graphs and the precision that was asked for."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas.deploy.fastest import Fastest, Function
from nas.deploy.graphs import GraphCache
from nas.deploy.hostile import hostile_images
from nas.deploy.plan import Plan, Step, trace
from nas.deploy.precision import Fault, earn_float16
from nas.ops.fuse import fuse, unfused
from search_spaces.network import Network

Precision = Literal["tf32", "fp16", "fp32"]
PRECISIONS: tuple[Precision, ...] = ("tf32", "fp16", "fp32")


class Runner(nn.Module):
    """Runs a network as fast as its device allows: (N, 3, H, W) float32 in [0, 1] -> (N, 3, sH, sW) float32.

    Images may have any strides; what comes out is contiguous NCHW. Type, shape and device of each image are
    checked, its range is not.

    On CUDA the network is one flat plan of fused kernels on channels_last features, replayed as a CUDA graph
    for each shape. What has no kernel runs as plain PyTorch inside the same plan; `plain_parts` lists it. On
    the CPU there is nothing to fuse: each shape runs in the memory layout (or compiled form) that was
    fastest when it was first seen, never a slower one than the plain network.

    Args:
        network: any network of the grammar; training forms are folded. It is copied.
        precision: `tf32` (float32 kept, products in TF32 on CUDA, exact on the CPU), `fp16` (features and
            weights in float16, sums in float32; what does not stand that as under `tf32`), `fp32` (exact
            products everywhere).
        graphs: on CUDA, replay CUDA graphs; else the kernels are launched one by one.
        trial: for `fp16` the images, by name, on which each layer has to stay within range and above 40 dB
            to float64; what does not computes in float32. None: `hostile_images()`. What this promises for
            other images: `earn_float16`. Images of one's own kind promise that no other kind will come.
        num_graphs: shapes whose graphs are kept, the last ones used.
        share_output: give the graph's own output buffer, valid until the next call of any shape.
        compiled: on the CPU, let torch.compile take part in the choice (tens of seconds for a shape).
    Attributes:
        faults: the layers of an `fp16` plan that compute in float32, and why.
        plain_parts: the layers without a kernel, and why.
        steps: the operators in the order in which they run.
    Raises:
        ValueError: the precision is not known; the network is not float32; no layer of it stands float16;
            an image of the trial, or of a call, is not what the runner takes.
    """

    def __init__(
        self,
        network: Network,
        *,
        precision: Precision = "tf32",
        graphs: bool = True,
        trial: Mapping[str, Tensor] | None = None,
        num_graphs: int = 8,
        share_output: bool = False,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is not known; known: {', '.join(PRECISIONS)}")
        self.precision = precision
        self.device = next(network.parameters()).device
        plain = network.fold().eval().requires_grad_(False)
        fused = fuse(plain, attention="epilogue")
        self.faults: list[Fault] = []
        with self._numerics(), torch.no_grad():
            self.plan = self._plan(fused, hostile_images() if trial is None else trial)
        self.steps: list[Step] = self.plan.steps
        plain_steps = {step.layer for step in self.steps if not step.fused}
        self.plain_parts: dict[str, str] = {
            layer: reason for layer, reason in unfused(fused).items() if layer in plain_steps
        }
        if self.device.type == "cuda":
            self._run: Function = self.plan
            if graphs:
                self._run = GraphCache(self.plan, capacity=num_graphs, share_output=share_output)
        elif precision == "fp16":
            self._run = self.plan
        else:
            self._run = Fastest(_on_cpu(plain, compiled=compiled))

    @property
    def layers(self) -> dict[str, int]:
        """How many layers of the plan compute in each precision, such as {"float16": 10, "float32": 8}."""
        return dict(Counter(step.dtype for step in self.steps if step.dtype))

    def forward(self, image: Tensor) -> Tensor:
        check_image(image, self.device)
        with torch.inference_mode(), self._numerics():
            out: Tensor = self._run(image)
            return out

    def _plan(self, fused: Network, trial: Mapping[str, Tensor]) -> Plan:
        graph = trace(fused)
        dtypes: dict[str, torch.dtype] = {}
        if self.precision == "fp16":
            for name, image in trial.items():
                check_image(image, image.device, called=f"trial image {name!r}")
            dtypes, self.faults = earn_float16(graph, trial)
        return Plan(graph, dtypes, merged_for=self.device if self.device.type == "cuda" else None)

    def _numerics(self) -> AbstractContextManager[None]:
        if self.device.type != "cuda":
            return nullcontext()
        return _products("ieee" if self.precision == "fp32" else "tf32", self.device)


def check_image(image: Tensor, device: torch.device, *, called: str = "image") -> None:
    """Refuse what is no float32 (N, 3, H, W) on a device, with a pixel at least; kernels check nothing.

    Raises:
        ValueError: one line.
    """
    dtype, shape = image.dtype, tuple(image.shape)
    if dtype != torch.float32:
        cure = "float() / 255" if dtype == torch.uint8 else "float()"
        found = str(dtype).removeprefix("torch.")
        raise ValueError(f"{called} must be float32 in [0, 1], got {found}; use image.{cure}")
    if len(shape) != 4 or shape[1] != 3:
        raise ValueError(
            f"{called} must be RGB (N, 3, H, W), got {shape}; use image[None] for a single one, "
            "image.expand(-1, 3, -1, -1) for a grey batch"
        )
    if 0 in shape:
        raise ValueError(f"{called} must hold a pixel, got {shape}; leave empty batches and crops out")
    if image.device != device:
        raise ValueError(f"{called} must be on the runner's {device}, got {image.device}; use image.to()")


def _on_cpu(plain: Network, *, compiled: bool) -> dict[str, Function]:
    def channels_last(image: Tensor) -> Tensor:
        out: Tensor = reordered(image.contiguous(memory_format=torch.channels_last))
        return out.contiguous()

    def as_it_is(image: Tensor) -> Tensor:
        out: Tensor = plain(image)
        return out.contiguous()

    reordered = plain.fold().eval().requires_grad_(False)
    reordered = reordered.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    functions: dict[str, Function] = {"plain": as_it_is, "channels_last": channels_last}
    if compiled:
        functions["compiled"] = torch.compile(as_it_is)
    return functions


@contextmanager
def _products(precision: str, device: torch.device) -> Iterator[None]:
    """On a device, float32 products of convolutions and matrices in TF32 or exact, put back afterwards."""
    cudnn: Any = torch.backends.cudnn
    backends: tuple[Any, ...] = (cudnn.conv, torch.backends.cuda.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = precision
        with torch.cuda.device(device):  # the launches of a plan go to the current one
            yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value
