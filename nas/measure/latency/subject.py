"""A network that is ready to be timed: it ran once at every size, and its output was checked."""

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
    """A network's forwards, one a size.

    Attributes:
        first_ms: the time of the very first forward, at the first size.
        operators: the fused operators that ran in a forward, by name, joined by commas.
        layers: how many layers of a runner's plan compute in each precision.
        why_no_graph: why its kernels are launched one by one though its mode replays a CUDA graph;
            empty: it does, or no graph is asked for.
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
            RuntimeError: memory is out; the message names architecture and size.
        """
        return _time_forward(self.stopwatch, self.forwards[place], repeats)


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

    Args:
        make: turns the network into what is timed.
        seed: of the weights and the images.
    Raises:
        RuntimeError: its output is not finite or of the wrong shape, or it does not fit in memory.
    """
    # Images of one seed: two readings of a network see the same pixels.
    generator = torch.Generator().manual_seed(seed)
    images = [torch.rand(1, 3, size.height, size.width, generator=generator) for size in sizes]

    # With weights as PyTorch draws them, the learned gates of a deep network overflow.
    smallest = min(images, key=Tensor.numel)
    network = initial_network(spec, seed, smallest, zero_output=False).to(device).eval()

    placed = [image.to(device) for image in images]
    setting = Setting(image=placed[0], num_sizes=len(placed), threads=threads, tf32=tf32)
    run = make(network, setting)
    forwards = tuple(Forward(network=run, image=image, spec=spec) for image in placed)

    with torch.inference_mode():
        first = _time_forward(stopwatch, forwards[0], 1)
        # The largest first: the allocator then has room for all.
        for forward in sorted(forwards, key=lambda forward: forward.image.numel(), reverse=True):
            _check_output(forward, spec.scale)
        operators = _list_operators(run, forwards[0].image)

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


def _time_forward(stopwatch: Stopwatch, forward: Forward, repeats: int) -> Block:
    return _call_in_memory(forward, lambda: stopwatch(forward, repeats))


def _check_output(forward: Forward, scale: int) -> None:
    """Check that a forward gives a finite image of the right size.

    Raises:
        RuntimeError: it does not, or memory is out.
    """
    # A wrong network is often a fast one: nothing is timed before this holds.
    out = _call_in_memory(forward, forward)
    height, width = forward.image.shape[2:]
    if out.shape != (1, 3, scale * height, scale * width):
        raise RuntimeError(f"the output for {height}x{width} has the shape {tuple(out.shape)}")
    if not _call_in_memory(forward, lambda: bool(torch.isfinite(out).all())):
        raise RuntimeError(f"the output for {height}x{width} is not finite")


def _call_in_memory(forward: Forward, call: Callable[[], Result]) -> Result:
    """Call a function; where memory is out, raise an error that names the network and the size."""
    try:
        return call()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise

    # Outside the handler: the error's frames hold what has to be freed.
    height, width = forward.image.shape[2:]
    device = forward.image.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
    name = forward.spec.arch_id if forward.spec else "a layer"
    raise RuntimeError(f"out of memory: {name} does not fit on {device} at {height}x{width}")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether memory is out: on CUDA by the type, on the CPU by the allocator's words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class _OperatorNames(TorchDispatchMode):  # type: ignore[no-untyped-call]
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


def _list_operators(run: Upscaler, image: Tensor) -> set[str]:
    """Return the names of the fused operators that run in a forward."""
    # A replayed graph hides its operators: a runner is asked for its plan, and of other graphs the
    # function that was captured is run.
    if isinstance(run, Runner):
        return {step.operator.removeprefix("nas.") for step in run.steps if step.fused}
    if isinstance(run, GraphCache):
        run = run.function

    # Functions of other kinds run no operators of ours.
    watch = _OperatorNames()
    if isinstance(run, nn.Module):
        with watch:
            run(image)

    return watch.names
