"""A network that is about to be timed: it ran once at every size, and gave what it should."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas.deploy import Runner
from nas.deploy.graphs import GraphCache
from nas.measure.latency.modes import Make, Setting
from nas.measure.latency.rounds import Block
from nas.measure.latency.sizes import Size
from nas.measure.latency.stopwatch import Forward, Stopwatch, Upscaler
from search_spaces.initialise import initial_network
from search_spaces.spec import ArchSpec

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network's forwards, one a size; `first_ms` is what the very first took, at the first size.

    operators are the fused ones that ran in a forward, by name and by commas; layers says how many
    layers of a runner's plan compute in each precision. why_no_graph says why its kernels are
    launched one by one though its mode replays a CUDA graph; empty: it does, or no graph is asked for.
    """

    forwards: tuple[Forward, ...]
    stopwatch: Stopwatch
    first_ms: float
    operators: str
    layers: Mapping[str, int]
    why_no_graph: str

    def time(self, place: int, repeats: int) -> Block:
        """Run the forward of a size so many times.

        Raises:
            RuntimeError: memory is out; it names architecture and size.
        """
        return _time(self.stopwatch, self.forwards[place], repeats)


def open_subject(
    spec: ArchSpec,
    make: Make,
    sizes: Sequence[Size],
    device: torch.device,
    stopwatch: Stopwatch,
    *,
    threads: int,
    tf32: bool,
    seed: int,
) -> Subject:
    """Build a network with random weights, run it at every size and check what comes out.

    Raises:
        RuntimeError: its output is not finite or of the wrong shape, or it does not fit in memory.
    """
    generator = torch.Generator().manual_seed(seed)
    images = [torch.rand(1, 3, size.height, size.width, generator=generator) for size in sizes]
    # Of random weights as PyTorch draws them, the learned gates of a deep network overflow.
    smallest = min(images, key=Tensor.numel)
    network = initial_network(spec, seed, smallest, zero_output=False).to(device).eval()
    placed = [image.to(device) for image in images]
    setting = Setting(image=placed[0], num_sizes=len(placed), threads=threads, tf32=tf32)
    run = make(network, setting)
    forwards = tuple(Forward(network=run, image=image, spec=spec) for image in placed)
    with torch.inference_mode():
        first = _time(stopwatch, forwards[0], 1)
        for forward in sorted(forwards, key=lambda one: one.image.numel(), reverse=True):
            _check(forward, spec.scale)  # the largest first: the allocator then has room for all
        operators = _operators(run, forwards[0].image)
    return Subject(
        forwards=forwards,
        stopwatch=stopwatch,
        first_ms=1e3 * first.seconds,
        operators=",".join(sorted(operators)),
        layers=run.layers if isinstance(run, Runner) else {},
        why_no_graph=_explain_missing_graph(run),
    )


def _explain_missing_graph(run: Upscaler) -> str:
    """Return why a network that ran replays no graph; empty: it does, or it was not to."""
    if isinstance(run, Runner):
        return run.why_no_graph or ""
    return (run.why_not or "") if isinstance(run, GraphCache) else ""


def _time(stopwatch: Stopwatch, forward: Forward, repeats: int) -> Block:
    return _in_memory(forward, lambda: stopwatch(forward, repeats))


def _check(forward: Forward, scale: int) -> None:
    out = _in_memory(forward, forward)
    height, width = forward.image.shape[2:]
    if out.shape != (1, 3, scale * height, scale * width):
        raise RuntimeError(f"the output for {height}x{width} has the shape {tuple(out.shape)}")
    if not _in_memory(forward, lambda: bool(torch.isfinite(out).all())):
        raise RuntimeError(f"the output for {height}x{width} is not finite")


def _in_memory(forward: Forward, call: Callable[[], Result]) -> Result:
    """Call, and say by name what did not fit."""
    try:
        return call()
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    # Outside the handler: the error's frames hold what has to be freed.
    height, width = forward.image.shape[2:]
    device = forward.image.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
    name = forward.spec.arch_id if forward.spec else "a layer"
    raise RuntimeError(f"out of memory: {name} does not fit on {device} at {height}x{width}")


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory is out: on CUDA by its type, on the CPU by what the allocator says."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class _Names(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which of our operators run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func.namespace == "nas":
            self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def _operators(run: Upscaler, image: Tensor) -> set[str]:
    """The fused operators of a forward; a replayed graph hides them, so a runner says what it captured."""
    if isinstance(run, Runner):
        return {step.operator.removeprefix("nas.") for step in run.steps if step.fused}
    if isinstance(run, GraphCache):
        run = run.function
    seen = _Names()
    if isinstance(run, nn.Module):
        with seen:
            run(image)
    return seen.names
