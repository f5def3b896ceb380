"""Time on a CUDA GPU: at its working clock, on inputs that the cache does not hold, two things in turn."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.measure.latency.canary import warm_up
from nas.measure.latency.protocol import Limits, read
from nas.measure.latency.rounds import Block, Reading
from nas.measure.latency.stopwatch import Forward, Upscaler, time_on_cuda
from nas.measure.surroundings import surroundings

SETS_OVER_L2 = 4  # inputs and outputs of all calls together, over the size of the L2 cache
WARM_UPS, REPLAYS = 3, 21
MIN_CALLS, MAX_CALLS = 4, 64
SIDE = 4096  # of the matrices that keep the GPU at work while its clock is asked for
Clocks = tuple[float | None, float | None]  # of the SM, in MHz, before and after
Call = Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two kinds of calls timed in turn: milliseconds a call, and first / second with its spread."""

    first_ms: float
    second_ms: float
    ratio: float
    low: float
    high: float
    sm_mhz: Clocks


def working_clock() -> float | None:
    """Multiply matrices until the GPU runs at its working clock, and say which it is, in MHz.

    It is asked for while work is still queued: an idle GPU goes back to its idle clock.
    """
    warm_up(torch.device("cuda", 0))
    factor = torch.full((SIDE, SIDE), 1 / SIDE, device="cuda")
    for _ in range(50):  # some 0.1 s of work, while nvidia-smi answers
        factor @ factor
    found = sm_mhz()
    torch.cuda.synchronize()
    return found


def sm_mhz() -> float | None:
    found = surroundings(torch.device("cuda", 0))["sm_mhz"]
    return found if isinstance(found, float) else None


def num_sets(num_bytes: int) -> int:
    """How many sets of operands make a call cold: each has left the cache before its turn comes again."""
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    return min(MAX_CALLS, max(MIN_CALLS, math.ceil(SETS_OVER_L2 * l2 / max(1, num_bytes))))


def graph_ms(calls: Sequence[Call]) -> float:
    """Milliseconds a call: all calls captured in one CUDA graph, the median of some replays."""
    graph = captured(calls)
    working_clock()
    times = [event_ms(graph.replay) / len(calls) for _ in range(WARM_UPS + REPLAYS)]
    return statistics.median(times[WARM_UPS:])


def captured(calls: Sequence[Call]) -> torch.cuda.CUDAGraph:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in (*calls, *calls):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        held = [call() for call in calls]  # kept until the end: each call writes memory of its own
    del held
    return graph


def event_ms(call: Call, *, repeats: int = 1) -> float:
    """Milliseconds of some calls in a row between two events, a call."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def host_ms(call: Call, *, repeats: int = 20) -> float:
    """Milliseconds in which the host issues a call, without waiting for what it starts."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    spent = time.perf_counter() - begin
    torch.cuda.synchronize()
    return 1e3 * spent / repeats


def pair_ms(first: Sequence[Call], second: Sequence[Call], *, rounds: int = 9) -> Pair:
    """Time two kinds of calls in turn, as graphs."""
    graphs = captured(first), captured(second)
    counts = len(first), len(second)
    before = working_clock()
    found: list[tuple[float, ...]] = []
    for _ in range(rounds + 1):
        times = []
        for graph, count in zip(graphs, counts, strict=True):
            graph.replay()
            times.append(event_ms(graph.replay, repeats=3) / count)
        found.append(tuple(times))
    return _paired(found[1:], (before, sm_mhz()))


def pair_eager_ms(first: Call, second: Call, *, rounds: int = 15) -> Pair:
    """The same for calls as they are, each between events of its own: launches count."""
    for _ in range(3):
        first(), second()
    before = working_clock()
    found = [(event_ms(first), event_ms(second)) for _ in range(rounds + 3)]
    return _paired(found[3:], (before, sm_mhz()))


def _paired(times: Sequence[tuple[float, ...]], clocks: Clocks) -> Pair:
    ratios = [first / second for first, second in times]
    low, high = np.percentile(ratios, [10, 90])
    return Pair(
        first_ms=statistics.median(first for first, _ in times),
        second_ms=statistics.median(second for _, second in times),
        ratio=statistics.median(ratios),
        low=float(low),
        high=float(high),
        sm_mhz=clocks,
    )


def read_networks(
    baseline: Upscaler,
    candidate: Upscaler,
    images: Sequence[tuple[Tensor, float]],
    *,
    max_seconds: float = 2.0,
) -> tuple[Reading, Clocks]:
    """Time a network against a baseline as the latency protocol does: interleaved, one event pair an image.

    Args:
        images: with their weights, which sum to 1.
    Raises:
        RuntimeError: one of them failed.
    """
    forwards = [
        [Forward(network=network, image=image, spec=None) for image, _ in images]
        for network in (baseline, candidate)
    ]

    def timer(subject: int, place: int, repeats: int) -> Block:
        return time_on_cuda(forwards[subject][place], repeats)

    limits = Limits(
        warmup_seconds=0.3, min_rounds=9, max_rounds=40, max_seconds=max_seconds, target_ci=0.005
    )
    weights = [weight for _, weight in images]
    with torch.inference_mode():
        for row in forwards:
            for forward in row:
                forward()  # kernels are built, graphs captured
        before = working_clock()
        (found,) = read(timer, 1, weights, limits, np.random.default_rng(0))
    if isinstance(found, RuntimeError):
        raise found
    return found, (before, sm_mhz())


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Convolutions of PyTorch in TF32, its default, or exact."""
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision
    cudnn.conv.fp32_precision = "tf32" if on else "ieee"
    try:
        yield
    finally:
        cudnn.conv.fp32_precision = before


def copies(num_bytes: int) -> list[Call]:
    """Copies that read and write so many bytes in all, enough of them to be cold."""
    half = num_bytes // 2
    sources = [
        torch.empty(half, dtype=torch.uint8, device="cuda") for _ in range(num_sets(num_bytes))
    ]
    targets = [torch.empty_like(source) for source in sources]
    return [
        lambda target=target, source=source: target.copy_(source)
        for target, source in zip(targets, sources, strict=True)
    ]


def copy_gb_s(num_bytes: int) -> float:
    """Bytes read and written a second by a copy of so many bytes in all, cold, in GB/s."""
    return num_bytes / graph_ms(copies(num_bytes)) / 1e6
