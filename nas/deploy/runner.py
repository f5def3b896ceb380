"""The runner: a network with fused kernels, CUDA graphs and the precision that was asked for."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas.deploy.fastest import Fastest, Function
from nas.deploy.graphs import GraphCache
from nas.deploy.hostile import hostile_images
from nas.deploy.plan import Plan, Step, TraceError, trace
from nas.deploy.precision import Fault, earn_float16
from nas.ops.fuse import fuse, unfused
from nas.ops.products import products
from search_spaces.network import Network

Precision = Literal["tf32", "fp16", "fp32"]
PRECISIONS: tuple[Precision, ...] = ("tf32", "fp16", "fp32")


class Runner(nn.Module):
    """Runs a network as fast as its device allows: (N, 3, H, W) float32 in [0, 1] -> (N, 3, sH, sW) float32.

    Images may have any strides; what comes out is contiguous NCHW. Type, shape and device of each image are
    checked, its range is not.

    On CUDA the network is one flat plan of fused kernels on channels_last features, replayed as a CUDA graph
    for each shape. What has no kernel runs as plain PyTorch inside the same plan; `plain_parts` lists it. A
    network that is no fixed list of operators, such as one with a selective scan, keeps its fused modules
    instead of a plan. On the CPU there is nothing to fuse: each shape runs in the memory layout (or compiled
    form) that was fastest when it was first seen, never a slower one than the plain network.

    While kernels are launched, not while a graph of them is replayed, PyTorch's switches for float32 products
    are those of the precision; another thread meets them too.

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
        plain_parts: the layers without a kernel, and why; under `network` why it has no plan.
        steps: the operators in the order in which they run; of a network without a plan none.
    Raises:
        ValueError: the precision is not known; the network is not float32; no layer of it stands float16, or
            it has no plan in which to try them; an image of the trial, or of a call, is not what the runner
            takes; the runner is moved or converted.
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
            raise ValueError(
                f"precision {precision!r} is not known; known: {', '.join(PRECISIONS)}"
            )
        self.precision = precision
        self.device = next(network.parameters()).device
        plain = network.fold().eval().requires_grad_(False)
        fused = fuse(plain, attention="epilogue")
        self.faults: list[Fault] = []
        self.steps: list[Step] = []
        self.plain_parts: dict[str, str] = unfused(fused)
        self.plan: Plan | Network = self._choose(
            fused, hostile_images() if trial is None else trial
        )
        if self.device.type == "cuda":
            self._run: Function = partial(_launch, self.plan, precision, self.device)
            if graphs:
                self._run = GraphCache(self._run, capacity=num_graphs, share_output=share_output)
        elif precision == "fp16":
            self._run = self.plan
        else:
            self._run = Fastest(_on_cpu(plain, compiled=compiled))

    @property
    def why_no_graph(self) -> str | None:
        """Why the kernels are launched one by one, where graphs were asked for; None: they are replayed."""
        return self._run.why_not if isinstance(self._run, GraphCache) else None

    @property
    def layers(self) -> dict[str, int]:
        """How many layers of the plan compute in each precision, such as {"float16": 10, "float32": 8}."""
        return dict(Counter(step.dtype for step in self.steps if step.dtype))

    def forward(self, image: Tensor) -> Tensor:
        check_image(image, self.device)
        with torch.inference_mode():
            out: Tensor = self._run(image)
            return out

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Refuse what would move or convert the weights: kernels and graphs hold what they were made of.

        Raises:
            ValueError: one line.
        """
        moved = fn(torch.empty(0, device=self.device))
        if moved.device != self.device or moved.dtype != torch.float32:
            kind = str(moved.dtype).removeprefix("torch.")
            raise ValueError(
                f"a runner stays where it was made, on {self.device} in its precision, got {moved.device}, "
                f"{kind}; make another: Runner(network.to(device), precision=...)"
            )
        return self

    def _choose(self, fused: Network, trial: Mapping[str, Tensor]) -> Plan | Network:
        """The plan of a network; the network itself where it has none, and says why in `plain_parts`."""
        try:
            with _numerics(self.precision, self.device), torch.no_grad():
                plan = self._plan(fused, trial)
        except TraceError as error:
            if self.precision == "fp16":
                raise ValueError(f"precision=fp16 is refused, {error}; use tf32") from None
            self.plain_parts = {"network": str(error), **self.plain_parts}
            return fused
        self.steps = plan.steps
        plain = {step.layer for step in plan.steps if not step.fused}
        self.plain_parts = {
            layer: reason for layer, reason in self.plain_parts.items() if layer in plain
        }
        return plan

    def _plan(self, fused: Network, trial: Mapping[str, Tensor]) -> Plan:
        graph = trace(fused)
        dtypes: dict[str, torch.dtype] = {}
        if self.precision == "fp16":
            for name, image in trial.items():
                check_image(image, image.device, called=f"trial image {name!r}")
            dtypes, self.faults = earn_float16(graph, trial)
        return Plan(graph, dtypes, merged_for=self.device if self.device.type == "cuda" else None)


def _launch(
    plan: Plan | Network, precision: Precision, device: torch.device, image: Tensor
) -> Tensor:
    with _numerics(precision, device):
        out: Tensor = plan(image)
        return out.contiguous()


def _numerics(precision: Precision, device: torch.device) -> ExitStack:
    """On CUDA the products of a precision, and the device as the current one: launches go there."""
    stack = ExitStack()
    if device.type == "cuda":
        stack.enter_context(products("ieee" if precision == "fp32" else "tf32"))
        stack.enter_context(torch.cuda.device(device))
    return stack


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
        raise ValueError(
            f"{called} must hold a pixel, got {shape}; leave empty batches and crops out"
        )
    if image.device != device:
        raise ValueError(
            f"{called} must be on the runner's {device}, got {image.device}; use image.to()"
        )


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
