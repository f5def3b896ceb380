"""The runner: a network with fused kernels, CUDA graphs and a chosen precision."""

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
    """Runs a network as fast as its device allows.

    It maps (N, 3, H, W) float32 in [0, 1] to (N, 3, sH, sW) float32. Images may have any strides;
    the output is contiguous NCHW. Type, shape and device of each image are checked, its range is
    not.

    On CUDA the network is one flat plan of fused kernels on channels_last features, replayed as a
    CUDA graph for each shape. What has no kernel runs as plain PyTorch inside the same plan;
    `plain_parts` lists it. A network that is no fixed list of operators, such as one with a
    selective scan, keeps its fused modules instead of a plan. On the CPU there is nothing to fuse:
    each shape runs in the memory layout (or compiled form) that was fastest when it was first seen,
    never a slower one than the plain network.

    While kernels are launched, not while a graph of them is replayed, PyTorch's switches for
    float32 products are those of the precision; another thread meets them too.

    Args:
        network: any network of the grammar; training forms are folded. It is copied.
        precision: `tf32` (float32 kept, products in TF32 on CUDA, exact on the CPU), `fp16`
            (features and weights in float16, sums in float32; layers that would lose too much run
            as under `tf32`), `fp32` (exact products everywhere).
        graphs: on CUDA, replay CUDA graphs; else the kernels are launched one by one.
        trial: for `fp16` the images, by name, on which each layer has to stay within range and
            above 40 dB to float64, or else computes in float32. None: `hostile_images()`. What this
            promises for other images: `earn_float16`. Trial images of your own say nothing about
            images of another kind.
        num_graphs: shapes whose graphs are kept, the last ones used.
        share_output: give the graph's own output buffer, valid until the next call of any shape.
        compiled: on the CPU, let torch.compile take part in the choice (tens of seconds a shape).
    Attributes:
        faults: the layers of an `fp16` plan that compute in float32, and why.
        plain_parts: the layers without a kernel, and why; under `network` why it has no plan.
        steps: the operators in the order in which they run; none for a network without a plan.
    Raises:
        ValueError: the precision is not known; the network is not float32; no layer of it can be
            float16, or it has no plan in which to try them; an image of the trial, or of a call, is
            not what the runner takes; the runner is moved or converted.

    Example:
        >>> from search_spaces import build, published
        >>> runner = Runner(build(published("span")))
        >>> runner(torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 3, 32, 32])
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

        # The plan is made on the CPU as well: it lists the steps, and fp16 is tried in it.
        plain = network.fold().eval().requires_grad_(False)
        fused = fuse(plain, attention="epilogue")

        # What a user may ask afterwards: what runs slower than it could, and why.
        self.faults: list[Fault] = []
        self.steps: list[Step] = []
        self.plain_parts: dict[str, str] = unfused(fused)
        images = hostile_images() if trial is None else trial
        self.plan: Plan | Network = self._choose_plan(fused, images)

        if self.device.type == "cuda":
            self._run: Function = partial(_launch_plan, self.plan, precision, self.device)
            if graphs:
                self._run = GraphCache(self._run, capacity=num_graphs, share_output=share_output)
        elif precision == "fp16":
            self._run = self.plan
        else:
            self._run = Fastest(_make_cpu_forms(plain, compiled=compiled))

    @property
    def why_no_graph(self) -> str | None:
        """Why the kernels are launched one by one, where graphs were asked for.

        None: graphs are replayed, or were not asked for.
        """
        return self._run.why_not if isinstance(self._run, GraphCache) else None

    @property
    def layers(self) -> dict[str, int]:
        """The number of layers of the plan in each precision, as {"float16": 10, "float32": 8}."""
        return dict(Counter(step.dtype for step in self.steps if step.dtype))

    def forward(self, image: Tensor) -> Tensor:
        # Kernels check nothing: a wrong image would read foreign memory.
        check_image(image, self.device)
        with torch.inference_mode():
            out: Tensor = self._run(image)
            return out

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Refuse to move or convert the weights: kernels and graphs hold those of their making.

        Raises:
            ValueError: device or precision would change; one line.
        """
        # Every conversion of a module comes through here; an empty tensor tells what it would do.
        moved = fn(torch.empty(0, device=self.device))
        if moved.device != self.device or moved.dtype != torch.float32:
            kind = str(moved.dtype).removeprefix("torch.")
            raise ValueError(
                f"a runner stays where it was made, on {self.device} in its precision, "
                f"got {moved.device}, {kind}; "
                "make another: Runner(network.to(device), precision=...)"
            )
        return self

    def _choose_plan(self, fused: Network, trial: Mapping[str, Tensor]) -> Plan | Network:
        """Return the plan of a network, or the network itself where it has none.

        `steps` and `plain_parts` are brought up to date; the latter say why there is no plan.
        """
        try:
            with _set_products(self.precision, self.device), torch.no_grad():
                plan = self._make_plan(fused, trial)
        # Without a plan there are no steps to try float16 on; other precisions need none.
        except TraceError as error:
            if self.precision == "fp16":
                raise ValueError(f"precision=fp16 is refused, {error}; use tf32") from None
            self.plain_parts = {"network": str(error), **self.plain_parts}
            return fused

        # A plan may serve a layer that has no fused module of its own.
        self.steps = plan.steps
        plain = {step.layer for step in plan.steps if not step.fused}
        self.plain_parts = {
            layer: reason for layer, reason in self.plain_parts.items() if layer in plain
        }
        return plan

    def _make_plan(self, fused: Network, trial: Mapping[str, Tensor]) -> Plan:
        """Return the plan of a network; in float16 with the precisions that it earned.

        Raises:
            TraceError: the network is no fixed list of operators.
            ValueError: no layer can be float16, or a trial image is not what the runner takes.
        """
        # Other precisions are the same for all layers, and are set around each run.
        graph = trace(fused)
        dtypes: dict[str, torch.dtype] = {}
        if self.precision == "fp16":
            for name, image in trial.items():
                check_image(image, image.device, called=f"trial image {name!r}")
            dtypes, self.faults = earn_float16(graph, trial)
        return Plan(graph, dtypes, merged_for=self.device if self.device.type == "cuda" else None)


def _launch_plan(
    plan: Plan | Network, precision: Precision, device: torch.device, image: Tensor
) -> Tensor:
    with _set_products(precision, device):
        out: Tensor = plan(image)
        return out.contiguous()


def _set_products(precision: Precision, device: torch.device) -> ExitStack:
    """Return a context in which CUDA computes products as the precision says.

    It also makes the device the current one: launches go there. On the CPU it changes nothing.
    """
    # A stack, since on the CPU there is nothing to enter.
    stack = ExitStack()
    if device.type == "cuda":
        stack.enter_context(products("ieee" if precision == "fp32" else "tf32"))
        stack.enter_context(torch.cuda.device(device))
    return stack


def check_image(image: Tensor, device: torch.device, *, called: str = "image") -> None:
    """Check that an image is float32 (N, 3, H, W) on a device, and holds a pixel.

    Args:
        called: what the message calls it.
    Raises:
        ValueError: it is not; one line.
    """
    # From the commonest slip to the rarest; each message gives the way out.
    dtype, shape = image.dtype, tuple(image.shape)
    if dtype != torch.float32:
        cure = "float() / 255" if dtype == torch.uint8 else "float()"
        name = str(dtype).removeprefix("torch.")
        raise ValueError(f"{called} must be float32 in [0, 1], got {name}; use image.{cure}")

    # Where a cure is known, the message gives it: one image without a batch is the usual case.
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


def _make_cpu_forms(plain: Network, *, compiled: bool) -> dict[str, Function]:
    """Return equal functions of a network for the CPU, by name, the plain one first."""
    # A copy: the plain form keeps its own memory layout. `fold` always copies.
    reordered = plain.fold().eval().requires_grad_(False)
    reordered = reordered.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run_plain(image: Tensor) -> Tensor:
        out: Tensor = plain(image)
        return out.contiguous()

    def run_channels_last(image: Tensor) -> Tensor:
        out: Tensor = reordered(image.contiguous(memory_format=torch.channels_last))
        return out.contiguous()

    functions: dict[str, Function] = {"plain": run_plain, "channels_last": run_channels_last}
    if compiled:
        functions["compiled"] = torch.compile(run_plain)
    return functions
